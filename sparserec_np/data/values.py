"""Values of a row: which ids are missing, and how ratings and times are read.

Each rule stands here twice: in Python, for frames and samples, and in SQL, for files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property

from sparserec_np.vocabulary import BLANKS

MISSING_IDS = (
    *("null", "\\n", "none", "nan", "-nan", "na", "n/a", "<na>", "#n/a", "#na", "nil", "nat"),
    *("undefined", "(null)", "[null]", "<null>", "#null!", "#ref!", "#value!", "-", "--", "---"),
)
"""Texts that databases, pandas and R write for a missing value, in lower case."""

_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2\d{4}(\D.*)?")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
# A number by its decimal mark: one that no thousands separator explains, and one with such.
_FRACTION = {m: re.compile(rf"[+-]?(0|\d*)\{m}(\d{{1,2}}|\d{{4,}})|[+-]?0\{m}\d+") for m in ".,"}
_GROUPS = {m: rf"[+-]?\d{{1,3}}(?:\{g}\d{{3}})+(?:\{m}\d*)?" for m, g in (".,", ",.")}


def missing_texts(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the texts that mean that there is no id: the given ones, or the usual ones."""
    if given is None:
        return MISSING_IDS
    given = given.split(",") if isinstance(given, str) else given
    return tuple(text.strip(BLANKS).lower() for text in given if text.strip(BLANKS))


def is_missing(text: str, missing: Sequence[str]) -> bool:
    """Return True if text is no id: blank, or one of the texts in lower case that mean none."""
    bare = text.strip(BLANKS)
    is_line = "---" in missing and not bare.strip("-:")
    return not bare or is_line or bare.lower() in missing


def is_missing_sql(column: str, missing: Sequence[str]) -> str:
    """Return :func:`is_missing` as an SQL condition; NULL is missing, too."""
    listed = ", ".join(literal(text) for text in ("", *missing))
    is_line = f" OR trim({column}, {literal(BLANKS + '-:')}) = ''" if "---" in missing else ""
    return f"({column} IS NULL OR lower(trim({column}, {literal(BLANKS)})) IN ({listed}){is_line})"


def canonical_sql(column: str) -> str:
    """Return :func:`sparserec_np.vocabulary.canonical` in SQL."""
    bare = f"trim({column}, {literal(BLANKS)})"
    integral = f"regexp_replace({bare}, '^(-?[1-9][0-9]*|0)\\.0+$', '\\1')"
    return f"CASE WHEN contains({column}, '.0') THEN {integral} ELSE {bare} END"


def literal(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Conventions:
    """Conventions by which the numbers and dates of one file or frame are read."""

    decimal: str = ""
    """The decimal mark: ``"."``, ``","``, or ``""`` where nothing tells it from a thousands
    separator; numbers that could be either are then not read."""
    day_first: bool | None = None
    """True for ``31/12/2024``, False for ``12/31/2024``, None where nothing tells; such dates are
    then not read. Dates with points are always day, month, year."""

    def number(self, text: str) -> float | None:
        """Read a number; None if it is none, or could mean two."""
        text = text.strip(BLANKS)
        other = "," if self.decimal == "." else "."
        if not self.decimal:
            if any(re.fullmatch(group, text) for group in _GROUPS.values()):
                return None
        elif other in text:
            if not re.fullmatch(_GROUPS[self.decimal], text):
                return None
            text = text.replace(other, "")
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return None

    def number_sql(self, column: str) -> str:
        """Return :meth:`number` in SQL: a DOUBLE or NULL."""
        bare = f"trim({column}, {literal(BLANKS)})"
        grouped = {m: f"regexp_full_match({bare}, {literal(_GROUPS[m])})" for m in ".,"}
        if not self.decimal:
            test = f"contains({column}, ',') OR contains({column}, '.')"
            text = f"CASE WHEN NOT ({grouped['.']} OR {grouped[',']}) THEN {bare} END"
        else:
            other = "," if self.decimal == "." else "."
            test = f"contains({column}, '{other}')"
            text = f"CASE WHEN {grouped[self.decimal]} THEN replace({bare}, '{other}', '') END"
        text = f"CASE WHEN {test} THEN {text} ELSE {column} END"
        return f"TRY_CAST({text if self.decimal == '.' else _comma_sql(text)} AS DOUBLE)"

    def seconds(self, text: str) -> float | None:
        """Read a time: seconds, an ISO date, or a date by these conventions; None if it is none."""
        text = text.strip(BLANKS)
        try:
            return float(text)
        except ValueError:
            pass
        try:
            return epoch(datetime.fromisoformat(re.sub(r" ?(Z|UTC)$", "+00:00", text)))
        except ValueError:
            pass
        for form in self._formats:
            try:
                return epoch(datetime.strptime(text, form))
            except ValueError:
                continue
        return None

    def seconds_sql(self, column: str) -> str:
        """Return :meth:`seconds` in SQL, a DOUBLE or NULL; it takes more forms of ISO dates."""
        # With a time zone, because the cast to TIMESTAMP would drop the offset that text may have.
        tries = [f"TRY_CAST({column} AS DOUBLE)", f"epoch(TRY_CAST({column} AS TIMESTAMPTZ))"]
        if self._formats:
            forms = ", ".join(map(literal, self._formats))
            tries.append(f"epoch(TRY_STRPTIME(trim({column}, {literal(BLANKS)}), [{forms}]))")
        return f"coalesce({', '.join(tries)})"

    @cached_property
    def _formats(self) -> list[str]:
        dates = ["%d.%m.%Y"]
        if self.day_first is not None:
            dates += [f"%d{s}%m{s}%Y" if self.day_first else f"%m{s}%d{s}%Y" for s in "/-"]
        return [date + clock for date in dates for clock in _CLOCKS]


def find_conventions(numbers: Iterable[str | None], times: Iterable[str | None]) -> Conventions:
    """Find the conventions by which some numbers and times are written."""
    texts = [number.strip(BLANKS) for number in numbers if number]
    marks = {mark for mark in ".," if any(map(_FRACTION[mark].fullmatch, texts))}
    # Two separators, or one and a mark after it, are no fraction of three digits.
    marks |= {m for m in ".," if any(re.fullmatch(_GROUPS[m], t) and _marks(t) > 1 for t in texts)}
    dates = [match for time in times if time and (match := _DATE.fullmatch(time.strip(BLANKS)))]
    firsts = {int(date[1]) > 12 for date in dates if date[2] != "."}
    seconds = {int(date[3]) > 12 for date in dates if date[2] != "."}
    return Conventions(
        marks.pop() if len(marks) == 1 else "",
        None if (True in firsts) == (True in seconds) else True in firsts,
    )


def time_problem(time: str) -> str:
    """Return why a text is not read as a time."""
    if _DATE.fullmatch(time.strip(BLANKS)):
        return f"{time!r} may be day and month or month and day: write 2024-12-31"
    return f"{time!r} is neither seconds nor a date such as 2024-12-31"


def _comma_sql(text: str) -> str:
    return f"replace({text}, ',', '.')"


def _marks(text: str) -> int:
    return text.count(".") + text.count(",")


def epoch(moment: datetime) -> float:
    """Return the seconds of a moment since 1970; without a zone it is in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
