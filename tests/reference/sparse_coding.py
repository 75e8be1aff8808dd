"""Coding of a row against a factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def code_row(row: Floats, factor: Floats, width: int, passes: int) -> Floats:
    """Code one row against a factor with at most ``width`` entries, none of them negative."""
    b, gram = factor.T @ row, factor.T @ factor
    gain = np.divide(b**2, gram.diagonal(), out=np.full(len(b), -1.0), where=b != 0)
    support = np.sort(np.argsort(-gain, kind="stable")[:width])
    support = support[gain[support] >= 0]
    code = np.zeros(len(b))
    for _ in range(passes):
        for c in support:
            rest = b[c] - gram[c, support] @ code[support]
            code[c] = max(0.0, code[c] + rest / gram[c, c])
    return code
