"""The dialect of a text file: its delimiter, quotes, header and comments.

Each rule stands here twice: in Python, for the first lines, which tell the columns, and in SQL,
for all lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from sparserec_np.data.values import literal


@dataclass(frozen=True)
class Dialect:
    """The rules by which the lines of a text file are rows of fields."""

    delimiter: str
    quote: str
    """The character around quoted values, or ``""`` where quotes are ordinary characters."""
    width: int
    """Number of columns."""
    header: str | None
    """The line that names the columns, or None."""
    comment: str
    """The character that begins a comment line, or ``""``."""
    above: tuple[str, ...] = ()
    """Lines above the header that are no rows, such as a title or ``sep=;``."""
    aligned: bool = False
    """True where columns are aligned by any number of blanks."""

    @property
    def names(self) -> list[str] | None:
        """Names of the columns, or None without a header; a column that it lacks has a number."""
        if self.header is None:
            return None
        header = self.header.lstrip("\ufeff")
        if self.comment:
            header = header.lstrip(self.comment + " ")
        names = self.split(header) or []
        return names + [f"column {n + 1}" for n in range(len(names), self.width)]

    def holds_row(self, line: str) -> bool:
        """Return False for a header, which may come again where files were joined, or a comment."""
        skipped = line == self.header or line in self.above
        return not skipped and not (self.comment and line.startswith(self.comment))

    def holds_row_sql(self) -> str:
        """Return :meth:`holds_row` as an SQL condition on ``line``."""
        conditions = ["line IS NOT NULL"]
        conditions += [f"line <> {literal(line)}" for line in self.above]
        if self.header is not None:
            conditions.append(f"line <> {literal(self.header)}")
        if self.comment:
            conditions.append(f"NOT starts_with(line, {literal(self.comment)})")
        return " AND ".join(conditions)

    def split(self, line: str) -> list[str] | None:
        """Split one line into its fields; None where its quotes do not match up.

        A quote within quotes is doubled. Where that does not give the right number of fields, a
        backslash may stand before it, as Spark and MySQL write it.
        """
        if self.aligned:
            line = re.sub(" +", " ", line.strip(" "))
        if not self.quote or self.quote not in line:
            return line.split(self.delimiter)
        doubled = self._fields(line, self._field)
        if "\\" + self.quote in line and not (doubled and len(doubled) == self.width):
            escaped = self._fields(line, self._escaped_field)
            if escaped and (len(escaped) == self.width or not (self.width or doubled)):
                return [self._unescape(field) for field in escaped]
        return doubled and [self._unquote(field) for field in doubled]

    def _fields(self, line: str, field: str) -> list[str] | None:
        fields = re.findall(f"[{self.delimiter}]({field})", self.delimiter + line)
        return fields if self.delimiter.join(fields) == line else None

    def split_sql(self, lines: str) -> str:
        """Return SQL that adds the fields of each line as the list ``f``; see :meth:`split`.

        Args:
            lines: SQL of a relation with the column ``line``.
        """
        delimiter, quote = literal(self.delimiter), literal(self.quote)
        if self.aligned:
            squeezed = "regexp_replace(trim(line, ' '), ' +', ' ', 'g')"
            return f"SELECT *, string_split({squeezed}, ' ') AS f FROM ({lines})"
        if not self.quote:
            return f"SELECT *, string_split(line, {delimiter}) AS f FROM ({lines})"
        # The simple pattern needs no more than a finite automaton, and is four times as quick as
        # extracting the fields one by one, which doubled quotes and quoted delimiters ask for.
        simple = f"regexp_full_match(line, {literal(self._simple_line)})"
        bare_line = f"CASE kind WHEN 1 THEN replace(line, {quote}, '') ELSE line END"
        bare = "trim(x, ' ')[2:-2]"
        bare_doubled = f"replace({bare}, {literal(self.quote * 2)}, {quote})"
        bare_escaped = f"regexp_replace({bare}, {literal(self._escape)}, '\\1', 'g')"
        is_quoted = f"starts_with(ltrim(x, ' '), {quote})"
        unquoted = f"CASE WHEN {is_quoted} THEN {bare_doubled} ELSE x END"
        unescaped = f"CASE WHEN {is_quoted} THEN {bare_escaped} ELSE x END"

        def fields(pattern: str) -> str:
            pattern = literal(f"[{self.delimiter}]({pattern})")
            return f"regexp_extract_all({delimiter} || line, {pattern}, 1)"

        def right(found: str, value: str) -> str:
            return f"array_to_string({found}, {delimiter}) = line THEN [{value} FOR x IN {found}]"

        escape = literal("\\" + self.quote)
        return (
            f"SELECT *, CASE WHEN kind < 2 THEN string_split({bare_line}, {delimiter}) "
            f"WHEN len(e) = {self.width} AND {right('e', unescaped)} WHEN {right('g', unquoted)} "
            f"END AS f FROM (SELECT *, CASE WHEN kind = 2 AND contains(line, {escape}) "
            f"AND NOT (len(g) = {self.width} AND array_to_string(g, {delimiter}) = line) "
            f"THEN {fields(self._escaped_field)} END AS e "
            f"FROM (SELECT *, CASE WHEN kind = 2 THEN {fields(self._field)} END AS g "
            f"FROM (SELECT *, CASE WHEN NOT contains(line, {quote}) THEN 0 "
            f"WHEN {simple} THEN 1 ELSE 2 END AS kind FROM ({lines}))))"
        )

    @property
    def _pad(self) -> str:
        """Regular expression of what may stand around quotes."""
        return "" if self.delimiter == " " else " *"

    @cached_property
    def _field(self) -> str:
        """Regular expression (Python and RE2) of one field, for delimiters of one character."""
        inner = f"(?:[^{self.quote}]|{self.quote * 2})*"
        quoted = f"{self._pad}{self.quote}{inner}{self.quote}{self._pad}"
        return f"{quoted}|(?:[^{self.delimiter}{self.quote}][^{self.delimiter}]*)?"

    @property
    def _escape(self) -> str:
        """Regular expression of an escaped character within quotes."""
        return rf"[{self.quote}\\](.)"

    @cached_property
    def _escaped_field(self) -> str:
        """Regular expression of one field in which a backslash takes what follows as it is."""
        inner = f"(?:[^{self.quote}\\\\]|{self.quote * 2}|\\\\.)*"
        quoted = f"{self._pad}{self.quote}{inner}{self.quote}{self._pad}"
        return f"{quoted}|(?:[^{self.delimiter}{self.quote}][^{self.delimiter}]*)?"

    @property
    def _simple_line(self) -> str:
        """Regular expression of a line whose quotes enclose nothing that needs them."""
        inner = f"[^{self.quote}{self.delimiter}]*"
        field = f"(?:{self.quote}{inner}{self.quote}|{inner})"
        return f"{field}(?:[{self.delimiter}]{field})*"

    def _unquote(self, field: str) -> str:
        bare = field.strip(" ")
        if not bare.startswith(self.quote):
            return field
        return bare[1:-1].replace(self.quote * 2, self.quote)

    def _unescape(self, field: str) -> str:
        bare = field.strip(" ")
        return re.sub(self._escape, r"\1", bare[1:-1]) if bare.startswith(self.quote) else field
