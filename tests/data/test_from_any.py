"""Every kind of data that holds interactions is accepted; others are refused with a reason."""

from __future__ import annotations

import decimal
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.utils import check_array
from support.interactions import pairs_of

from sparserec_np import SparseRec
from sparserec_np.data import from_any, from_pairs, row_ids
from sparserec_np.errors import InputError

USERS, NAMES, NUMBERS = [3, 1, 1, 2, 3], ["b", "a", "b", "a", "b"], [6, 5, 6, 5, 6]
TEXT, COLUMNS = [str(user) for user in USERS], {"user": USERS, "item": NAMES}

# The same five rows, one of them twice: users 1, 2, 3 and items a, b.
ACCEPTED = {
    "two lists": (USERS, NAMES),
    "two ranges of an iterator": (iter(USERS), iter(NAMES)),
    "two numpy arrays": (np.array(USERS), np.array(NAMES)),
    "two pandas series": (pd.Series(USERS), pd.Series(NAMES)),
    "two pandas categoricals": (pd.Categorical(USERS), pd.Categorical(NAMES)),
    "two polars series": (pl.Series(USERS), pl.Series(NAMES)),
    "two Arrow arrays": (pa.array(USERS), pa.chunked_array([NAMES])),
    "two columns of objects": np.array([USERS, NAMES], dtype=object).T,
    "pandas": pd.DataFrame(COLUMNS),
    "pandas, nullable": pd.DataFrame(COLUMNS).convert_dtypes(),
    "pandas, categories": pd.DataFrame(COLUMNS).astype("category"),
    "pandas, Arrow inside": pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow"),
    "pandas, floats": pd.DataFrame({"user": np.array(USERS, float), "item": NAMES}),
    "polars": pl.DataFrame(COLUMNS),
    "polars, lazy": pl.LazyFrame(COLUMNS),
    "polars, categories": pl.DataFrame(COLUMNS, schema={"user": pl.UInt8, "item": pl.Categorical}),
    "polars, enum": pl.DataFrame(COLUMNS, schema={"user": pl.Int128, "item": pl.Enum(["b", "a"])}),
    "Arrow table": pa.table(COLUMNS),
    "Arrow batch": pa.RecordBatch.from_pydict(COLUMNS),
    "Arrow, large and encoded": pa.table(
        {"user": pa.array(USERS, pa.int16()), "item": pa.array(NAMES).dictionary_encode()}
    ),
}
ACCEPTED_TEXT = {
    "array of text": np.array([TEXT, NAMES]).T,
    "array of objects": np.array([TEXT, NAMES], dtype=object).T,
    "frame": pl.DataFrame({"user": TEXT, "item": NAMES}),
}
ACCEPTED_NUMBERS = {
    "integers": np.array([USERS, NUMBERS]).T,
    "unsigned": np.array([USERS, NUMBERS], np.uint64).T,
    "floats that are integers": np.array([USERS, NUMBERS], float).T,
    "matrix class": np.asmatrix(np.array([USERS, NUMBERS]).T),
    "nothing masked": np.ma.masked_equal(np.array([USERS, NUMBERS]).T, 99),
}


def check(data, users: list, items: list) -> None:
    interactions = from_any(data)
    assert interactions.user_ids.take(range(3)) == users
    assert interactions.item_ids.take(range(2)) == items
    assert interactions.indptr.tolist() == [0, 2, 3, 4]
    assert interactions.items.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("kind", ACCEPTED)
def test_accepted(kind):
    check(ACCEPTED[kind], [1, 2, 3], ["a", "b"])


@pytest.mark.parametrize("kind", ACCEPTED_TEXT)
def test_text_stays_text(kind):
    check(ACCEPTED_TEXT[kind], ["1", "2", "3"], ["a", "b"])


@pytest.mark.parametrize("kind", ACCEPTED_NUMBERS)
def test_numbers(kind):
    check(ACCEPTED_NUMBERS[kind], [1, 2, 3], [5, 6])


@pytest.mark.parametrize(
    "kind", [k for k in ACCEPTED if not k.startswith("two ") or "objects" in k]
)
def test_the_ids_of_rows(kind):
    users, items = row_ids(ACCEPTED[kind])
    assert list(users) == USERS
    assert list(items) == NAMES


MIXED = "all integers or all strings, but their types are: "
REFUSED = {
    "bytes": (np.array([[b"a", b"b"]]), MIXED + "bytes"),
    "booleans": (np.array([[True, False]]), MIXED + "bool"),
    "dates": (np.array([["2020-01-01"] * 2], "M8[D]"), MIXED + "date"),
    "complex": (np.array([[1j, 2]]), MIXED + "complex"),
    "fractions": (np.array([[1.5, 2]]), "integers or text, not fractions"),
    "NaN": (np.array([[1.0, np.nan]]), r"items: some ids are missing \(NaN\)"),
    "masked": (np.ma.masked_equal([[1, 2]], 2), r"items: some ids are missing \(masked\)"),
    "UUIDs": (pd.DataFrame({"user": [uuid.UUID(int=1)], "item": [1]}), MIXED + "UUID"),
    "decimals": (pl.DataFrame({"user": [decimal.Decimal(1)], "item": [1]}), MIXED + "Decimal"),
    "lists": (pl.DataFrame({"user": [[1], [2]], "item": [1, 2]}), "some are lists"),
    "int and text": (pd.DataFrame({"user": [1, "a"], "item": [1, 2]}), MIXED + "int, str"),
    "beyond 64 bits": (pl.DataFrame({"user": [2**70], "item": [1]}), "must fit in 64 bits"),
    "null": (pl.DataFrame({"user": [1, None], "item": [1, 2]}), "row 2: no user id"),
    "NA": (pd.DataFrame({"user": pd.array([1, None], "Int64"), "item": [1, 2]}), "row 2: no user"),
    "three columns": (np.array([[1, 2, 3]]), r"shape \(1, 3\) is neither pairs"),
    "one column": (np.array([1, 2]), r"shape \(2,\) is neither pairs"),
    "a series": (pd.Series([1, 2]), "a Series is no data frame"),
    "pairs in a list": ([(1, 2), (3, 4)], "cannot make interactions of a list"),
    "a dict": ({"user": [1]}, "cannot make interactions of a dict"),
    "nothing": (None, "cannot make interactions of a NoneType"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind):
    data, why = REFUSED[kind]
    with pytest.raises(InputError, match=why):
        SparseRec().fit(data)


# Bad matrices as `sklearn.utils.check_array` knows them. It is not used itself: importing
# scikit-learn would make every fit a second longer.
BAD_MATRICES = {
    "NaN": (sparse.csr_array([[1.0, np.nan]]), {}, "NaN"),
    "infinite": (sparse.coo_array([[np.inf, 1.0]]), {}, "infinite"),
    "complex": (sparse.csc_array([[1j, 1]]), {}, "Complex data not supported"),
    "negative": (sparse.csr_array([[1, -1]]), {"ensure_non_negative": True}, "Negative values in"),
    "one dimension": (sparse.coo_array(np.array([1, 0])), {}, "no two-dimensional"),
    "no rows": (sparse.csr_array((0, 3)), {}, "no interaction in the data"),
}


@pytest.mark.parametrize("kind", BAD_MATRICES)
def test_matrices_that_scikit_learn_refuses_are_refused(kind):
    matrix, options, why = BAD_MATRICES[kind]
    with pytest.raises(ValueError):
        check_array(matrix, accept_sparse=True, **options)
    with pytest.raises(InputError, match=why):
        SparseRec().fit(matrix)


def test_anything_that_holds_interactions() -> None:
    expected = [(1, 3), (2, 4)]
    interactions = from_pairs([1, 2], [3, 4])
    assert from_any(interactions) is interactions
    for data in (
        ([1, 2], [3, 4]),
        ([1, 2], [3, 4], [0.5, 0.6]),
        np.array([[1, 3], [2, 4]]),
        pd.DataFrame({"user": [1, 2], "item": [3, 4]}),
        pd.DataFrame([[1, 3], [2, 4]]),
    ):
        assert pairs_of(from_any(data)) == expected
    assert pairs_of(from_any(sparse.eye_array(2))) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("data", [None, 5, [], {"user": [1]}, np.eye(3), object(), [1, 2]])
def test_anything_else_is_refused(data: object) -> None:
    with pytest.raises(InputError):
        from_any(data)
