"""Data frames of every kind give the same interactions, and say which rows are bad."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from support.interactions import pairs_of

from sparserec_np.data import from_frame, read
from sparserec_np.errors import InputError

FRAMES = ["pandas", "polars", "polars lazy", "arrow"]


def make_frame(kind: str, columns: dict[str, list[object]]) -> object:
    if kind == "pandas":
        return pytest.importorskip("pandas").DataFrame(columns)
    if kind == "arrow":
        return pytest.importorskip("pyarrow").table(columns)
    polars = pytest.importorskip("polars")
    return polars.DataFrame(columns) if kind == "polars" else polars.LazyFrame(columns)


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind: str) -> None:
    frame = make_frame(
        kind,
        {
            "timestamp": [datetime(2020, 1, day) for day in (1, 2, 3, 4)],
            "movieId": ["007", "b", "b", "b"],
            "userId": [5, 5, 3, 5],
            "rating": [4.0, 1.0, 5.0, 4.5],
        },
    )
    interactions = from_frame(frame, min_rating=2, with_times=True)
    assert pairs_of(interactions) == [(3, "b"), (5, "007"), (5, "b")]
    np.testing.assert_array_equal(interactions.times, np.array([3, 1, 4]) * 86400 + 1577750400)
    report = interactions.report
    assert (report.rows, report.below_min_rating, report.duplicates) == (4, 1, 0)
    assert str(report.columns[0]) == "user=userId item=movieId rating=rating time=timestamp"


@pytest.mark.parametrize("kind", FRAMES)
def test_bad_rows_of_frames(kind: str) -> None:
    frame = make_frame(
        kind,
        {
            "user": [1, None, 3, 4],
            "item": ["a", "b", " ", "d"],
            "rating": [1.0, 2.0, 3.0, None],
        },
    )
    with pytest.raises(InputError, match=r"row 2: no user id in column 'user'.*on_bad_rows"):
        from_frame(frame)
    interactions = from_frame(frame, on_bad_rows="skip", min_rating=0)
    assert pairs_of(interactions) == [(1, "a")]
    assert interactions.report.bad_rows == 3
    assert [row.place for row in interactions.report.bad_examples] == ["row 2", "row 3", "row 4"]


def test_of_several_faults_the_same_is_named_as_for_files(tmp_path) -> None:
    columns = {"user": [1, 2], "item": [1, 2], "rating": [1.0, None], "time": [1.0, None]}
    for other, fault in (
        ({}, "the missing rating in column 'rating'"),
        ({"rating": [1.0, 2.0]}, "the missing time in column 'time'"),
        ({"item": [1, None]}, "no item id in column 'item'"),
    ):
        frame = make_frame("polars", {**columns, **other})
        frame.write_csv(tmp_path / "a.csv")
        for load, data in ((from_frame, frame), (read, tmp_path / "a.csv")):
            with pytest.raises(InputError, match=f": {fault}"):
                load(data, with_times=True, min_rating=1)


def test_frames_that_cannot_be_used() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1], "item": [1], "rating": ["good"], "date": ["x"]})
    with pytest.raises(InputError, match="the rating 'good' in column 'rating'"):
        from_frame(frame, min_rating=1)
    with pytest.raises(InputError, match="no column 'who'"):
        from_frame(frame, user_col="who")
    with pytest.raises(InputError, match="no usable row"):
        from_frame(pandas.DataFrame({"user": [], "item": []}))
