"""Evaluation: held-out data, ranking metrics, and recommendations for many users."""
