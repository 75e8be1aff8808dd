"""Interactions from data frames of pandas, polars, Arrow and others, through narwhals."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.bad_rows import FIRST_BAD, RowRules, Verdict, reason
from sparserec_np.data.columns import ColumnOptions, choose_columns
from sparserec_np.data.from_arrays import encode
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.read_report import EXAMPLES, BadRow, Columns, ReadReport
from sparserec_np.data.selection import drop_rare
from sparserec_np.errors import InputError, missing_extra

if TYPE_CHECKING:
    import narwhals as nw
    from numpy.typing import NDArray

_NAME = "the frame"


def from_frame(
    frame: Any,
    *,
    user_col: str | None = None,
    item_col: str | None = None,
    rating_col: str | None = None,
    time_col: str | None = None,
    min_rating: float | None = None,
    min_user_interactions: int = 1,
    min_item_interactions: int = 1,
    on_bad_rows: Literal["stop", "skip"] = "stop",
    with_times: bool | None = False,
) -> Interactions:
    """Build interactions from a data frame, with the column options of :func:`read`.

    Ids keep their type: text that looks like a number stays text. Floats with integral values
    count as integers, because pandas makes floats of integers where some are missing.

    Args:
        frame: A frame of pandas, polars (lazy too), Arrow, Modin, cuDF or any other that narwhals
            knows, one interaction a row.
        user_col: Column of the users; found as in :func:`read` if not given, as the next three.
        item_col: Column of the items.
        rating_col: Column of the ratings, numbers.
        time_col: Column of the times: numbers (seconds), dates or datetimes.
        min_rating: Rows with a lower rating are not interactions.
        min_user_interactions: Drop users with fewer distinct items.
        min_item_interactions: Drop items with fewer distinct users.
        on_bad_rows: ``"stop"`` at the first row without an id, finite rating or (if asked for)
            time, or ``"skip"`` such rows and report them.
        with_times: Keep the time of each interaction; None: if each row that is kept has one.

    Returns:
        The interactions, with a report.

    Raises:
        InputError: A column or (with ``"stop"``) a row cannot be used, or nothing is left.
        MissingExtraError: narwhals is not installed.
    """
    rules = RowRules(min_rating, with_times, on_bad_rows)
    options = ColumnOptions(user_col, item_col, rating_col, time_col)
    table, columns = _read_columns(frame, options, rules)
    seconds = None
    if with_times is not False and columns.time is not None:
        seconds = _seconds(table[columns.time], columns.time, strict=with_times is True)
    verdicts = _judge(table, columns, rules, seconds)
    bad = np.flatnonzero(verdicts >= FIRST_BAD)
    report = ReadReport(
        files=(_NAME,),
        columns=(columns,),
        rows=len(table),
        bad_rows=len(bad),
        bad_examples=tuple(_describe(table, columns, verdicts, int(n)) for n in bad[:EXAMPLES]),
        below_min_rating=int(np.count_nonzero(verdicts == Verdict.BELOW_MIN_RATING)),
    )
    rules.check_report(report)
    keep = verdicts == Verdict.KEEP
    user_ids, users = encode(_ids(table[columns.user], keep), columns.user)
    item_ids, items = encode(_ids(table[columns.item], keep), columns.item)
    times = None if seconds is None or not np.isfinite(seconds[keep]).all() else seconds[keep]
    interactions, duplicates = assemble(users, items, user_ids, item_ids, times)
    interactions = replace(interactions, report=replace(report, duplicates=duplicates))
    return drop_rare(interactions, min_user_interactions, min_item_interactions)


def frame_row_ids(frame: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the user id and the item id of each row; see :func:`row_ids`."""
    table, columns = _read_columns(frame, ColumnOptions(), RowRules())
    rows = np.ones(len(table), dtype=bool)
    return _ids(table[columns.user], rows), _ids(table[columns.item], rows)


def _read_columns(
    frame: Any, options: ColumnOptions, rules: RowRules
) -> tuple[nw.DataFrame[Any], Columns]:
    """Choose the columns, and collect them if the frame is lazy."""
    try:
        import narwhals as nw
    except ImportError as error:
        raise missing_extra("narwhals", "train", "reading data frames") from error
    if hasattr(frame, "set_axis") and hasattr(frame, "columns"):  # pandas: names may be numbers
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(frame, arrow.RecordBatch):
        frame = arrow.Table.from_batches([frame])
    try:
        table = nw.from_native(frame)
    except TypeError as error:
        raise InputError(
            f"a {type(frame).__name__} is no data frame: give one of pandas, polars or Arrow"
        ) from error
    names = table.collect_schema().names()
    columns = choose_columns(_NAME, names, len(names), options).named(names)
    rules.check_columns(_NAME, columns)
    table = table.select(list(dict.fromkeys(name for name in astuple(columns) if name is not None)))
    return (table.collect() if isinstance(table, nw.LazyFrame) else table), columns


def _judge(
    table: nw.DataFrame[Any],
    columns: Columns,
    rules: RowRules,
    seconds: NDArray[np.float64] | None,
) -> NDArray[np.uint8]:
    """Return the verdict on each row, uint8[n]; of several faults the same counts as for files."""
    verdicts = np.zeros(len(table), dtype=np.uint8)
    rating = None if columns.rating is None else _numbers(table[columns.rating], columns.rating)
    if rating is not None and rules.min_rating is not None:
        verdicts[rating < rules.min_rating] = Verdict.BELOW_MIN_RATING
    if seconds is not None and rules.with_times:
        verdicts[~np.isfinite(seconds)] = Verdict.TIME
    if rating is not None:
        verdicts[~np.isfinite(rating)] = Verdict.RATING
    verdicts[_missing(table[columns.item])] = Verdict.NO_ITEM
    verdicts[_missing(table[columns.user])] = Verdict.NO_USER
    return verdicts


def _describe(
    table: nw.DataFrame[Any], columns: Columns, verdicts: NDArray[np.uint8], row: int
) -> BadRow:
    texts = ("" if value is None else str(value) for value in table.row(row))
    values = dict(zip(table.columns, texts, strict=True))
    rating, time = (values.get(name or "") for name in (columns.rating, columns.time))
    why = reason(Verdict(verdicts[row]), columns, ", ".join(values.values()), rating, time)
    return BadRow(_NAME, f"row {row + 1:,}", why)


def _missing(column: nw.Series[Any]) -> NDArray[np.bool_]:
    """Return True for each id that is missing: null, NaN or blank text; bool[n]."""
    absent: NDArray[np.bool_] = np.asarray(column.is_null().to_numpy(), dtype=bool)
    if column.dtype.is_float():
        finite = np.isfinite(np.asarray(column.to_numpy(), dtype=np.float64))
        return np.asarray(absent | ~finite)
    if column.dtype.is_numeric():
        return absent
    blank = (isinstance(v, str) and not v.strip() for v in column.to_list())
    return np.asarray(absent | np.fromiter(blank, dtype=bool, count=len(column)))


def _ids(column: nw.Series[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the ids of the rows to keep: numbers as such, anything else as objects."""
    import narwhals as nw

    if column.dtype.is_numeric() and column.dtype not in (nw.Int128, nw.UInt128):
        return column.filter(keep.tolist()).to_numpy()
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_list()
    return values[keep]


def _numbers(column: nw.Series[Any], name: str) -> NDArray[np.float64]:
    """Return a column of numbers as float64, NaN where a value is missing."""
    if not column.dtype.is_numeric():
        raise InputError(f"{_NAME}: column {name!r} holds no numbers but {column.dtype}")
    import narwhals as nw

    return np.asarray(column.cast(nw.Float64).to_numpy(), dtype=np.float64)


def _seconds(column: nw.Series[Any], name: str, *, strict: bool) -> NDArray[np.float64] | None:
    """Return a column of numbers, dates or datetimes as seconds, NaN where a value is missing.

    A column of anything else is an error if ``strict``; if not, None is returned.
    """
    import narwhals as nw

    if column.dtype in (nw.Datetime, nw.Date):
        microseconds = column.cast(nw.Datetime("us")).dt.timestamp("us")
        return _numbers(microseconds, name) / 1e6
    if not strict and not column.dtype.is_numeric():
        return None
    return _numbers(column, name)
