"""Detection of the dialect of a text file from its first lines.

DuckDB's own sniffer looks for a dialect that fits every line, so one dirty line among the first
makes it see a single column, and takes the dialect with most columns. The rules here follow the
evidence: names, the ending of the file, and the majority of the lines; where these contradict each
other, the caller is asked.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sparserec_np.data.columns import ColumnOptions, same_name
from sparserec_np.data.files.dialect import Dialect
from sparserec_np.data.values import MISSING_IDS, is_missing
from sparserec_np.errors import InputError

_DELIMITERS = ("::", "\t", ",", ";", "|", " ")
_NAMED = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " "}
# Delimiters that an ending promises. ".csv" does not: many such files have others.
_PROMISED = {".tsv": "\t", ".tab": "\t"}
# Share of the lines, compared with the best delimiter, that must agree on a number of columns.
_NEARLY_AS_GOOD = 0.9
# Most lines above the header.
_MOST_ABOVE = 10


@dataclass(frozen=True)
class TextOptions:
    """Properties of text files that the caller names; None: they are found."""

    delimiter: str | None = None
    """One of ``:: , ; | tab blank``, or another text that is not in the values."""
    header: bool | None = None
    """True if the first line names the columns, False if it is a row."""
    encoding: str | None = None
    """Encoding, by Python's name; None: UTF-8, or what a byte order mark says."""
    format: str | None = None
    """``"lists"``: each line is a user and all items of that user."""

    def __post_init__(self) -> None:
        if self.format not in (None, "lists"):
            raise InputError(f"the format is 'lists' or left to the file, not {self.format!r}")
        if self.delimiter is not None and (
            not self.delimiter or set(self.delimiter) & set("\"'\r\n")
        ):
            raise InputError(
                f"the delimiter {self.delimiter!r} is none: give , ; | :: tab or blank"
            )


def detect(
    head: Sequence[str], name: str, columns: ColumnOptions, options: TextOptions | None = None
) -> Dialect:
    """Detect the dialect of a text file.

    Args:
        head: Some of the first lines, without line ends; at least one is not blank.
        name: Name of the file: its ending says something, and messages name it.
        columns: Columns that the caller asks for: a line that holds their names is a header.
        options: What is known already.

    Raises:
        InputError: The evidence contradicts itself; the message says which option decides.
    """
    return _Detection(name, columns, options or TextOptions()).detect(head)


@dataclass(frozen=True)
class _Detection:
    name: str
    columns: ColumnOptions
    options: TextOptions

    def detect(self, head: Sequence[str]) -> Dialect:
        lines = [line for line in head if line.strip()]
        above: list[str] = []
        delimiter = self.options.delimiter
        if re.fullmatch(r"\ufeff?\"?sep=.\"?[,;\t ]*", lines[0]) and lines[1:]:
            above = [lines.pop(0)]
            delimiter = delimiter or above[0].split("sep=")[1][0]
        comment = self._comment(lines)
        comments = [line for line in lines if comment and line.startswith(comment)]
        lines = [line for line in lines if line not in comments] if comments else lines
        draft, width = self._delimiter(lines, _NAMED.get(delimiter or "", delimiter))
        title = self._lines_above(lines, draft, width)
        above, lines = above + lines[:title], lines[title:]
        dialect = replace(draft, width=width, comment=comment, above=tuple(above))
        named = comments[-1:] if comments and self._names(comments[-1], dialect) else []
        if named and self.options.header is not False:
            return replace(dialect, header=named[0])
        is_header = self._is_header(lines, dialect)
        self._check_no_other(lines, dialect, is_header)
        if not is_header:
            self._check_first(lines[0], dialect)
            return dialect
        names = dialect.split(lines[0]) or []
        ends = {row[-1] for line in lines[1:] if len(row := dialect.split(line) or []) == width}
        if len(names) == width - 1 and ends == {""}:  # a delimiter at the end of each line
            width -= 1
        by_number = str(self.columns.user).isdecimal() and str(self.columns.item).isdecimal()
        if len(names) == width - 1 and not by_number:
            raise InputError(
                f"{self.name}: its header names {len(names)} columns, but its rows have {width}: "
                "it is not clear which is which, so give --user-col and --item-col as numbers "
                "(user_col=, item_col= in Python)"
            )
        return replace(dialect, header=lines[0], width=max(width, len(names)))

    def _check_no_other(self, lines: Sequence[str], dialect: Dialect, is_header: bool) -> None:
        """Check that no line but the first is a header, unless it is the same again.

        Raises:
            InputError: There is one.
        """
        first = dialect.split(lines[0]) or []
        for line in lines[1:]:
            fields = dialect.split(line) or []
            again = is_header and len(fields) == len(first) and all(map(same_name, fields, first))
            if self.columns.named(fields) and not again:
                raise InputError(
                    f"{self.name}: the line {line[:80]!r} looks like a header, but is not the "
                    "first line: remove what stands above it, or take joined files apart"
                )

    def _check_first(self, line: str, dialect: Dialect) -> None:
        """Check that the first line is a row, if it is no header: it must not be skipped unseen.

        Raises:
            InputError: It is neither.
        """
        others = [
            d for d in _DELIMITERS if d != dialect.delimiter and self.columns.named(line.split(d))
        ]
        fields = dialect.split(line) or []
        is_row = len(fields) == dialect.width or fields[dialect.width :] == [""]
        if self.options.header is None and (others or not is_row):
            raise InputError(
                f"{self.name}: its first line {line[:80]!r} has other columns than the next lines: "
                "correct it, or say with --no-header (header=False in Python) that it is a row"
            )

    def _comment(self, lines: Sequence[str]) -> str:
        """Return the character that begins comments, if the file begins with one.

        An id may begin with the same character, so a comment has a blank after it, or another
        number of columns than the lines that follow.
        """
        first = lines[0]
        rest = [line for line in lines if line[0] != first[0]]
        if first[0] not in "#%" or not rest:
            return ""
        try:
            draft, width = self._delimiter(rest, self.options.delimiter)
        except InputError:
            return first[0] if first[1:2] == " " else ""
        fields = draft.split(first) or []
        return first[0] if first[1:2] == " " or len(fields) != width else ""

    def _delimiter(self, lines: Sequence[str], given: str | None) -> tuple[Dialect, int]:
        """Return a dialect with delimiter and quote, and the number of columns of most lines.

        The delimiter is, in this order: the one that is given; the one by which the first line has
        the names that were asked for, or those of users and items; the one that the ending
        promises; of those that give most lines the same number of columns the only one, or the one
        that gives most columns of whole numbers, or, beside blanks, the one that gives a first
        column of them.
        """
        drafts = {d: _draft(lines, d) for d in ([given] if given else _DELIMITERS)}
        rows = {d: [draft.split(line) or [] for line in lines] for d, draft in drafts.items()}
        widths = {}
        shares = {}
        for d, split in rows.items():
            counts = Counter(map(len, split[1:] or split))
            widths[d], count = counts.most_common(1)[0]
            shares[d] = count / sum(counts.values()) if widths[d] > 1 else 0.0
        if given:
            return drafts[given], max(widths[given], 1)
        asked = self.columns.names()
        titled = [
            d
            for d, split in rows.items()
            for fields in split[: _MOST_ABOVE + 1]
            if len(fields) > 1
            and shares[d]
            and (
                self.columns.named(fields)
                or (asked and all(any(same_name(a, f) for f in fields) for a in asked))
            )
        ]
        named = list(dict.fromkeys(titled))
        if len(named) == 1 and shares[named[0]] >= 0.5 * max(shares.values()):
            return drafts[named[0]], widths[named[0]]
        promised = _PROMISED.get(_ending(self.name))
        if promised and shares[promised] >= 0.5:
            return drafts[promised], widths[promised]
        best = max(shares.values())
        if not best:
            names = [d for d, split in rows.items() if self.columns.named(split[0])]  # of bad rows
            first = names[0] if names else ","
            return drafts[first], max(len(rows[first][0]), 1)
        good = [d for d, share in shares.items() if share >= _NEARLY_AS_GOOD * best]
        if len(good) > 1 and " " in good and not _blanks_delimit(rows, good, widths):
            good.remove(" ")
        if len(good) > 1:
            numbers = {d: _whole_columns(rows[d], widths[d]) for d in good}
            good = [d for d in good if numbers[d] == max(numbers.values())]
        if len(good) > 1 and " " in good:  # titles have blanks, ids in front of them do not
            good = [d for d in good if _is_whole(rows[d], widths[d], 0)] or good
        if len(good) > 1:
            signs = " or ".join({"\t": "tab", " ": "blank"}.get(d, d) for d in good)
            raise InputError(
                f"{self.name}: its columns may be separated by {signs}: say which with --delimiter "
                "(delimiter= in Python)"
            )
        return drafts[good[0]], widths[good[0]]

    def _lines_above(self, lines: Sequence[str], draft: Dialect, width: int) -> int:
        """Count the lines above a header that names users and items, and are no rows."""
        if self.options.header is False:
            return 0
        for number, line in enumerate(lines[: _MOST_ABOVE + 1]):
            fields = draft.split(line) or []
            if self._names(line, draft):
                return number
            if len(fields) == width:
                return 0
        return 0

    def _names(self, line: str, dialect: Dialect) -> bool:
        """Return True if a line names users and items, or all columns that were asked for."""
        fields = dialect.split(line.lstrip("#% ")) or []
        asked = self.columns.names()
        if asked and all(any(same_name(name, field) for field in fields) for name in asked):
            return True
        return len(fields) > 1 and self.columns.named(fields)

    def _is_header(self, lines: Sequence[str], dialect: Dialect) -> bool:
        """Return True if the first line names the columns.

        It does if it holds the names of users and items or one that was asked for. Else, words
        above numbers are names, and words above words that look alike are data.

        Raises:
            InputError: Neither is clear.
        """
        if self.options.header is not None:
            return self.options.header
        first = dialect.split(lines[0]) or []
        if self._names(lines[0], dialect) or any(
            same_name(name, field) for name in self.columns.names() for field in first
        ):
            return True
        rows = [row for row in map(dialect.split, lines[1:]) if row and len(row) == len(first)]
        rows = [row for row in rows if row != first]
        columns = list(zip(*rows, strict=True))
        if any(_is_number(value) for value in first):  # a row, or a title with a number in it
            if not any(map(_is_word_above_numbers, first, columns)):
                return False
        elif not rows:
            return any(self.columns.usual(name) in ("user", "item") for name in first)
        else:
            like = any(_looks_alike(v, values) for v, values in zip(first, columns, strict=True))
            numbers = any(sum(map(_is_number, values)) * 2 > len(values) for values in columns)
            usual = any(self.columns.usual(name) in ("user", "item") for name in first)
            if like and not (usual or numbers):
                return False
            if not like and (usual or numbers) and (all(first) or usual):
                return True
        raise InputError(
            f"{self.name}: its first line {', '.join(first)!r} may name the columns or be a row: "
            "say which with --header or --no-header (header=True or False in Python)"
        )


def _ending(name: str) -> str:
    stem, ending = os.path.splitext(name.lower())
    return os.path.splitext(stem)[1] if ending in (".gz", ".zst") else ending


def _draft(lines: Sequence[str], delimiter: str) -> Dialect:
    """Return a dialect of a delimiter, with the quote that suits it.

    Tab-separated files are often written without any quoting, so that a quote is part of a value;
    there, one line whose quotes do not match up is enough to tell.
    """
    if len(delimiter) > 1:
        return Dialect(delimiter, "", 0, None, "")
    if delimiter == " " and any("  " in line.strip() or line[0] == " " for line in lines):
        return Dialect(" ", "", 0, None, "", aligned=True)
    if not any('"' in line for line in lines):
        singles = Dialect(delimiter, "'", 0, None, "")
        if all("'" in line and singles.split(line) for line in lines):
            return singles
    doubles = Dialect(delimiter, '"', 0, None, "")
    if delimiter == "\t" and any(doubles.split(line) is None for line in lines):
        return replace(doubles, quote="")
    return doubles


def _blanks_delimit(
    rows: dict[str, list[list[str]]], good: Sequence[str], widths: dict[str, int]
) -> bool:
    """Return True if blanks are more than a part of dates, or beside another delimiter."""
    moment = re.compile(r"\S+ \d\d?:\d\d.*")
    for d in good:
        if d != " ":
            inner = [v.strip() for row in rows[d] if len(row) == widths[d] for v in row]
            if not any(" " in value and not moment.fullmatch(value) for value in inner):
                return False
    return True


def _whole_columns(rows: Sequence[Sequence[str]], width: int) -> int:
    """Count the columns that are whole numbers in most rows."""
    return sum(_is_whole(rows, width, column) for column in range(width))


def _is_whole(rows: Sequence[Sequence[str]], width: int, column: int) -> bool:
    values = [row[column].strip() for row in rows[1:] or rows if len(row) == width]
    whole = sum(re.fullmatch(r"-?\d+(\.\d+)?", value) is not None for value in values)
    return whole * 2 > len(values)


def _looks_alike(value: str, values: Sequence[str]) -> bool:
    """Return True if a value is one of those below it, or has their pattern of digits."""

    def shape(text: str) -> str:
        return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", text))

    if value in values:
        return True
    return "0" in shape(value) and sum(shape(value) == shape(v) for v in values) * 2 > len(values)


def _is_word_above_numbers(value: str, values: Sequence[str]) -> bool:
    """Return True if a value is a word, not one for a missing id, and all below it are numbers."""
    word = value.strip() and not _is_number(value) and not is_missing(value, MISSING_IDS)
    return bool(word) and all(map(_is_number, values))


def _is_number(value: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?\s*", value, re.I) is not None
