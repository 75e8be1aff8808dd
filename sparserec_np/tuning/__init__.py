"""Search for the hyperparameters that rank best on a validation part.

Optuna draws the trials; the first one is the defaults, so the result is never worse than they are.
"""
