"""Detection of the dialect of a text file from its first lines.

DuckDB's own sniffer looks for a dialect that fits every line, so one dirty line among the first
makes it see a single column. The rules here follow the majority of the lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sparserec_np.data.columns import ColumnOptions, usual_role
from sparserec_np.data.files.dialect import Dialect

# In the order of preference where several fit equally well.
_DELIMITERS = ("::", "\t", ",", ";", "|", " ")
# Share of the lines, compared with the best delimiter, that must agree on a number of columns.
_NEARLY_AS_GOOD = 0.9


def detect(head: Sequence[str], options: ColumnOptions) -> Dialect:
    """Detect the dialect of a text file.

    Args:
        head: Some of the first lines, without line ends; at least one is not blank.
        options: Column names that the caller gave: a line that holds one is a header.
    """
    lines = [line for line in head if line.strip()]
    comment = _comment(lines)
    if comment:
        lines = [line for line in lines if not line.startswith(comment)]
    delimiter, width = _delimiter(lines)
    dialect = Dialect(delimiter, _quote(lines, delimiter), width, None, comment)
    if not _is_header(lines, dialect, options):
        return dialect
    names = dialect.split(lines[0]) or []
    return replace(dialect, header=lines[0], width=max(width, len(names)))


def _comment(lines: Sequence[str]) -> str:
    """Return the character that begins comments, if the file begins with one.

    An id may begin with the same character, so a comment has a blank after it, or another number
    of columns than the lines that follow.
    """
    first = lines[0]
    rest = [line for line in lines if line[0] != first[0]]
    if first[0] not in "#%" or not rest:
        return ""
    delimiter, width = _delimiter(rest)
    return first[0] if first[1:2] == " " or len(first.split(delimiter)) != width else ""


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """Return the delimiter and the number of columns on which most lines agree."""
    candidates = []
    for delimiter in _DELIMITERS:
        draft = Dialect(delimiter, "" if delimiter == "::" else '"', 0, None, "")
        widths = [len(draft.split(line) or ()) for line in lines]
        width, count = Counter(widths[1:] or widths).most_common(1)[0]
        roles = {usual_role(name) for name in draft.split(lines[0]) or ()}
        if {"user", "item"} <= roles:
            return delimiter, max(width, widths[0])
        if width >= 2:
            candidates.append((count / len(lines), width, delimiter))
    if not candidates:
        return ",", 1
    best = max(share for share, _, _ in candidates)
    good = [c for c in candidates if c[0] >= _NEARLY_AS_GOOD * best and c[2] != " "]
    _, width, delimiter = max(good or candidates, key=lambda c: c[1])
    return delimiter, width


def _quote(lines: Sequence[str], delimiter: str) -> str:
    """Return the character around quoted values, or ``""`` if no values are quoted.

    Tab-separated files are often written without any quoting, so that a quote is part of a value;
    there, one line whose quotes do not match up is enough to tell.
    """
    if delimiter == "::":
        return ""
    if not any('"' in line for line in lines):
        singles = Dialect(delimiter, "'", 0, None, "")
        if all("'" in line and singles.split(line) for line in lines):
            return "'"
    doubles = Dialect(delimiter, '"', 0, None, "")
    if delimiter == "\t" and any(doubles.split(line) is None for line in lines):
        return ""
    return '"'


def _is_header(lines: Sequence[str], dialect: Dialect, options: ColumnOptions) -> bool:
    """Return True if the first line names the columns.

    It does if it holds a usual name or one that was asked for, or if it is all words where the
    next lines have numbers. Words above words are data.
    """
    first = dialect.split(lines[0]) or []
    asked = {options.user, options.item, options.rating, options.time} - {None}
    if any(name in asked and not name.isdecimal() for name in first):
        return True
    if any(_is_number(value) for value in first):
        return False
    if any(usual_role(name) in ("user", "item") for name in first):
        return True
    below = [row for row in map(dialect.split, lines[1:]) if row and len(row) == len(first)]
    numbers = [sum(_is_number(row[i]) for row in below) * 2 > len(below) for i in range(len(first))]
    return all(first) and any(numbers)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
