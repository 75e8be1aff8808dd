"""Files of rows split in two, with all their columns: to learn from, and to be predicted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from sparserec_np.data.bad_rows import RowRules
from sparserec_np.data.columns import ColumnOptions
from sparserec_np.data.files.database import (
    MEMORY_LIMITS,
    open_database,
    path_literal,
    translate_errors,
)
from sparserec_np.data.files.detection import TextOptions
from sparserec_np.data.files.paths import find_files
from sparserec_np.data.files.reading import read, stage_file
from sparserec_np.data.files.remote import is_url, register
from sparserec_np.data.files.scan import FileScan, ListsScan, MultilineScan, ParquetScan, TextScan
from sparserec_np.data.files.staging import create_table
from sparserec_np.data.splitting import hold_out
from sparserec_np.data.values import missing_texts
from sparserec_np.errors import InputError
from sparserec_np.utils.temporary import temporary_folder
from sparserec_np.vocabulary import Ids, canonical

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from sparserec_np.data.interactions import Interactions

_ROWS = 50_000  # looked up at a time
_ROLES = ("user", "item", "rating", "timestamp")


class Split(NamedTuple):
    """Counts of what was written.

    Attributes:
        train: Rows to learn from.
        test: Rows to be predicted.
        by_time: True if these are the latest of each user.
        interactions: What was read.
        notes: Sentences about what may surprise.
    """

    train: int
    test: int
    by_time: bool
    interactions: Interactions
    notes: tuple[str, ...]


def split_files(
    paths: Sequence[str],
    train: TextIO,
    test: TextIO,
    *,
    share: float,
    by_time: bool | None,
    seed: int,
    **options: Any,
) -> Split:
    """Split the rows of files by :func:`sparserec_np.hold_out`, in their order.

    Rows of the same user and item stay together, and rows that are no interactions, as by
    ``min_rating``, go to ``train``. Text keeps its lines as they are, in UTF-8; Parquet becomes
    CSV; of other files the columns of users, items, ratings and times are kept.

    Args:
        paths: The files, of any kind that :func:`sparserec_np.read` takes but standard input.
        train: Text file to write to.
        test: Likewise.
        share: Share of each user's interactions to hold out, in (0, 1).
        by_time: Hold out the latest, or any; None: the latest where times are known.
        seed: Same seed, same split.
        options: Of :func:`sparserec_np.read`.

    Returns:
        What was written.

    Raises:
        InputError: As :func:`sparserec_np.read`, the files have different columns, or there are no
            times to split by.
    """
    if "-" in paths:
        raise InputError("standard input can be read only once, and split reads twice: give a file")
    interactions = read(paths, **options, with_times=by_time)
    _, held = hold_out(interactions, fraction=share, seed=seed, latest=by_time)
    rows = [0, 0]
    notes: dict[str, None] = {}
    head: str | None = None
    for number, (scan, lines) in enumerate(_rows(paths, options)):
        own_head, note = _header(scan)
        notes |= dict.fromkeys([note] if note else [])
        if number and own_head != head:
            raise InputError(f"{scan.file.name} has other columns than {paths[0]}: split it alone")
        if not number and own_head is not None:
            head = own_head
            for file in (train, test):
                file.write(head + "\n")
        for block in lines:
            in_test = _held(held, [row[0] for row in block], [row[1] for row in block])
            for (_, _, line), chosen in zip(block, in_test.tolist(), strict=True):
                (test if chosen else train).write(line + "\n")
                rows[chosen] += 1
    latest = interactions.has_times if by_time is None else by_time
    return Split(rows[0], rows[1], latest, interactions, tuple(notes))


_Row = tuple[str, str, str]


def _rows(
    paths: Sequence[str], options: dict[str, Any]
) -> Iterator[tuple[FileScan, Iterator[list[_Row]]]]:
    """Yield each file's scan, and its rows in blocks: user, item, and the row as a line."""
    given = dict(options)
    rules = RowRules(None, False, given["on_bad_rows"], missing_texts(given["missing_ids"]))
    columns = ColumnOptions(*(given[f"{role}_col"] for role in ("user", "item", "rating", "time")))
    names = ("delimiter", "header", "encoding", "format")
    text = TextOptions(*(given[name] for name in names))
    with temporary_folder("sparserec-split-") as scratch:
        files = find_files(paths, scratch, given["encoding"])
        with open_database(str(scratch), MEMORY_LIMITS[-1], None) as db:
            if any(is_url(file.name) for file in files):
                register(db)
            create_table(db)
            for number, file in enumerate(files):
                scan = stage_file(db, file, number, columns, text, rules, scratch).scan
                db.execute("DELETE FROM staged")
                with translate_errors(file.name):
                    yield scan, _blocks(db, scan)


def _whole_lines(scan: FileScan) -> bool:
    return isinstance(scan, TextScan) and not isinstance(scan, (MultilineScan, ListsScan))


def _header(scan: FileScan) -> tuple[str | None, str | None]:
    """Return the header of the output, and a note where columns are left out."""
    if isinstance(scan, TextScan) and _whole_lines(scan):
        return scan.dialect.header, None
    if isinstance(scan, ParquetScan):
        return _csv_line(scan.names), None
    kept = [role for role, name in zip(_ROLES, astuple(scan.columns), strict=True) if name]
    return _csv_line(kept), f"{scan.file.name}: kept are the columns {', '.join(kept)} alone"


def _blocks(db: DuckDBPyConnection, scan: FileScan) -> Iterator[list[_Row]]:
    if isinstance(scan, ParquetScan):
        u, i = scan.expressions[:2]
        path = path_literal(scan.file.path)
        found = db.execute(
            f"SELECT {u}, {i}, * EXCLUDE (file_row_number) "
            f"FROM read_parquet({path}, file_row_number=true) ORDER BY file_row_number"
        )
    elif _whole_lines(scan):
        rows = f"SELECT u, i, line FROM ({scan.sql(numbered=True)}) WHERE fault IS NULL"
        found = db.execute(f"{rows} ORDER BY place")
    else:
        kept = [c for c, name in zip("uirt", astuple(scan.columns), strict=True) if name]
        rows = f"SELECT u, i, {', '.join(kept)} FROM ({scan.sql(numbered=True)})"
        found = db.execute(f"{rows} WHERE fault IS NULL ORDER BY place")
    while block := found.fetchmany(_ROWS):
        if _whole_lines(scan):
            yield block
        else:
            yield [(row[0], row[1], _csv_line(row[2:])) for row in block]


def _csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["" if v is None else v for v in values])
    return line.getvalue()


def _held(held: Interactions, users: list[str], items: list[str]) -> Any:
    """Mark the rows whose pair of user and item is held out; bool array."""
    user, item = _places(held.user_ids, users), _places(held.item_ids, items)
    wanted = np.where((user < 0) | (item < 0), -1, user * held.n_items + item)
    keys = held.user_of_entry().astype(np.int64) * held.n_items + held.items
    return np.isin(wanted, keys)


def _places(ids: Ids, texts: list[str]) -> Any:
    if ids.kind == "str":
        return ids.locate([text or "" for text in texts])
    numbers = [canonical(text or "") for text in texts]
    return ids.locate([int(t) if t.removeprefix("-").isdecimal() else t for t in numbers])
