"""Scans: a file as an SQL relation with the columns ``place, line, fault, u, i, r, t``.

Text is read line by line and split in SQL. That is as quick as DuckDB's CSV reader, and keeps
every line apart: a quote that is never closed costs its own line instead of all that follow it.
Only files whose quoted values run over several lines need the CSV reader, see
:class:`MultilineScan`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sparserec_np.data.bad_rows import Verdict, reason, shorten
from sparserec_np.data.columns import ColumnIndices, ColumnOptions
from sparserec_np.data.files.database import path_literal
from sparserec_np.data.files.detection import TextOptions, detect
from sparserec_np.data.files.dialect import Dialect
from sparserec_np.data.files.inspection import InputFile
from sparserec_np.data.read_report import Columns
from sparserec_np.data.values import Conventions, find_conventions, literal
from sparserec_np.errors import InputError
from sparserec_np.vocabulary import EXACT_FLOATS

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

    conventions: Conventions = field(default=Conventions(), kw_only=True)
    """How its ratings and times are read."""
    note: str | None = field(default=None, kw_only=True)
    """What may surprise about its columns."""

    unit = "line"
    """Unit in which places in the file are counted."""

    @property
    def header_values(self) -> tuple[str, str] | None:
        """Values of user and item in a header that comes again, or None."""
        return None

    def sql(self, numbered: bool = False) -> str:
        """Return the SQL of the rows.

        ``u, i, r, t`` are user, item, rating and time as text. ``fault`` is the :class:`Verdict` on
        a row that could not be split, else NULL. ``line`` is the text of a row, or NULL. ``place``
        is its number in the file, NULL unless ``numbered``.
        """
        raise NotImplementedError

    def reason(self, verdict: Verdict, line: str | None, values: Sequence[str | None]) -> str:
        """Return what is wrong with a row; see :func:`sparserec_np.data.bad_rows.reason`."""
        return reason(verdict, self.columns, line, values)


class MisencodedError(InputError):
    """Lines of a text file are not UTF-8."""


def drop_rejects(db: DuckDBPyConnection) -> list[tuple[int, str, str]]:
    """Drop DuckDB's reject tables; return number, kind and text of the lines in them."""
    (tables,) = db.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"
    ).fetchone()  # type: ignore[misc]
    if not tables:
        return []
    rows = db.execute(
        "SELECT line, first(error_type), first(csv_line) FROM reject_errors "
        "GROUP BY line ORDER BY line"
    ).fetchall()
    db.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    return rows


def open_scan(
    db: DuckDBPyConnection, file: InputFile, options: ColumnOptions, text: TextOptions
) -> FileScan:
    """Look into a file and find its columns.

    Raises:
        InputError: The file holds no rows, or its columns cannot be told.
    """
    if file.format == "Parquet":
        return _open_parquet(db, file, options)
    drop_rejects(db)
    rows = db.execute(f"SELECT line FROM ({_lines_sql(file)}) LIMIT {HEAD_LINES}").fetchall()
    if not file.mended and "INVALID ENCODING" in {kind for _, kind, _ in drop_rejects(db)}:
        raise MisencodedError(f"{file.name} is not UTF-8")
    head = [line for (line,) in rows if line is not None and line.strip()]
    if not head:
        raise InputError(f"{file.name} holds no rows")
    if file.format == "JSON lines":
        return _open_json(file, head, options)
    return _open_text(file, head, options, text)


def with_conventions(db: DuckDBPyConnection, scan: FileScan) -> FileScan:
    """Find out from the first rows how a file writes numbers and times, unless their types say."""
    rows = db.execute(f"SELECT r, t FROM ({scan.sql()}) LIMIT {HEAD_LINES}").fetchall()
    found = find_conventions(*zip(*rows, strict=True)) if rows else Conventions()
    decimal = scan.conventions.decimal or found.decimal
    return replace(scan, conventions=replace(found, decimal=decimal))


# CSV, TSV and their relatives


@dataclass(frozen=True)
class TextScan(FileScan):
    """A scan of CSV, TSV and their relatives."""

    dialect: Dialect
    indices: ColumnIndices

    @property
    def header_values(self) -> tuple[str, str] | None:
        """Names of the columns of user and item, if there is a header."""
        return None if self.dialect.header is None else (self.columns.user, self.columns.item)

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

    def reason(self, verdict: Verdict, line: str | None, values: Sequence[str | None]) -> str:
        """Count the columns of a line that has too few or too many; see :class:`FileScan`."""
        if verdict is Verdict.WIDTH and line is not None:
            n = len(self.dialect.split(line) or ())
            columns = "column" if n == 1 else "columns"
            return f"{n} {columns} instead of {self.dialect.width}: {shorten(line)}"
        return super().reason(verdict, line, values)


@dataclass(frozen=True)
class MultilineScan(TextScan):
    """A scan of CSV with line ends inside quoted values, by DuckDB's CSV reader.

    Rows that do not fit go to DuckDB's reject tables. The others have neither line nor place.
    """

    escape: str = ""
    """The character before a quote within quotes; ``""``: the quote itself."""

    def sql(self, numbered: bool = False) -> str:
        """Scan with DuckDB's CSV reader; see :meth:`FileScan.sql`."""
        dialect = self.dialect
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(dialect.width))
        values = _values_sql(None if i is None else f"c{i}" for i in astuple(self.indices))
        return (
            f"SELECT NULL::BIGINT AS place, NULL::VARCHAR AS line, NULL::INTEGER AS fault, {values}"
            f" FROM read_csv({path_literal(self.file.path)}, auto_detect=false, "
            f"delim={literal(dialect.delimiter)}, quote={literal(dialect.quote)}, "
            f"escape={literal(self.escape or dialect.quote)}, header={dialect.header is not None}, "
            f"comment={literal(dialect.comment)}, compression={literal(self.file.compression)}, "
            f"columns={{{columns}}}, store_rejects=true)"
        )


@dataclass(frozen=True)
class ListsScan(TextScan):
    """A scan of lists: in each line a user, then all items of that user, as LightGCN has them."""

    def sql(self, numbered: bool = False) -> str:
        """Make a row of each item; see :meth:`FileScan.sql`."""
        lines = f"SELECT * FROM ({_lines_sql(self.file, numbered)}) WHERE line IS NOT NULL"
        return (
            f"SELECT place, line, NULL::INTEGER AS fault, f[1] AS u, unnest(f[2:]) AS i, "
            f"NULL::VARCHAR AS r, NULL::VARCHAR AS t FROM (SELECT place, line, "
            f"[x FOR x IN string_split(line, {literal(self.dialect.delimiter)}) IF x <> ''] AS f "
            f"FROM ({lines}))"
        )


def _open_text(
    file: InputFile, head: Sequence[str], options: ColumnOptions, text: TextOptions
) -> TextScan:
    if text.format == "lists":
        return _open_lists(file, head, text)
    if text.delimiter is None and _are_lists([re.split("[ \t,]+", line.strip()) for line in head]):
        raise InputError(
            f"{file.name}: its lines have different numbers of columns, as lists of a user and all "
            "items: read it with --format lists (format='lists' in Python), or correct it"
        )
    dialect = detect(head, file.name, options, text)
    rows = [line for line in head if dialect.holds_row(line)]
    if not rows:
        raise InputError(f"{file.name} holds a header but no rows")
    sample = [fields for fields in map(dialect.split, rows) if fields]
    names = dialect.names
    indices = options.choose(file.name, names, dialect.width, sample)
    note = None
    first = [row[0].strip() for row in sample]
    counted = any(first == [str(n + start) for n in range(len(first))] for start in (0, 1))
    unasked = options.user is None and (names is None or options.usual(names[0]) is None)
    if indices.user == 0 and unasked and dialect.width > 2 and len(first) > 2 and counted:
        note = (
            f"{file.name}: the column of the users counts the rows ({', '.join(first[:3])}, ...), "
            "as an index does: if it is no user, name the columns with --user-col and --item-col "
            "(user_col=, item_col= in Python)"
        )
    return TextScan(file, indices.named(names), dialect, indices, note=note)


def _open_lists(file: InputFile, head: Sequence[str], text: TextOptions) -> ListsScan:
    delimiter = text.delimiter or next((d for d in "\t,; " if d in head[0]), " ")
    dialect = Dialect(delimiter, "", 2, None, "")
    return ListsScan(
        file, Columns("column 1", "columns 2 to the last"), dialect, ColumnIndices(0, 1)
    )


def _are_lists(rows: Sequence[Sequence[str]]) -> bool:
    """Return True if rows of different lengths begin with different users, and are all numbers."""
    return (
        len({len(row) for row in rows}) > 2
        and len({row[0] for row in rows}) == len(rows)
        and all(value.strip().isdecimal() for row in rows for value in row if value)
    )


# JSON lines


@dataclass(frozen=True)
class JsonScan(FileScan):
    """A scan of JSON lines: one object a line."""

    def sql(self, numbered: bool = False) -> str:
        """Extract members from each line; see :meth:`FileScan.sql`."""
        members = astuple(self.columns)
        found = [member for member in members if member is not None]
        paths = [literal(f"$.{json.dumps(name, ensure_ascii=False)}") for name in found]
        values = _values_sql(
            None if name is None else _member_sql(found.index(name) + 1, paths[found.index(name)])
            for name in members
        )
        nested = f"{literal(_NESTED)} IN (u, i)"
        return (
            f"SELECT place, line, CASE WHEN NOT parsed THEN {Verdict.JSON:d} "
            f"WHEN {nested} THEN {Verdict.NESTED:d} END AS fault, u, i, r, t "
            f"FROM (SELECT place, line, f IS NOT NULL AS parsed, {values} FROM (SELECT *, "
            f"CASE WHEN json_valid(line) THEN json_extract_string(line, [{', '.join(paths)}]) END "
            f"AS f FROM ({_lines_sql(self.file, numbered)}) "
            f"WHERE line IS NOT NULL AND trim(line) <> ''))"
        )


# In place of a value that is neither a number nor text; no id is this text.
_NESTED = "\x1e\x1f\x1e"
# Members of the objects in which MongoDB wraps values.
_WRAPPED = ("$oid", "$numberLong", "$numberInt", "$numberDouble", "$date")


def _member_sql(index: int, path: str) -> str:
    """Return SQL of one member as text; values that MongoDB wraps are unwrapped."""
    text = f"f[{index}]"
    wrapped = ", ".join(
        f"json_extract_string({text}, {literal(f'$.{json.dumps(name)}')})" for name in _WRAPPED
    )
    date = f'json_extract_string({text}, \'$."$date"."$numberLong"\')'
    # Few texts begin like a list, an object, true or false: only these need their type. Numbers are
    # before them all.
    return (
        f"CASE WHEN {text} < '[' OR {text} IS NULL OR NOT (starts_with({text}, '[') "
        f"OR starts_with({text}, '{{') OR {text} IN ('true', 'false')) THEN {text} "
        f"WHEN json_type(line, {path}) = 'OBJECT' THEN "
        f"coalesce({date}, {wrapped}, {literal(_NESTED)}) "
        f"WHEN json_type(line, {path}) IN ('ARRAY', 'BOOLEAN') THEN {literal(_NESTED)} "
        f"ELSE {text} END"
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
    indices = options.choose(file.name, names, len(names))
    return JsonScan(file, indices.named(names), conventions=Conventions("."))


# Parquet


@dataclass(frozen=True)
class ParquetScan(FileScan):
    """A scan of Parquet, whose columns have types."""

    expressions: tuple[str | None, ...]
    """SQL of user, item, rating and time as text."""
    names: tuple[str, ...] = ()
    """Names of all columns."""

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
    indices = options.choose(file.name, names, len(names))
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
    rating = None if indices.rating is None else types[indices.rating]
    numeric = rating is not None and rating not in ("VARCHAR", "BLOB")
    conventions = Conventions("." if numeric else "")
    named = indices.named(names)
    return ParquetScan(file, named, expressions, tuple(names), conventions=conventions)


_LARGE = "ids are floats above 2^53, which may have lost digits: store them as integers or text"


def _parquet_text(name: str, kind: str, *, is_id: bool) -> str:
    """Return SQL of a column as text; ids that are whole numbers are written as such."""
    column = '"' + name.replace('"', '""') + '"'
    if is_id and kind in ("DOUBLE", "FLOAT"):
        # pandas turns integer ids into floats as soon as one is missing.
        whole = f"TRY_CAST({column} AS BIGINT)"
        large = f"abs({column}) > {EXACT_FLOATS!r}"
        return (
            f"CASE WHEN NOT isfinite({column}) THEN NULL WHEN {large} THEN error({literal(_LARGE)})"
            f" WHEN {whole} = {column} THEN {whole}::VARCHAR ELSE {column}::VARCHAR END"
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
