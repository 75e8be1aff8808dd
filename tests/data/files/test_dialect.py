"""The rules of a dialect, in Python and in SQL, are the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.data.columns import ColumnOptions
from sparserec_np.data.files.detection import detect
from sparserec_np.data.files.dialect import Dialect

duckdb = pytest.importorskip("duckdb")

LINES = st.lists(st.text("ab1 ,;:\t|\"'#\n\\", min_size=1, max_size=12), min_size=1, max_size=20)
DIALECTS = [
    Dialect(delimiter, quote, 2, header, comment)
    for delimiter, quote in (("::", ""), (",", '"'), (";", "'"), ("\t", ""), ("|", '"'), (" ", '"'))
    for header, comment in ((None, ""), ("a,b", "#"))
]


@pytest.fixture(scope="module")
def db():
    with duckdb.connect() as db:
        yield db


@settings(deadline=None, max_examples=60)
@given(lines=LINES, dialect=st.sampled_from(DIALECTS))
def test_python_and_sql_agree(db, lines: list[str], dialect: Dialect) -> None:
    relation = "SELECT unnest($lines) AS line"
    query = f"SELECT f, {dialect.holds_row_sql()} FROM ({dialect.split_sql(relation)})"
    found = db.execute(query, {"lines": lines}).fetchall()
    assert found == [(dialect.split(line), dialect.holds_row(line)) for line in lines]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a,b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"a ""b""" ,c', ['a "b"', "c"]),
        (",", ["", ""]),
        ('"a,b', None),
        ('"a"b,c', None),
    ],
)
def test_lines_are_split(line: str, fields: list[str] | None) -> None:
    assert Dialect(",", '"', 2, None, "").split(line) == fields


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (["user,item", "1,2"], Dialect(",", '"', 2, "user,item", "")),
        (["1::2::3", "4::5::6"], Dialect("::", "", 3, None, "")),
        (["# from\tto", "1\t2"], Dialect("\t", '"', 2, None, "#")),
        (["#1;a", "#2;b"], Dialect(";", '"', 2, None, "")),
        (["'a'|'b'", "'c'|'b'"], Dialect("|", "'", 2, None, "")),
        (["user\titem", '"Weird" Al\t1'], Dialect("\t", "", 2, "user\titem", "")),
        (["a,b,c", "1,2,3", "4", "5,6,7"], Dialect(",", '"', 3, "a,b,c", "")),
    ],
)
def test_dialects_are_detected(head: list[str], expected: Dialect) -> None:
    assert detect(head, "a.csv", ColumnOptions()) == expected
