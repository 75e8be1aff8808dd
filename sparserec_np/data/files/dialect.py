"""The dialect of a text file: its delimiter, quotes, header and comments.

Each rule stands here twice: in Python, for the first lines, which tell the columns, and in SQL,
for all lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from sparserec_np.data.files.database import literal


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

    @property
    def names(self) -> list[str] | None:
        """Names of the columns, or None without a header; a column that it lacks has a number."""
        if self.header is None:
            return None
        names = self.split(self.header) or []
        return names + [f"column {n + 1}" for n in range(len(names), self.width)]

    def holds_row(self, line: str) -> bool:
        """Return False for a header, which may come again where files were joined, or a comment."""
        return line != self.header and not (self.comment and line.startswith(self.comment))

    def holds_row_sql(self) -> str:
        """Return :meth:`holds_row` as an SQL condition on ``line``."""
        conditions = ["line IS NOT NULL"]
        if self.header is not None:
            conditions.append(f"line <> {literal(self.header)}")
        if self.comment:
            conditions.append(f"NOT starts_with(line, {literal(self.comment)})")
        return " AND ".join(conditions)

    def split(self, line: str) -> list[str] | None:
        """Split one line into its fields; None where its quotes do not match up."""
        if not self.quote or self.quote not in line:
            return line.split(self.delimiter)
        fields = re.findall(f"[{self.delimiter}]({self._field})", self.delimiter + line)
        if self.delimiter.join(fields) != line:
            return None
        return [self._unquote(field) for field in fields]

    def split_sql(self, lines: str) -> str:
        """Return SQL that adds the fields of each line as the list ``f``; see :meth:`split`.

        Args:
            lines: SQL of a relation with the column ``line``.
        """
        delimiter, quote = literal(self.delimiter), literal(self.quote)
        if not self.quote:
            return f"SELECT *, string_split(line, {delimiter}) AS f FROM ({lines})"
        # The simple pattern needs no more than a finite automaton, and is four times as quick as
        # extracting the fields one by one, which doubled quotes and quoted delimiters ask for.
        simple = f"regexp_full_match(line, {literal(self._simple_line)})"
        bare_line = f"CASE kind WHEN 1 THEN replace(line, {quote}, '') ELSE line END"
        pattern = literal(f"[{self.delimiter}]({self._field})")
        bare = f"replace(trim(x, ' ')[2:-2], {literal(self.quote * 2)}, {quote})"
        unquoted = f"CASE WHEN starts_with(ltrim(x, ' '), {quote}) THEN {bare} ELSE x END"
        return (
            f"SELECT *, CASE WHEN kind < 2 THEN string_split({bare_line}, {delimiter}) "
            f"WHEN array_to_string(g, {delimiter}) = line THEN [{unquoted} FOR x IN g] "
            f"END AS f FROM (SELECT *, CASE WHEN kind = 2 "
            f"THEN regexp_extract_all({delimiter} || line, {pattern}, 1) END AS g "
            f"FROM (SELECT *, CASE WHEN NOT contains(line, {quote}) THEN 0 "
            f"WHEN {simple} THEN 1 ELSE 2 END AS kind FROM ({lines})))"
        )

    @cached_property
    def _field(self) -> str:
        """Regular expression (Python and RE2) of one field, for delimiters of one character."""
        quoted = f" *{self.quote}(?:[^{self.quote}]|{self.quote * 2})*{self.quote} *"
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
