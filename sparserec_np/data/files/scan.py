"""Scans: a file as an SQL relation with the columns ``place, line, fault, u, i, r, t``.

Text is read line by line and split in SQL. That is as quick as DuckDB's CSV reader, and keeps
every line apart: a quote that is never closed costs its own line instead of all that follow it.
Only files whose quoted values run over several lines need the CSV reader, see
:class:`MultilineScan`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from sparserec_np.data.bad_rows import Verdict, reason, shorten
from sparserec_np.data.columns import ColumnIndices, ColumnOptions, choose_columns
from sparserec_np.data.files.database import literal, path_literal
from sparserec_np.data.files.detection import detect
from sparserec_np.data.files.dialect import Dialect
from sparserec_np.data.files.inspection import InputFile
from sparserec_np.data.read_report import Columns
from sparserec_np.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HEAD_LINES = 200
"""Lines at the beginning of a file that tell its dialect and its columns."""

# Separates columns where a line is wanted whole: no text holds these four characters in a row.
_NO_DELIMITER = "\x1e\x1f\x1e\x1f"


@dataclass(frozen=True)
class FileScan:
    """A scan of one file whose columns are known."""

    file: InputFile
    columns: Columns
    """Names of the columns that are read."""

    unit = "line"
    """Unit in which places in the file are counted."""

    @property
    def decimal_comma(self) -> bool:
        """True if a comma in a rating may be a decimal point."""
        return False

    def sql(self, numbered: bool = False) -> str:
        """Return the SQL of the rows.

        ``u, i, r, t`` are user, item, rating and time as text. ``fault`` is the :class:`Verdict` on
        a row that could not be split, else NULL. ``line`` is the text of a row, or NULL. ``place``
        is its number in the file, NULL unless ``numbered``.
        """
        raise NotImplementedError

    def reason(
        self, verdict: Verdict, line: str | None, rating: str | None, time: str | None
    ) -> str:
        """Return what is wrong with a row; see :func:`sparserec_np.data.bad_rows.reason`."""
        return reason(verdict, self.columns, line, rating, time)


def open_scan(db: DuckDBPyConnection, file: InputFile, options: ColumnOptions) -> FileScan:
    """Look into a file and find its columns.

    Raises:
        InputError: The file holds no rows, or its columns cannot be told.
    """
    if file.format == "Parquet":
        return _open_parquet(db, file, options)
    rows = db.execute(f"SELECT line FROM ({_lines_sql(file)}) LIMIT {HEAD_LINES}").fetchall()
    head = [line for (line,) in rows if line is not None and line.strip()]
    if not head:
        raise InputError(f"{file.name} holds no rows")
    return (_open_json if file.format == "JSON lines" else _open_text)(file, head, options)


# CSV, TSV and their relatives


@dataclass(frozen=True)
class TextScan(FileScan):
    """A scan of CSV, TSV and their relatives."""

    dialect: Dialect
    indices: ColumnIndices

    @property
    def decimal_comma(self) -> bool:
        """True unless the comma is the delimiter."""
        return self.dialect.delimiter != ","

    def sql(self, numbered: bool = False) -> str:
        """Split each line that is not blank, a comment or a header; see :meth:`FileScan.sql`."""
        dialect = self.dialect
        lines = f"SELECT * FROM ({_lines_sql(self.file, numbered)}) WHERE {dialect.holds_row_sql()}"
        # Most lines pass the first test. A delimiter at the end of a line begins no column.
        fault = (
            f"CASE WHEN len(f) = {dialect.width} THEN NULL "
            f"WHEN f IS NULL THEN {Verdict.QUOTE:d} "
            f"WHEN len(f) = {dialect.width + 1} AND f[-1] = '' THEN NULL "
            f"ELSE {Verdict.WIDTH:d} END"
        )
        values = _values_sql(None if i is None else f"f[{i + 1}]" for i in astuple(self.indices))
        return (
            f"SELECT place, line, {fault} AS fault, {values} FROM ({dialect.split_sql(lines)}) "
            "WHERE len(f) <> 1 OR trim(line) <> ''"
        )

    def reason(
        self, verdict: Verdict, line: str | None, rating: str | None, time: str | None
    ) -> str:
        """Count the columns of a line that has too few or too many; see :class:`FileScan`."""
        if verdict is Verdict.WIDTH and line is not None:
            n = len(self.dialect.split(line) or ())
            columns = "column" if n == 1 else "columns"
            return f"{n} {columns} instead of {self.dialect.width}: {shorten(line)}"
        return super().reason(verdict, line, rating, time)


@dataclass(frozen=True)
class MultilineScan(TextScan):
    """A scan of CSV with line ends inside quoted values, by DuckDB's CSV reader.

    Rows that do not fit go to DuckDB's reject tables. The others have neither line nor place.
    """

    def sql(self, numbered: bool = False) -> str:
        """Scan with DuckDB's CSV reader; see :meth:`FileScan.sql`."""
        dialect = self.dialect
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(dialect.width))
        values = _values_sql(None if i is None else f"c{i}" for i in astuple(self.indices))
        return (
            f"SELECT NULL::BIGINT AS place, NULL::VARCHAR AS line, NULL::INTEGER AS fault, {values}"
            f" FROM read_csv({path_literal(self.file.path)}, auto_detect=false, "
            f"delim={literal(dialect.delimiter)}, quote={literal(dialect.quote)}, "
            f"escape={literal(dialect.quote)}, header={dialect.header is not None}, "
            f"comment={literal(dialect.comment)}, compression={literal(self.file.compression)}, "
            f"columns={{{columns}}}, store_rejects=true)"
        )


def _open_text(file: InputFile, head: Sequence[str], options: ColumnOptions) -> TextScan:
    dialect = detect(head, options)
    rows = [line for line in head if dialect.holds_row(line)]
    if not rows:
        raise InputError(f"{file.name} holds a header but no rows")
    sample = [fields for fields in map(dialect.split, rows) if fields]
    names = dialect.names
    indices = choose_columns(file.name, names, dialect.width, options, sample)
    return TextScan(file, indices.named(names), dialect, indices)


# JSON lines


@dataclass(frozen=True)
class JsonScan(FileScan):
    """A scan of JSON lines: one object a line."""

    def sql(self, numbered: bool = False) -> str:
        """Extract members from each line; see :meth:`FileScan.sql`."""
        members = astuple(self.columns)
        found = [member for member in members if member is not None]
        paths = ", ".join(literal(f"$.{json.dumps(name, ensure_ascii=False)}") for name in found)
        values = _values_sql(
            None if member is None else f"f[{found.index(member) + 1}]" for member in members
        )
        return (
            f"SELECT place, line, CASE WHEN f IS NULL THEN {Verdict.JSON:d} END AS fault, "
            f"{values} FROM (SELECT *, CASE WHEN json_valid(line) "
            f"THEN json_extract_string(line, [{paths}]) END AS f "
            f"FROM ({_lines_sql(self.file, numbered)}) WHERE line IS NOT NULL AND trim(line) <> '')"
        )


def _open_json(file: InputFile, head: Sequence[str], options: ColumnOptions) -> JsonScan:
    members: dict[str, Any] = {}
    for line in head:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            members |= row
    if not members:
        hint = ": it begins like a JSON array" if head[0].lstrip().startswith("[") else ""
        raise InputError(f"{file.name} holds no JSON lines (one object a line){hint}")
    names = list(members)
    indices = choose_columns(file.name, names, len(names), options)
    return JsonScan(file, indices.named(names))


# Parquet


@dataclass(frozen=True)
class ParquetScan(FileScan):
    """A scan of Parquet, whose columns have types."""

    expressions: tuple[str | None, ...]
    """SQL of user, item, rating and time as text."""

    unit = "row"

    def sql(self, numbered: bool = False) -> str:
        """Scan the columns that are needed; see :meth:`FileScan.sql`."""
        place = "file_row_number + 1" if numbered else "NULL::BIGINT"
        return (
            f"SELECT {place} AS place, NULL::VARCHAR AS line, NULL::INTEGER AS fault, "
            f"{_values_sql(self.expressions)} "
            f"FROM read_parquet({path_literal(self.file.path)}, file_row_number={numbered})"
        )


def _open_parquet(db: DuckDBPyConnection, file: InputFile, options: ColumnOptions) -> ParquetScan:
    path = path_literal(file.path)
    described = db.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()
    names, types = [row[0] for row in described], [row[1] for row in described]
    indices = choose_columns(file.name, names, len(names), options)
    for index in (indices.user, indices.item):
        if types[index] == "BOOLEAN" or types[index].endswith(("]", ")", "BLOB")):
            if types[index].startswith(("DECIMAL", "ENUM")):
                continue
            raise InputError(
                f"{file.name}: ids must be integers or text, "
                f"but column {names[index]!r} is {types[index]}"
            )
    expressions = tuple(
        None if index is None else _parquet_text(names[index], types[index], is_id=n < 2)
        for n, index in enumerate(astuple(indices))
    )
    return ParquetScan(file, indices.named(names), expressions)


def _parquet_text(name: str, kind: str, *, is_id: bool) -> str:
    """Return SQL of a column as text; ids that are whole numbers are written as such."""
    column = '"' + name.replace('"', '""') + '"'
    if is_id and kind in ("DOUBLE", "FLOAT"):
        # pandas turns integer ids into floats as soon as one is missing.
        whole = f"TRY_CAST({column} AS BIGINT)"
        return (
            f"CASE WHEN isnan({column}) THEN NULL WHEN {whole} = {column} "
            f"THEN {whole}::VARCHAR ELSE {column}::VARCHAR END"
        )
    return f"{column}::VARCHAR"


# All of them


def _values_sql(values: Iterable[str | None]) -> str:
    """Name the SQL of user, item, rating and time as a scan names them; None is NULL."""
    return ", ".join(f"{sql or 'NULL'} AS {name}" for sql, name in zip(values, "uirt", strict=True))


def _lines_sql(file: InputFile, numbered: bool = False) -> str:
    """Return the SQL of the lines of a text file, ``place`` and ``line``; a blank line is NULL."""
    place = "row_number() OVER ()" if numbered else "NULL::BIGINT"
    return (
        f"SELECT {place} AS place, line FROM read_csv({path_literal(file.path)}, "
        f"auto_detect=false, delim={literal(_NO_DELIMITER)}, quote='', escape='', header=false, "
        f"columns={{'line': 'VARCHAR'}}, strict_mode=false, "
        f"compression={literal(file.compression)}, store_rejects=true)"
    )
