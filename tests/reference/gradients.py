"""Steps of Adagrad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def adagrad(
    values: Floats, squares: Floats, gradient: Floats, learning_rate: float, reg: float
) -> None:
    """Make one step on the stored weights of one row; the arrays are changed."""
    gradient = gradient + reg * values
    squares += gradient**2
    values -= learning_rate * gradient / np.sqrt(squares)
