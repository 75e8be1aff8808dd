"""Interactions from files, read by DuckDB within a memory limit.

Four steps: *stage* the rows of all files in one table that spills to disk, *number* the distinct
ids by rank, *pair* the numbers in a table of their own, *fetch* the pairs in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sparserec_np.data.assembly import assemble_blocks
from sparserec_np.data.bad_rows import RowRules
from sparserec_np.data.columns import ColumnOptions
from sparserec_np.data.files.database import (
    MEMORY_LIMITS,
    NoRoomError,
    open_database,
    translate_errors,
)
from sparserec_np.data.files.detection import TextOptions
from sparserec_np.data.files.inspection import InputFile
from sparserec_np.data.files.numbering import (
    all_have_times,
    create_pairs,
    fetch_pairs,
    number_ids,
    sift,
)
from sparserec_np.data.files.paths import copy_as_utf8, find_files
from sparserec_np.data.files.remote import is_url, register
from sparserec_np.data.files.scan import (
    FileScan,
    MisencodedError,
    open_scan,
    with_conventions,
)
from sparserec_np.data.files.staging import (
    StagedFile,
    create_table,
    find_bad_rows,
    recount,
    stage,
)
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.read_report import EXAMPLES, BadRow, ReadReport
from sparserec_np.data.selection import drop_rare
from sparserec_np.data.values import literal, missing_texts, time_problem
from sparserec_np.utils.temporary import temporary_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Of DuckDB while pairs are fetched: a scan needs little, and the interactions grow beside it.
_FETCH_LIMIT = "64MB"


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
    delimiter: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    format: Literal["lists"] | None = None,
    missing_ids: str | Sequence[str] | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
) -> Interactions:
    r"""Read interactions from files; several are read as one.

    CSV, TSV and their relatives (``,`` tab ``;`` ``|`` ``::`` blank; with or without header), JSON
    lines, all of them also as ``.gz`` or ``.zst``, and Parquet. Ids become int64 where every id of
    all files is an integer as Python would write it, else they stay text. Blanks around an id are
    no part of it, and ``7.0`` is ``7``.

    Peak memory: the larger of two. While ids are numbered, ``memory_limit`` for DuckDB, which
    spills the rest to the folder for temporary files, and some 100 MB beside it. After that the
    interactions, 64 MB for DuckDB (``memory_limit``, where it is given), and some 150 MB.

    Args:
        paths: One or many paths, globs or URLs; ``"-"`` is standard input. URLs such as
            ``s3://bucket/*.parquet`` need the extra ``[remote]`` and fsspec's package for the
            store.
        user_col: Column of the users: a name, or a position counted from 1. Found by its usual
            names or by position if not given, as the next three.
        item_col: Column of the items.
        rating_col: Column of the ratings.
        time_col: Column of the times: seconds, or dates. ``"none"`` for ratings or times: there is
            no such column.
        min_rating: Rows with a lower rating are not interactions. Without it every row counts.
        min_user_interactions: Drop users with fewer distinct items. Dropping users may make items
            rare and the other way round, so both rules are repeated until they hold.
        min_item_interactions: Drop items with fewer distinct users.
        on_bad_rows: ``"stop"`` at the first row that cannot be used, or ``"skip"`` such rows and
            report them.
        with_times: Keep the time of each interaction; None: if each row that is kept has one.
        delimiter: Text between the columns, ``"tab"`` or ``"blank"``; found if not given.
        header: True if the first line names the columns, False if it is a row; None: found, or
            asked for.
        encoding: Encoding of text, by Python's name, such as ``"latin-1"``; None: UTF-8, or UTF-16
            with a byte order mark.
        format: ``"lists"`` for lines of a user and then all items of that user.
        missing_ids: Texts that mean that there is no id; None: ``NULL``, ``\N``, ``nan``, ``N/A``
            and the like, see :data:`sparserec_np.data.values.MISSING_IDS`.
        memory_limit: Memory that DuckDB may use, such as ``"2GB"``; default 256 MB, or 1 GB where
            that is too small.
        threads: Threads of DuckDB; default one a core. The result does not depend on it.

    Returns:
        The interactions, with a report of what was read and left out.

    Raises:
        InputError: A file, a column or (with ``"stop"``) a row cannot be used, or nothing is left.
        MissingExtraError: DuckDB, or a package that reads URLs, is not installed.
    """
    rules = RowRules(min_rating, with_times, on_bad_rows, missing_texts(missing_ids))
    options = ColumnOptions(user_col, item_col, rating_col, time_col)
    text = TextOptions(delimiter, header, encoding, format)
    limits = (memory_limit,) if memory_limit else MEMORY_LIMITS
    with temporary_folder("sparserec-read-") as scratch:
        files = find_files(paths, scratch, encoding)
        for limit in limits:
            try:
                with open_database(str(scratch), limit, threads) as db:
                    create_table(db)
                    if any(is_url(file.name) for file in files):
                        register(db)
                    staged = [
                        stage_file(db, file, number, options, text, rules, scratch)
                        for number, file in enumerate(files)
                    ]
                    interactions = _read(db, staged, rules, memory_limit or _FETCH_LIMIT)
                break
            except NoRoomError:
                if limit == limits[-1]:
                    raise
    return drop_rare(interactions, min_user_interactions, min_item_interactions)


def open_file(
    db: DuckDBPyConnection,
    file: InputFile,
    options: ColumnOptions,
    text: TextOptions,
    scratch: Path,
) -> FileScan:
    """Look into a file, in UTF-8, and find its columns; see :func:`open_scan`."""
    if file.encoding != "utf-8" and file.format != "Parquet":
        file = copy_as_utf8(file, scratch)
    try:
        return open_scan(db, file, options, text)
    except MisencodedError:
        return open_scan(db, copy_as_utf8(file, scratch), options, text)


def stage_file(
    db: DuckDBPyConnection,
    file: InputFile,
    number: int,
    options: ColumnOptions,
    text: TextOptions,
    rules: RowRules,
    scratch: Path,
) -> StagedFile:
    """Stage the rows of one file; once more where lines of it are not UTF-8."""
    with translate_errors(file.name):
        scan = open_file(db, file, options, text, scratch)
        rules.check_columns(file.name, scan.columns)
        if rules.min_rating is not None or rules.with_times is not False:
            scan = with_conventions(db, scan)
        staged = stage(db, scan, number, rules)
        if staged.misencoded and not scan.file.mended:
            db.execute(f"DELETE FROM staged WHERE file = {number}")
            mended = copy_as_utf8(scan.file, scratch)
            return stage_file(db, mended, number, options, text, rules, scratch)
    return staged


def _read(
    db: DuckDBPyConnection, staged: list[StagedFile], rules: RowRules, fetch_limit: str
) -> Interactions:
    with translate_errors("the rows"):
        if sift(db, staged, rules):
            staged = [recount(db, file, number) for number, file in enumerate(staged)]
    report = _report(db, staged, rules)
    rules.check_report(report)
    with translate_errors("the rows"):
        notes = [file.scan.note for file in staged]
        with_times = all_have_times(db) if rules.with_times is None else rules.with_times
        if rules.with_times is None and not with_times:
            notes.append(_time_note(db, staged))
        users, items = number_ids(db, "u", "user"), number_ids(db, "i", "item")
        counts = create_pairs(db, users, items, with_times=with_times)
        db.execute(f"SET memory_limit = {literal(fetch_limit)}")  # gives the rest back at once
        interactions, duplicates = assemble_blocks(
            fetch_pairs(db), counts, users.ids, items.ids, with_times=with_times
        )
    notes += [users.note, items.note]
    given = tuple(dict.fromkeys(note for note in notes if note))
    return replace(interactions, report=replace(report, duplicates=duplicates, notes=given))


def _time_note(db: DuckDBPyConnection, staged: Sequence[StagedFile]) -> str | None:
    """Log why times that are there are not used."""
    if not any(file.scan.columns.time for file in staged):
        return None
    for file in staged:
        scan = file.scan
        if scan.columns.time is None:
            return f"{scan.file.name} has no column of times, so those of the others are not used"
        seconds = scan.conventions.seconds_sql("t")
        wrong = db.execute(
            f"SELECT t FROM ({scan.sql()}) WHERE fault IS NULL AND trim(t) <> '' "
            f"AND NOT coalesce(isfinite({seconds}), false) LIMIT 1"
        ).fetchone()
        if wrong is not None:
            return (
                f"{scan.file.name}: the times in column {scan.columns.time!r} are not used, as "
                f"{time_problem(wrong[0])}"
            )
    return "some rows have no time, so the times of the others are not used"


def _report(db: DuckDBPyConnection, staged: Sequence[StagedFile], rules: RowRules) -> ReadReport:
    """Sum up the files; finding the first bad rows needs another pass over files that have any."""
    examples: list[BadRow] = []
    for file in staged:
        if file.bad and len(examples) < EXAMPLES:
            with translate_errors(file.scan.file.name):
                examples += find_bad_rows(db, file, rules)
    return ReadReport(
        files=tuple(file.scan.file.name for file in staged),
        columns=tuple(file.scan.columns for file in staged),
        rows=sum(file.rows for file in staged),
        bad_rows=sum(file.bad for file in staged),
        bad_examples=tuple(examples[:EXAMPLES]),
        below_min_rating=sum(file.below_min_rating for file in staged),
    )
