"""Regressions of items on their candidates, with dense matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def choose_candidates(
    matrix: Floats, target: int, width: int, user_exponent: float, degree_exponent: float
) -> list[int]:
    """Return the items that share most with a target, ascending."""
    weight = np.maximum(matrix.sum(axis=1), 1) ** -user_exponent
    shared = (matrix * weight[:, None]).T @ matrix[:, target]
    similarity = shared / np.maximum(matrix.sum(axis=0), 1) ** degree_exponent
    order = np.argsort(-similarity, kind="stable")
    found = [int(item) for item in order if shared[item] > 0 and item != target]
    return sorted(found[:width])


def regress(
    matrix: Floats, target: int, items: list[int], user_exponent: float, reg: float, sweeps: int
) -> Floats:
    """Minimise the weighted squared error over weights that are not negative."""
    root = np.sqrt(np.maximum(matrix.sum(axis=1), 1) ** -user_exponent)
    columns, wanted = matrix[:, items] * root[:, None], matrix[:, target] * root
    b = np.zeros(len(items))
    for _ in range(sweeps):
        for s in range(len(items)):
            rest = wanted - columns @ b + columns[:, s] * b[s]
            b[s] = max(0.0, columns[:, s] @ rest / (columns[:, s] @ columns[:, s] + reg))
    return b


def fit(
    matrix: Floats,
    most: int,
    *,
    width: int,
    user_exponent: float,
    degree_exponent: float,
    reg: float,
    sweeps: int,
) -> Floats:
    """Regress, keep the ``most`` entries that matter most, and regress on these again.

    Returns:
        Array of shape [n_items, n_items]: what item j of a history adds to item i, at [j, i].
    """
    n_items = matrix.shape[1]
    found = []
    for i in range(n_items):
        items = choose_candidates(matrix, i, width, user_exponent, degree_exponent)
        b = regress(matrix, i, items, user_exponent, reg, sweeps)
        found += [(i, j, value) for j, value in zip(items, b, strict=True) if value != 0]
    degrees = matrix.sum(axis=0)
    found.sort(key=lambda entry: (-np.float32(entry[2]) * np.sqrt(degrees[entry[1]]), *entry[:2]))
    kept = [(i, j) for i, j, _ in found[:most]]
    out = np.zeros((n_items, n_items))
    for i in range(n_items):
        items = sorted(j for target, j in kept if target == i)
        out[items, i] = regress(matrix, i, items, user_exponent, reg, sweeps)
    return out
