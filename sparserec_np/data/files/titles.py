"""Titles of items from a file, read as files of interactions are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparserec_np.data.bad_rows import RowRules, Verdict
from sparserec_np.data.columns import ColumnIndices, ColumnOptions, asked_column, usual_role
from sparserec_np.data.files.database import MEMORY_LIMITS, open_database, translate_errors
from sparserec_np.data.files.detection import TextOptions
from sparserec_np.data.files.inspection import InputFile
from sparserec_np.data.files.paths import copy_as_utf8, find_files
from sparserec_np.data.files.scan import MisencodedError, open_scan
from sparserec_np.data.files.staging import create_table, stage
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import canonical

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TITLES = ("title", "name", "label", "caption", "description")


@dataclass(frozen=True)
class TitleColumns(ColumnOptions):
    """Columns of ids, as ``user``, and of titles, as ``item``."""

    def usual(self, name: str) -> str | None:
        """Return the role of a column of this name: ``"user"`` for ids, ``"item"`` for titles."""
        plain = "".join(filter(str.isalnum, name)).casefold()
        if any(plain.endswith(title) for title in _TITLES):
            return "item"
        return "user" if plain == "id" or usual_role(name) == "item" else None

    def choose(
        self,
        source: str,
        names: Sequence[str] | None,
        width: int,
        sample: Sequence[Sequence[str]] = (),
    ) -> ColumnIndices:
        """Find the two columns: by option, by name, and without names the first two."""
        found = []
        for role, kind, default in (("user", "ids", 0), ("item", "titles", 1)):
            asked = getattr(self, role)
            usual = [i for i, name in enumerate(names or ()) if self.usual(name) == role]
            if asked is not None:
                found.append(asked_column(source, names, width, asked, kind))
            elif usual or (names is None and width > 1):
                found.append(usual[0] if usual else default)
            else:
                there = ", ".join(names or ["only one, without a name"])
                raise InputError(
                    f"{source}: cannot tell which column holds the {kind}; its columns are: {there}"
                    ". Name both, as in movies.csv:movieId,title"
                )
        return ColumnIndices(*found)


def read_titles(
    path: str, id_col: str | None = None, title_col: str | None = None
) -> tuple[dict[str, str], list[str]]:
    """Read titles by item id.

    Args:
        path: A file of any kind that :func:`sparserec_np.read` takes; text that is not UTF-8 is
            read as Latin-1.
        id_col: Column of the item ids, a name or a number; None: found.
        title_col: Column of the titles, likewise.

    Returns:
        Titles by id as text, and sentences about what may surprise.

    Raises:
        InputError: The file cannot be read, or lacks a column.
        MissingExtraError: DuckDB is not installed.
    """
    rows, notes = read_pairs(path, TitleColumns(id_col, title_col))
    return {canonical(id_): title for id_, title in rows}, notes


def read_pairs(path: str, options: ColumnOptions) -> tuple[list[tuple[str, str]], list[str]]:
    """Read two columns of a file; ``options`` choose them as ``user`` and ``item``.

    Returns:
        The rows where both have a value, as text, and sentences about what may surprise.

    Raises:
        InputError: The file cannot be read, or lacks a column.
        MissingExtraError: DuckDB is not installed.
    """
    if not os.path.isfile(os.path.expanduser(path)):
        raise InputError(f"there is no file {path}")
    with tempfile.TemporaryDirectory(prefix="sparserec-read-") as scratch:
        (file,) = find_files(path, Path(scratch))
        with open_database(scratch, MEMORY_LIMITS[-1], None) as db, translate_errors(path):
            return _read(db, file, options, Path(scratch))


def _read(
    db: DuckDBPyConnection, file: InputFile, options: ColumnOptions, scratch: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    notes = []
    create_table(db)
    if file.encoding != "utf-8":
        file = copy_as_utf8(file, scratch)
    for _ in range(2):
        try:
            staged = stage(
                db, open_scan(db, file, options, TextOptions()), 0, RowRules(missing_ids=())
            )
            if not staged.misencoded:
                break
        except MisencodedError:
            pass
        notes.append(f"{file.name} is not UTF-8: it was read as Latin-1")
        file = copy_as_utf8(replace(file, encoding="cp1252"), scratch)
        db.execute("DELETE FROM staged")
    if staged.bad:
        notes.append(f"{file.name}: {staged.bad:,} of {staged.rows:,} lines have no id or no title")
    rows = db.execute(f"SELECT u, i FROM staged WHERE verdict = {Verdict.KEEP:d}").fetchall()
    return rows, notes
