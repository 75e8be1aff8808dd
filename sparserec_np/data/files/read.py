"""Interactions from files, read by DuckDB within a memory limit.

Four steps: *stage* the rows of all files in one table that spills to disk, *number* the distinct
ids by rank, *pair* the numbers in a table of their own, *fetch* the pairs in blocks. Ids and
numbers reach Python, rows never do.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from sparserec_np.data.assembly import BLOCK, Pairs, assemble_blocks
from sparserec_np.data.bad_rows import Rules, Verdict, check_on_bad_rows, refuse
from sparserec_np.data.columns import ColumnOptions, require
from sparserec_np.data.files.paths import InputFile, find_files
from sparserec_np.data.files.remote import is_url, names_for_people, register
from sparserec_np.data.files.scan import open_source, quoted
from sparserec_np.data.files.staging import StagedFile, bad_rows, create_table, stage
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.read_report import EXAMPLES, BadRow, NothingLeftError, ReadReport
from sparserec_np.data.selection import drop_rare
from sparserec_np.errors import InputError, missing_extra
from sparserec_np.vocabulary import Ids, IntIds, StrIds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

DEFAULT_MEMORY_LIMITS = ("256MB", "1GB")  # the second where the first is too small
# Of DuckDB while pairs are fetched: a scan needs little, and the interactions grow beside it.
FETCH_LIMIT = "64MB"


class _Numbered(NamedTuple):
    """The vocabulary of one column, and the SQL that joins its numbers to the staged rows."""

    ids: Ids
    join: str


def read(
    paths: Sequence[str | Path] | str | Path,
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
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Interactions:
    """Read interactions from files; several are read as one.

    CSV, TSV and their relatives (``,`` tab ``;`` ``|`` ``::`` blank; with or without header), JSON
    lines, all of them also as ``.gz`` or ``.zst``, and Parquet. Ids become int64 where every id of
    all files is an integer as Python would write it, else they stay text, verbatim.

    Peak memory: the larger of two. While ids are numbered, ``memory_limit`` for DuckDB, which
    spills the rest to the folder for temporary files, and some 100 MB beside it. After that the
    interactions, 64 MB for DuckDB (``memory_limit``, where it is given), and some 150 MB.

    Args:
        paths: One or many paths, globs or URLs; ``"-"`` is standard input. URLs such as
            ``s3://bucket/*.parquet`` need the extra ``[remote]`` and fsspec's package for the
            store.
        user_col: Column of the users: a name, or a position counted from 1. Found by its usual
            names or by position if not given; so are the next three.
        item_col: Column of the items.
        rating_col: Column of the ratings.
        time_col: Column of the times: seconds, or dates that DuckDB can read.
        min_rating: Rows with a lower rating are not interactions. Without it every row counts.
        min_user_interactions: Drop users with fewer distinct items. Dropping users may make items
            rare and the other way round, so both rules are repeated until they hold.
        min_item_interactions: Drop items with fewer distinct users.
        on_bad_rows: ``"stop"`` at the first row that cannot be used, or ``"skip"`` such rows and
            report them.
        with_times: Keep the time of each interaction; None: if every row that is kept has one.
        memory_limit: What DuckDB may use, such as ``"2GB"``; default 256 MB, or 1 GB
            where that is too small.
        threads: Threads of DuckDB; default one a core. The result does not depend on it.

    Returns:
        The interactions, with a report of what was read and left out.

    Raises:
        InputError: A file, a column or (with ``"stop"``) a row cannot be used, or nothing is left.
        MissingExtraError: DuckDB, or what reads URLs, is not installed.
    """
    check_on_bad_rows(on_bad_rows)
    options = ColumnOptions(user_col, item_col, rating_col, time_col)
    rules = Rules(min_rating, with_times)
    limits = (memory_limit,) if memory_limit else DEFAULT_MEMORY_LIMITS
    with tempfile.TemporaryDirectory(prefix="sparserec-read-") as scratch:
        files = find_files(paths, Path(scratch))
        for limit in limits:
            try:
                with _database(scratch, limit, threads) as db:
                    if any(is_url(file.name) for file in files):
                        register(db)
                    fetch_limit = memory_limit or FETCH_LIMIT
                    interactions = _read(db, files, options, rules, on_bad_rows, fetch_limit)
                break
            except _NoRoomError as error:
                if limit == limits[-1]:
                    raise InputError(str(error)) from error
    return drop_rare(interactions, min_user_interactions, min_item_interactions)


class _NoRoomError(Exception):
    """DuckDB needs more memory than it may use."""


def _read(
    db: DuckDBPyConnection,
    files: Sequence[InputFile],
    options: ColumnOptions,
    rules: Rules,
    on_bad_rows: str,
    fetch_limit: str,
) -> Interactions:
    staged = _stage_all(db, files, options, rules)
    report = _report(db, staged, rules)
    if report.bad_rows and on_bad_rows == "stop":
        refuse(report.bad_examples[0])
    kept = sum(file.kept for file in staged)
    _check_not_empty(report, kept, rules.min_rating)
    with _told_plainly("the rows"):
        users, user_note = _number(db, "u", "user")
        items, item_note = _number(db, "i", "item")
        with_times = rules.with_times or (rules.with_times is None and _all_timed(db))
        _pair(db, f"{users.join} {items.join}", with_times)
        counts = _count(db, len(users.ids))
        db.execute(f"SET memory_limit = {quoted(fetch_limit)}")  # gives the rest back at once
        interactions, duplicates = assemble_blocks(
            _fetch(db),
            counts,
            users.ids,
            items.ids,
            with_times=with_times,
        )
    time_note = None
    if rules.with_times is None and not with_times and all(c.time for c in report.columns):
        time_note = "some rows have no time, so what is recent is not told from what is not"
    notes = tuple(note for note in (user_note, item_note, time_note) if note)
    return replace(interactions, report=replace(report, duplicates=duplicates, notes=notes))


@contextmanager
def _database(scratch: str, memory_limit: str, threads: int | None) -> Iterator[DuckDBPyConnection]:
    """Open a database in memory that spills into ``scratch``."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("duckdb", "train", "reading files") from error
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": scratch,
        "autoinstall_known_extensions": False,
    }
    if threads is not None:
        if threads < 1:
            raise InputError(f"threads must be at least 1, not {threads}")
        config["threads"] = threads
    try:
        db = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise InputError(f"memory_limit={memory_limit!r} is no size such as '2GB'") from error
    with db:
        db.execute("SET TimeZone = 'UTC'")  # of times that do not say theirs
        db.execute("SET enable_progress_bar = false")  # it would go to standard output
        yield db


@contextmanager
def _told_plainly(what: str) -> Iterator[None]:
    """Turn the errors of DuckDB into one sentence."""
    import duckdb

    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error):  # how DuckDB passes Ctrl-C on
            raise KeyboardInterrupt from error
        raise
    except duckdb.Error as error:
        lines = str(error).strip().split("\n")
        # An error within Python, of a store that is read from, comes with its traceback.
        line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        message = names_for_people(re.sub(r"^[\w. ]*Error: ", "", line))
        if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in message:
            raise _NoRoomError(
                f"{what}: reading needs more memory or temporary disk space than it may use: raise "
                f"memory_limit (default {DEFAULT_MEMORY_LIMITS[-1]}), or point TMPDIR to a larger "
                "disk"
            ) from error
        raise InputError(f"{what} cannot be read: {message}") from error


def _stage_all(
    db: DuckDBPyConnection, files: Sequence[InputFile], options: ColumnOptions, rules: Rules
) -> list[StagedFile]:
    create_table(db)
    staged = []
    for number, file in enumerate(files):
        with _told_plainly(file.name):
            source = open_source(db, file, options)
            require(file.name, source.columns, rules.min_rating, rules.with_times)
            staged.append(stage(db, source, number, rules))
    return staged


def _report(db: DuckDBPyConnection, staged: Sequence[StagedFile], rules: Rules) -> ReadReport:
    """Sum up the files; finding the first bad rows takes another pass over those that have any."""
    examples: list[BadRow] = []
    for file in staged:
        if file.bad and len(examples) < EXAMPLES:
            with _told_plainly(file.source.file.name):
                examples += bad_rows(db, file, rules)
    return ReadReport(
        files=tuple(file.source.file.name for file in staged),
        columns=tuple(file.source.columns for file in staged),
        rows=sum(file.rows for file in staged),
        bad_rows=sum(file.bad for file in staged),
        bad_examples=tuple(examples[:EXAMPLES]),
        below_min_rating=sum(file.below_min_rating for file in staged),
    )


def _check_not_empty(report: ReadReport, kept: int, min_rating: float | None) -> None:
    if kept:
        return
    source = ", ".join(report.files[:3])
    if report.below_min_rating:
        raise NothingLeftError(
            f"{source}: no interaction is left, as all {report.below_min_rating:,} ratings are "
            f"below {min_rating}",
            report,
        )
    raise NothingLeftError(
        f"{source}: no usable row among {report.rows:,}; {report.bad_examples[0]}", report
    )


def _number(db: DuckDBPyConnection, column: str, role: str) -> tuple[_Numbered, str | None]:
    """Number the distinct ids of one column by rank, in the table ``{column}_codes``.

    Returns:
        The vocabulary, and a note if a few ids that are not integers make text of the others.
    """
    distinct, codes = f"{column}_distinct", f"{column}_codes"
    db.execute(
        f"CREATE TEMP TABLE {distinct} AS "
        f"SELECT DISTINCT {column} AS id FROM staged WHERE verdict = {Verdict.KEEP:d}"
    )
    is_integer = "coalesce(TRY_CAST(id AS BIGINT)::VARCHAR = trim(id), false)"
    total, integers, word = db.execute(
        f"SELECT count(*), count(*) FILTER ({is_integer}), min(id) FILTER (NOT {is_integer}) "
        f"FROM {distinct}"
    ).fetchone()  # type: ignore[misc]
    key = "{}::BIGINT" if integers == total else "{}"
    db.execute(
        f"CREATE TEMP TABLE {codes} AS SELECT key, (row_number() OVER (ORDER BY key) - 1)::INTEGER "
        f"AS code FROM (SELECT DISTINCT {key.format('id')} AS key FROM {distinct})"
    )
    db.execute(f"DROP TABLE {distinct}")
    join = f"JOIN {codes} AS {column} ON {key.format(f's.{column}')} = {column}.key"
    if integers == total:
        rows = db.execute(f"SELECT key, code FROM {codes}").fetchnumpy()
        values = np.empty(len(rows["key"]), dtype=np.int64)
        values[rows["code"]] = rows["key"]
        return _Numbered(IntIds(values), join), None
    note = None
    if integers > 0.9 * total:
        note = (
            f"{total - integers:,} of {total:,} {role} ids are not integers (such as {word!r}), "
            "so all are kept as text"
        )
    return _Numbered(_string_ids(db.execute(f"SELECT key FROM {codes} ORDER BY code")), join), note


def _string_ids(rows: DuckDBPyConnection) -> StrIds:
    """Collect ids that come in ascending order."""
    blobs: list[bytes] = []
    lengths: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64)]
    while block := rows.fetchmany(1 << 16):
        encoded = [id_.encode() for (id_,) in block]
        blobs.append(b"".join(encoded))
        lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    blob = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    return StrIds(blob, np.cumsum(np.concatenate(lengths)))


def _all_timed(db: DuckDBPyConnection) -> bool:
    """Whether each row that is kept has a time."""
    (without,) = db.execute(
        f"SELECT count(*) FROM staged WHERE verdict = {Verdict.KEEP:d} "
        "AND NOT coalesce(isfinite(t), false)"
    ).fetchone()  # type: ignore[misc]
    return bool(without == 0)


def _pair(db: DuckDBPyConnection, joins: str, with_times: bool) -> None:
    """Put the numbers of all interactions in the table ``pairs``, and drop what they come from."""
    db.execute("SET preserve_insertion_order = false")  # the pairs are sorted in the end
    db.execute(
        f"CREATE TEMP TABLE pairs AS SELECT u.code AS u, i.code AS i{', t' if with_times else ''} "
        f"FROM staged AS s {joins} WHERE verdict = {Verdict.KEEP:d}"
    )
    for table in ("staged", "u_codes", "i_codes"):
        db.execute(f"DROP TABLE {table}")


def _count(db: DuckDBPyConnection, n_users: int) -> NDArray[np.int64]:
    """Count the pairs of each user; int64[n_users]."""
    found = db.execute("SELECT u, count(*) AS n FROM pairs GROUP BY u").fetchnumpy()
    counts = np.zeros(n_users, dtype=np.int64)
    counts[found["u"]] = found["n"]
    return counts


def _fetch(db: DuckDBPyConnection) -> Iterator[Pairs]:
    """Bring the numbered pairs over, block by block."""
    (rows,) = db.execute("SELECT coalesce(max(rowid) + 1, 0) FROM pairs").fetchone()  # type: ignore[misc]
    for start in range(0, rows, BLOCK):
        block = db.execute(
            f"SELECT * FROM pairs WHERE rowid >= {start} AND rowid < {start + BLOCK}"
        ).fetchnumpy()
        yield Pairs(block["u"], block["i"], block.get("t"))
