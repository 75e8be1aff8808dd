"""Reference implementations in plain NumPy: dense, float64, one thing at a time.

Test modules compare the compiled kernels with them; the modules here are named after those that
they mirror. They follow the documented definitions, not the loops of the kernels; random bits alone
have to be drawn in the same order.
"""
