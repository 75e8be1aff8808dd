"""Interactions from data frames of pandas, polars, Arrow and others, through narwhals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, replace
from datetime import date, datetime, time
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.bad_rows import FIRST_BAD, RowRules, Verdict, reason
from sparserec_np.data.columns import ColumnOptions, choose_columns
from sparserec_np.data.from_arrays import encode
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.read_report import EXAMPLES, BadRow, Columns, ReadReport
from sparserec_np.data.selection import drop_rare
from sparserec_np.data.values import (
    epoch,
    find_conventions,
    is_missing,
    missing_texts,
    time_problem,
)
from sparserec_np.errors import InputError, missing_extra

if TYPE_CHECKING:
    import narwhals as nw
    from numpy.typing import NDArray

_NAME = "the frame"
_SAMPLE = 10_000  # values that tell how numbers and dates are written


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
    missing_ids: str | Sequence[str] | None = None,
) -> Interactions:
    """Build interactions from a data frame, with the column options of :func:`read`.

    Ids keep their type: text that looks like a number stays text. Floats with integral values
    count as integers, because pandas makes floats of integers where some are missing.

    Args:
        frame: A frame of pandas, polars (lazy too), Arrow, Modin, cuDF or any other that narwhals
            knows, one interaction a row.
        user_col: Column of the users; found as in :func:`read` if not given, as the next three.
        item_col: Column of the items.
        rating_col: Column of the ratings; looked at only with ``min_rating``, but for dislikes.
        time_col: Column of the times: seconds, dates or datetimes, also as text.
        min_rating: Rows with a lower rating are not interactions.
        min_user_interactions: Drop users with fewer distinct items.
        min_item_interactions: Drop items with fewer distinct users.
        on_bad_rows: ``"stop"`` at the first row without an id, or without a rating or time where
            these are asked for, or ``"skip"`` such rows and report them.
        with_times: Keep the time of each interaction; None: if each row that is kept has one.
        missing_ids: Texts that mean that there is no id, as in :func:`read`.

    Returns:
        The interactions, with a report.

    Raises:
        InputError: A column or (with ``"stop"``) a row cannot be used, or nothing is left.
        MissingExtraError: narwhals is not installed.
    """
    rules = RowRules(min_rating, with_times, on_bad_rows, missing_texts(missing_ids))
    options = ColumnOptions(user_col, item_col, rating_col, time_col)
    table, columns = _read_columns(frame, options, rules)
    seconds = None
    if with_times is not False and columns.time is not None:
        seconds = _seconds(table[columns.time])
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
    times = None if seconds is None else seconds[keep]
    notes: tuple[str, ...] = ()
    if times is not None and not np.isfinite(times).all():
        assert columns.time is not None  # as there are times
        notes = (_time_note(table[columns.time].to_list(), keep, columns.time),)
        times = None
    interactions, duplicates = assemble(users, items, user_ids, item_ids, times)
    interactions = replace(interactions, report=replace(report, duplicates=duplicates, notes=notes))
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
        doubled = frame.columns[frame.columns.duplicated()].tolist()
        if doubled:
            raise InputError(
                f"{_NAME} has several columns named {doubled[0]!r}: rename or drop some"
            )
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(frame, arrow.RecordBatch):
        frame = arrow.Table.from_batches([frame])
    try:
        table = nw.from_native(frame)
    except TypeError as error:
        raise InputError(
            f"a {type(frame).__name__} is no data frame: give one of pandas, polars or Arrow"
        ) from error
    names = list(table.collect_schema().names())
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
    rating = None
    name = columns.rating
    if name is not None and (rules.min_rating is not None or table[name].dtype.is_numeric()):
        rating = _numbers(table[name])
    if rating is not None and rules.min_rating is not None:
        verdicts[rating < rules.min_rating] = Verdict.BELOW_MIN_RATING
    if seconds is not None and rules.with_times:
        verdicts[~np.isfinite(seconds)] = Verdict.TIME
    if rating is not None:
        if rules.min_rating is None:
            verdicts[rating < 0] = Verdict.NEGATIVE
        else:
            verdicts[~np.isfinite(rating)] = Verdict.RATING
    verdicts[_missing(table[columns.item], rules.missing_ids)] = Verdict.NO_ITEM
    verdicts[_missing(table[columns.user], rules.missing_ids)] = Verdict.NO_USER
    return verdicts


def _describe(
    table: nw.DataFrame[Any], columns: Columns, verdicts: NDArray[np.uint8], row: int
) -> BadRow:
    texts = ("" if value is None else str(value) for value in table.row(row))
    values = dict(zip(table.columns, texts, strict=True))
    shown = [values.get(name or "") for name in astuple(columns)]
    why = reason(Verdict(verdicts[row]), columns, ", ".join(values.values()), shown)
    return BadRow(_NAME, f"row {row + 1:,}", why)


def _missing(column: nw.Series[Any], missing: Sequence[str]) -> NDArray[np.bool_]:
    """Return True for each id that is missing: null, NaN or a text that means none; bool[n]."""
    absent: NDArray[np.bool_] = np.asarray(column.is_null().to_numpy(), dtype=bool)
    if column.dtype.is_float():
        finite = np.isfinite(np.asarray(column.to_numpy(), dtype=np.float64))
        return np.asarray(absent | ~finite)
    if column.dtype.is_numeric():
        return absent
    listed = (
        is_missing(v, missing) if isinstance(v, str) else isinstance(v, float) and not isfinite(v)
        for v in column.to_list()
    )
    return np.asarray(absent | np.fromiter(listed, dtype=bool, count=len(column)))


def _ids(column: nw.Series[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the ids of the rows to keep: numbers as such, anything else as objects."""
    import narwhals as nw

    if column.dtype.is_numeric() and column.dtype not in (nw.Int128, nw.UInt128):
        return column.filter(keep.tolist()).to_numpy()
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_list()
    return values[keep]


def _numbers(column: nw.Series[Any]) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where a value is missing or none; text by its conventions."""
    import narwhals as nw

    if column.dtype.is_numeric():
        return np.asarray(column.cast(nw.Float64).to_numpy(), dtype=np.float64)
    values = column.to_list()
    rules = find_conventions((v for v in values[:_SAMPLE] if isinstance(v, str)), ())
    read = (rules.number(v) if isinstance(v, str) else _plain_number(v) for v in values)
    return np.array([np.nan if number is None else number for number in read])


def _seconds(column: nw.Series[Any]) -> NDArray[np.float64]:
    """Return a column of times as seconds, NaN where a value is missing or no time."""
    import narwhals as nw

    if column.dtype == nw.Datetime or column.dtype == nw.Date:
        moments = column.cast(nw.Datetime("us", time_zone=_zone(column.dtype)))
        microseconds = _numbers(moments.dt.timestamp("us"))
        return microseconds / 1e6
    if column.dtype.is_numeric():
        return _numbers(column)
    values = column.to_list()
    rules = find_conventions((), (v for v in values[:_SAMPLE] if isinstance(v, str)))
    read = (rules.seconds(v) if isinstance(v, str) else _moment(v) for v in values)
    return np.array([np.nan if number is None else number for number in read])


def _zone(dtype: Any) -> str | None:
    """Return the time zone of a type of dates."""
    return getattr(dtype, "time_zone", None)


def _plain_number(value: Any) -> float | None:
    """Return a number that is no text, and None for anything else."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _moment(value: Any) -> float | None:
    """Return the seconds of a date or a number of an object column."""
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time.min)
        return epoch(moment)
    return _plain_number(value)


def _time_note(values: Sequence[Any], keep: NDArray[np.bool_], name: str) -> str:
    """Log why times that are there, not all of them usable, are not used."""
    kept = (value for value, is_kept in zip(values, keep, strict=True) if is_kept)
    texts = [value for value in kept if isinstance(value, str)]
    rules = find_conventions((), texts[:_SAMPLE])
    wrong = next((text for text in texts if text.strip() and rules.seconds(text) is None), None)
    if wrong is None:
        return "some rows have no time, so the times of the others are not used"
    return f"the times in column {name!r} are not used, as {time_problem(wrong)}"
