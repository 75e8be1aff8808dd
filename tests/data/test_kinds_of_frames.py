"""Frames, lists and matrices of the kinds that people have are read as files are, or refused."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from support.interactions import pairs_of

from sparserec_np.data import from_any, from_frame, from_pairs
from sparserec_np.errors import InputError

U, I = [1, 1, 2], ["a", "b", "a"]  # noqa: E741
PAIRS = [(1, "a"), (1, "b"), (2, "a")]
DAYS = [1577836800.0, 1577923200.0, 1578009600.0]  # 1 to 3 January 2020
ISO = ["2020-01-01", "2020-01-02", "2020-01-03"]
PANDAS_DAYS = pd.date_range("2020-01-01", periods=3)

TIMES = {
    "numbers": DAYS,
    "text of numbers": [str(day) for day in DAYS],
    "pandas": PANDAS_DAYS,
    "pandas, UTC": PANDAS_DAYS.tz_localize("UTC"),
    "pandas, another zone": PANDAS_DAYS.tz_localize("UTC").tz_convert("Asia/Tokyo"),
    "pandas, objects": pd.Series(list(PANDAS_DAYS.tz_localize("UTC")), dtype=object),
    "ISO text": ISO,
    "ISO text with a zone": [f"{day}T00:00:00Z" for day in ISO],
    "ISO text with an offset": [f"{day}T02:00:00+02:00" for day in ISO],
    "dates": [dt.date(2020, 1, day) for day in (1, 2, 3)],
    "datetimes": [dt.datetime(2020, 1, day) for day in (1, 2, 3)],
    "German text": ["01.01.2020", "02.01.2020", "03.01.2020"],
    "US text with an hour": ["1/1/2020 0:00", "1/2/2020 0:00", "01/03/2020 00:00"],
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_of_frames(kind: str) -> None:
    frame = pd.DataFrame({"user": U, "item": I, "timestamp": TIMES[kind]})
    if kind.startswith("US"):  # the third tells that the month is first
        with pytest.raises(InputError, match="may be day and month"):
            from_frame(frame, with_times=True)
        frame.loc[2, "timestamp"] = "01/31/2020 00:00"
    expected = [*DAYS[:2], 1580428800.0 if kind.startswith("US") else DAYS[2]]
    assert from_frame(frame, with_times=True).times.tolist() == expected
    assert from_any(frame).times.tolist() == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda days: pl.DataFrame({"user": U, "item": I, "time": days}),
        lambda days: pl.DataFrame({"user": U, "item": I, "time": days}).with_columns(
            pl.col("time").dt.replace_time_zone("UTC")
        ),
        lambda days: pa.table(
            {"user": U, "item": I, "time": pa.array(days, pa.timestamp("ns", "UTC"))}
        ),
        lambda days: pa.table({"user": U, "item": I, "time": pa.array(days, pa.date32())}),
    ],
)
def test_times_of_other_frames(make) -> None:
    assert from_any(make(TIMES["datetimes"])).times.tolist() == DAYS


@pytest.mark.parametrize(
    ("times", "note"),
    [
        ([None, *PANDAS_DAYS[:2]], "some rows have no time"),
        ([pd.NaT, *PANDAS_DAYS[:2]], "some rows have no time"),
        (["1/2/2020", "2/3/2020", "3/4/2020"], "'1/2/2020' may be day and month"),
        (["now", *ISO[:2]], "'now' is neither seconds"),
    ],
)
def test_times_that_cannot_be_used_are_mentioned(times: object, note: str) -> None:
    found = from_any(pd.DataFrame({"user": U, "item": I, "timestamp": times}))
    assert found.times is None
    assert re.search(note, found.report.notes[0])


@pytest.mark.parametrize(
    "rating", [[True] * 3, ["5", "4", "x"], pd.Categorical([5, 4, 3]), [5, None, 3], [np.inf, 1, 2]]
)
def test_ratings_that_nothing_uses_are_not_looked_at(rating: object) -> None:
    frame = pd.DataFrame({"user": U, "item": I, "rating": rating})
    assert pairs_of(from_any(frame)) == PAIRS


def test_ratings_as_text_are_read_as_in_files() -> None:
    frame = pd.DataFrame({"user": U, "item": I, "rating": ["4,5", "2,0", "3,5"]})
    assert pairs_of(from_frame(frame, min_rating=3)) == [PAIRS[0], PAIRS[2]]
    frame["rating"] = ["1,234", "5", "7"]
    with pytest.raises(InputError, match="a thousand or a fraction"):
        from_frame(frame, min_rating=3)


def test_dislikes_are_refused_alike() -> None:
    frame = pd.DataFrame({"user": U, "item": I, "rating": [1, -1, 1]})
    with pytest.raises(InputError, match=r"row 2: the rating '-1'.* is a dislike"):
        from_any(frame)
    assert pairs_of(from_frame(frame, min_rating=0)) == [PAIRS[0], PAIRS[2]]
    assert pairs_of(from_frame(frame, rating_col="none")) == PAIRS
    with pytest.raises(InputError, match="Negative values"):
        from_any(sparse.coo_array(([1, -1], ([0, 0], [0, 0])), shape=(1, 1)))


IDS = {
    "floats in a list": ([1.0, 1.0, 2.0], I),
    "integers and floats in a list": ([1, 1.0, 2], I),
    "numpy floats in objects": (np.array([1.0, 1, 2.0], dtype=object), I),
    "floats in an object column": pd.DataFrame(
        {"user": pd.Series([1.0, 1, 2.0], dtype=object), "item": I}
    ),
    "floats as categories": pd.DataFrame({"user": pd.Categorical([1.0, 1.0, 2.0]), "item": I}),
    "floats in polars": pl.DataFrame({"user": [1.0, 1.0, 2.0], "item": I}),
    "blanks around text": pd.DataFrame({"user": U, "item": [" a", "b ", "a\u00a0"]}),
    "blanks around text in a list": (U, ["a ", " b", "a"]),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_that_are_one_are_one(kind: str) -> None:
    assert pairs_of(from_any(IDS[kind])) == PAIRS


def test_text_of_whole_numbers_is_one_id() -> None:
    assert pairs_of(from_pairs(["7", "7.0"], [1, 1])) == [("7", 1)]


REFUSED = {
    "NULL in a frame": (pd.DataFrame({"user": ["NULL"], "item": [1]}), "row 1: no user id.*'NULL'"),
    "None as text": (pd.DataFrame({"user": ["None"], "item": [1]}), "row 1: no user id"),
    "NaN in an object column": (
        pd.DataFrame({"user": pd.Series([1, np.nan], dtype=object), "item": [1, 2]}),
        "row 2: no user",
    ),
    "nan in a list": ((["nan"], [1]), r"users: some ids are missing \('nan'\)"),
    "NaN in a list": (([float("nan")], [1]), r"some ids are missing \(NaN\)"),
    "blank text in a list": ((["a"], [" "]), r"items: some ids are missing"),
    "NUL in a list": ((["a\0"], [1]), "NUL character"),
    "NUL in a frame": (pl.DataFrame({"user": ["a\0b"], "item": [1]}), "NUL character"),
    "floats above 2**53": (
        pd.DataFrame({"user": [76561197960265728.0], "item": [1]}),
        r"above 2\^53",
    ),
    "floats above 2**53 in a list": (([2.0**60], [1]), r"above 2\^53"),
    "fractions in a list": (([1.5], [1]), "not fractions"),
    "doubled columns": (
        pd.DataFrame([[1, 2, 3]], columns=["user", "user", "item"]),
        "several columns named 'user'",
    ),
    "other doubled columns": (
        pd.DataFrame([[1, 2, 3, 4]], columns=["user", "x", "x", "item"]),
        "several columns named 'x'",
    ),
    "a frame's index": (
        pd.DataFrame({"user": U, "item": I, "rating": [1, 2, 3]}).set_index("user"),
        "cannot tell which column holds the users",
    ),
    "a dict in a column": (pd.DataFrame({"user": [{"a": 1}], "item": [1]}), "lists or the like"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_frames_and_lists_that_are_refused(kind: str) -> None:
    data, why = REFUSED[kind]
    with pytest.raises(InputError, match=why):
        from_any(data)


def test_missing_ids_can_be_told_otherwise() -> None:
    frame = pd.DataFrame({"user": ["NULL", "guest"], "item": [1, 2]})
    assert pairs_of(from_frame(frame, missing_ids=())) == [("NULL", 1), ("guest", 2)]
    found = from_frame(frame, missing_ids=["guest"], on_bad_rows="skip")
    assert pairs_of(found) == [("NULL", 1)]
