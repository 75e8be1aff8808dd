"""One file as an SQL relation with the columns ``place, line, fault, u, i, r, t``.

Text is read line by line and split in SQL. That is as quick as DuckDB's CSV reader, and keeps
every line apart: a quote that is never closed costs its own line instead of all that follow it.
Only files whose quoted values run over several lines need the CSV reader, see
:meth:`TextSource.multiline`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sparserec_np.data.bad_rows import Verdict, shorten
from sparserec_np.data.columns import ColumnIndices, ColumnOptions, choose_columns
from sparserec_np.data.files.dialect import Dialect, detect
from sparserec_np.data.files.paths import InputFile
from sparserec_np.data.read_report import Columns
from sparserec_np.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HEAD_LINES = 200
# What separates columns where a line is wanted whole: no text holds these four characters in a row.
_NO_DELIMITER = "\x1e\x1f\x1e\x1f"


def quoted(text: str) -> str:
    """Write text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def glob_escaped(path: str) -> str:
    """Keep DuckDB from taking the brackets and stars of a file name for a pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


@dataclass(frozen=True)
class Source:
    """One file, ready to be scanned."""

    file: InputFile
    columns: Columns
    """Names of the columns taken."""

    unit = "line"
    """What a place in the file is counted in."""

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a rating may be a decimal point."""
        return False

    def relation(self, numbered: bool = False) -> str:
        """Give the SQL of the rows; ``place`` is filled only if ``numbered``."""
        raise NotImplementedError

    def misfit(self, line: str) -> str:
        """Say how the columns of a line differ from what is expected."""
        return f"too few or too many columns: {shorten(line)}"

    def multiline(self) -> Source | None:
        """Give another way to read the file, where values may run over several lines."""
        return None


@dataclass(frozen=True)
class TextSource(Source):
    """CSV, TSV and their relatives."""

    dialect: Dialect
    indices: ColumnIndices

    def relation(self, numbered: bool = False) -> str:
        """Split each line that is not blank, a comment or a header; see :class:`Source`."""
        dialect = self.dialect
        keep = ["line IS NOT NULL"]
        if dialect.header is not None:  # may come again where files were joined
            keep.append(f"line <> {quoted(dialect.header)}")
        if dialect.comment:
            keep.append(f"NOT starts_with(line, {quoted(dialect.comment)})")
        lines = f"SELECT * FROM ({_lines(self.file, numbered)}) WHERE {' AND '.join(keep)}"
        places = zip("uirt", dataclasses.astuple(self.indices), strict=True)
        values = ", ".join(f"{_element('f', index)} AS {name}" for name, index in places)
        # Most lines pass the first test. A blank at the end of the others is an empty column.
        fault = (
            f"CASE WHEN len(f) = {dialect.width} THEN NULL "
            f"WHEN f IS NULL THEN {Verdict.QUOTE:d} "
            f"WHEN len(f) = {dialect.width + 1} AND f[-1] = '' THEN NULL "
            f"ELSE {Verdict.WIDTH:d} END"
        )
        return (
            f"SELECT place, line, {fault} AS fault, {values} FROM ({self._split(lines)}) "
            "WHERE len(f) <> 1 OR trim(line) <> ''"
        )

    def _split(self, lines: str) -> str:
        """Add the fields of each line as ``f``, NULL where its quotes do not match up."""
        delimiter, quote = quoted(self.dialect.delimiter), self.dialect.quote
        if not quote:
            return f"SELECT *, string_split(line, {delimiter}) AS f FROM ({lines})"
        # The first pattern needs no more than a finite automaton, and is four times as quick as
        # taking the fields out one by one, which doubled quotes and quoted delimiters ask for.
        simple = f"regexp_full_match(line, {quoted(self._simple_line())})"
        bare_line = f"CASE kind WHEN 1 THEN replace(line, {quoted(quote)}, '') ELSE line END"
        pattern = quoted(f"[{self.dialect.delimiter}]({self.dialect.field})")
        bare = f"replace(trim(x, ' ')[2:-2], {quoted(quote * 2)}, {quoted(quote)})"
        unquoted = f"CASE WHEN starts_with(ltrim(x, ' '), {quoted(quote)}) THEN {bare} ELSE x END"
        return (
            f"SELECT *, CASE WHEN kind < 2 THEN string_split({bare_line}, {delimiter}) "
            f"WHEN array_to_string(g, {delimiter}) = line THEN [{unquoted} FOR x IN g] "
            f"END AS f FROM (SELECT *, CASE WHEN kind = 2 "
            f"THEN regexp_extract_all({delimiter} || line, {pattern}, 1) END AS g "
            f"FROM (SELECT *, CASE WHEN NOT contains(line, {quoted(quote)}) THEN 0 "
            f"WHEN {simple} THEN 1 ELSE 2 END AS kind FROM ({lines})))"
        )

    def _simple_line(self) -> str:
        """Write the pattern of a line whose quotes enclose nothing that needs them."""
        delimiter, quote = self.dialect.delimiter, self.dialect.quote
        inner = f"[^{quote}{delimiter}]*"
        field = f"(?:{quote}{inner}{quote}|{inner})"
        return f"{field}(?:[{delimiter}]{field})*"

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a rating may be a decimal point."""
        return self.dialect.delimiter != ","

    def misfit(self, line: str) -> str:
        """Count the columns; see :class:`Source`."""
        found = len(self.dialect.split(line) or ())
        columns = "column" if found == 1 else "columns"
        return f"{found} {columns} instead of {self.dialect.width}: {shorten(line)}"

    def multiline(self) -> Source | None:
        """Read with DuckDB's CSV reader; see :class:`Source`."""
        return MultilineSource(self.file, self.columns, self) if self.dialect.quote else None


@dataclass(frozen=True)
class MultilineSource(Source):
    """CSV with line ends inside quoted values; rows that do not fit go to DuckDB's reject table."""

    text: TextSource

    @property
    def decimal_comma(self) -> bool:
        """Whether a comma in a rating may be a decimal point."""
        return self.text.decimal_comma

    def relation(self, numbered: bool = False) -> str:
        """Scan with DuckDB's CSV reader; see :class:`Source`."""
        dialect = self.text.dialect
        names = [f"c{index}" for index in range(dialect.width)]
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
        places = zip("uirt", dataclasses.astuple(self.text.indices), strict=True)
        values = ", ".join(
            f"{'NULL' if index is None else names[index]} AS {name}" for name, index in places
        )
        return (
            f"SELECT NULL::BIGINT AS place, NULL::VARCHAR AS line, NULL::INTEGER AS fault, {values}"
            f" FROM read_csv({quoted(glob_escaped(self.file.path))}, auto_detect=false, "
            f"delim={quoted(dialect.delimiter)}, quote={quoted(dialect.quote)}, "
            f"escape={quoted(dialect.quote)}, header={dialect.header is not None}, "
            f"comment={quoted(dialect.comment)}, compression={quoted(self.file.compression)}, "
            f"columns={{{columns}}}, store_rejects=true)"
        )


@dataclass(frozen=True)
class JsonSource(Source):
    """JSON lines: one object a line."""

    def relation(self, numbered: bool = False) -> str:
        """Take members out of each line; see :class:`Source`."""
        members = dataclasses.astuple(self.columns)
        taken = [member for member in members if member is not None]
        paths = ", ".join(quoted(f"$.{json.dumps(name, ensure_ascii=False)}") for name in taken)
        places = [None if member is None else taken.index(member) for member in members]
        values = ", ".join(
            f"{_element('f', place)} AS {name}" for name, place in zip("uirt", places, strict=True)
        )
        return (
            f"SELECT place, line, CASE WHEN f IS NULL THEN {Verdict.JSON:d} END AS fault, "
            f"{values} FROM (SELECT *, CASE WHEN json_valid(line) "
            f"THEN json_extract_string(line, [{paths}]) END AS f "
            f"FROM ({_lines(self.file, numbered)}) WHERE line IS NOT NULL AND trim(line) <> '')"
        )


@dataclass(frozen=True)
class ParquetSource(Source):
    """Parquet, whose columns have types."""

    expressions: tuple[str, ...]
    """SQL of user, item, rating and time as text."""

    unit = "row"

    def relation(self, numbered: bool = False) -> str:
        """Scan the columns taken; see :class:`Source`."""
        place = "file_row_number + 1" if numbered else "NULL::BIGINT"
        values = ", ".join(f"{sql} AS {n}" for sql, n in zip(self.expressions, "uirt", strict=True))
        return (
            f"SELECT {place} AS place, NULL::VARCHAR AS line, NULL::INTEGER AS fault, {values} "
            f"FROM read_parquet({quoted(glob_escaped(self.file.path))}, "
            f"file_row_number={numbered})"
        )


def open_source(db: DuckDBPyConnection, file: InputFile, options: ColumnOptions) -> Source:
    """Look into a file and find its columns.

    Raises:
        InputError: The file holds no rows, or its columns cannot be told.
    """
    if file.format == "Parquet":
        return _open_parquet(db, file, options)
    rows = db.execute(f"SELECT line FROM ({_lines(file)}) LIMIT {HEAD_LINES}").fetchall()
    head = [line for (line,) in rows if line is not None and line.strip()]
    if not head:
        raise InputError(f"{file.name} holds no rows")
    if file.format == "JSON lines":
        return _open_json(file, head, options)
    return _open_text(file, head, options)


def _open_text(file: InputFile, head: Sequence[str], options: ColumnOptions) -> TextSource:
    dialect = detect(head, options)
    names = dialect.split(dialect.header) if dialect.header is not None else None
    data = [
        line
        for line in head
        if line != dialect.header and not (dialect.comment and line.startswith(dialect.comment))
    ]
    if not data:
        raise InputError(f"{file.name} holds a header but no rows")
    if names and dialect.width < len(names):
        dialect = replace(dialect, width=len(names))
    if names:
        names += [f"column {n + 1}" for n in range(len(names), dialect.width)]
    sample = [fields for fields in map(dialect.split, data) if fields]
    indices = choose_columns(file.name, names, dialect.width, options, sample)
    return TextSource(file, indices.named(names), dialect, indices)


def _open_json(file: InputFile, head: Sequence[str], options: ColumnOptions) -> JsonSource:
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
    return JsonSource(file, indices.named(names))


def _open_parquet(db: DuckDBPyConnection, file: InputFile, options: ColumnOptions) -> ParquetSource:
    path = quoted(glob_escaped(file.path))
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
        "NULL::VARCHAR" if index is None else _parquet_text(names[index], types[index], role)
        for role, index in (
            ("id", indices.user),
            ("id", indices.item),
            ("rating", indices.rating),
            ("time", indices.time),
        )
    )
    return ParquetSource(file, indices.named(names), expressions)


def _parquet_text(name: str, kind: str, role: str) -> str:
    """Write the value of a column as text; ids that are whole numbers as such."""
    column = '"' + name.replace('"', '""') + '"'
    if role == "id" and kind in ("DOUBLE", "FLOAT"):
        # pandas turns integer ids into floats as soon as one is missing.
        whole = f"TRY_CAST({column} AS BIGINT)"
        return (
            f"CASE WHEN isnan({column}) THEN NULL WHEN {whole} = {column} "
            f"THEN {whole}::VARCHAR ELSE {column}::VARCHAR END"
        )
    return f"{column}::VARCHAR"


def _element(of: str, index: int | None) -> str:
    """Write access to one element, counted from 0, of a list; NULL for no index."""
    return "NULL" if index is None else f"{of}[{index + 1}]"


def _lines(file: InputFile, numbered: bool = False) -> str:
    """Give the SQL of the lines of a text file; a blank line is NULL."""
    place = "row_number() OVER ()" if numbered else "NULL::BIGINT"
    return (
        f"SELECT {place} AS place, line FROM read_csv({quoted(glob_escaped(file.path))}, "
        f"auto_detect=false, delim={quoted(_NO_DELIMITER)}, quote='', escape='', header=false, "
        f"columns={{'line': 'VARCHAR'}}, strict_mode=false, "
        f"compression={quoted(file.compression)}, store_rejects=true)"
    )
