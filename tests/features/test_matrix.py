"""Columns are understood as categories, numbers or words, and say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparserec_np.features.item_features import ItemFeatures
from sparserec_np.features.matrix import feature_matrix

N = 60


def matrix_of(**columns: list[Any]) -> np.ndarray:
    """Features of all items, dense, without the last column of ones."""
    n = len(next(iter(columns.values())))
    found = feature_matrix(ItemFeatures(range(n), columns), np.ones(n, np.bool_)).toarray()
    assert (found[:, -1] == 1).all()
    return found[:, :-1]


@pytest.mark.parametrize(
    ("cells", "width", "kind"),
    [
        ([["a", "b"][: 1 + i % 2] for i in range(N)], 2, "categories"),
        (["Action|Crime" if i % 2 else "Crime" for i in range(N)], 2, "separated by '|'"),
        ([f"Red, Green, {'Blue' if i % 2 else 'Grey'}" for i in range(N)], 4, "separated by ','"),
        (["old" if i % 3 else "new" for i in range(N)], 2, "categories"),
        ([i % 2 for i in range(N)], 1, "yes or no"),
        ([str(1990 + i % 4) for i in range(N)], 4, "categories"),
        ([i / 7 for i in range(N)], 21, "numbers in 10 bins"),
        ([f"the tale of king {i}" for i in range(N)], 4, "words"),
    ],
)
def test_kinds_of_columns(
    cells: list[Any], width: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="sparserec_np")
    assert abs(matrix_of(cells=cells, other=["x", "y"] * (N // 2)).shape[1] - 2 - width) <= 1
    assert kind in caplog.text


def test_rows_of_a_column_have_length_one_or_are_empty() -> None:
    cells = [None if i % 5 == 0 else f"k{i % 3}" for i in range(N)]
    norms = np.linalg.norm(matrix_of(cells=cells), axis=1)
    np.testing.assert_allclose(norms, [0 if i % 5 == 0 else 1 for i in range(N)], rtol=1e-6)


def test_near_years_and_near_numbers_are_alike() -> None:
    for cells in ([f"{i % 9} ({1950 + i})" for i in range(N)], [1.5 * i for i in range(N)]):
        rows = matrix_of(cells=cells)
        assert rows[30] @ rows[31] > rows[30] @ rows[59]


def test_features_are_those_of_known_items() -> None:
    cells = ["a", "b"] * 20 + ["c"] * 20
    known = np.arange(N) < 40
    found = feature_matrix(ItemFeatures(range(N), {"kind": cells}), known)
    assert found.shape == (N, 3)
    assert found[40:, :-1].nnz == 0
