"""Rows that cannot be used: the rule that finds them, and the words that say so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from sparserec_np.data.read_report import BadRow, Columns
from sparserec_np.errors import InputError

_SHOWN = 80


class Verdict(IntEnum):
    """What becomes of a row; everything from ``QUOTE`` on is a bad row."""

    KEEP = 0
    BELOW_MIN_RATING = 1
    QUOTE = 2
    WIDTH = 3
    JSON = 4
    NO_USER = 5
    NO_ITEM = 6
    RATING = 7
    TIME = 8
    ENCODING = 9
    TOO_LONG = 10


FIRST_BAD = Verdict.QUOTE
UNPARSED = frozenset({Verdict.QUOTE, Verdict.WIDTH, Verdict.JSON})
"""Verdicts on rows that do not have the form of a row."""


@dataclass(frozen=True)
class Rules:
    """What a row must fulfil."""

    min_rating: float | None = None
    with_times: bool | None = False
    """Whether a row must have a time; None: times are kept if all rows have one."""


def verdict_sql(columns: Columns, rules: Rules, rating: str, seconds: str) -> str:
    """Write the verdict on a row with the columns fault, u, i, r, t as an SQL expression.

    Args:
        columns: The columns taken; those that are absent are not judged.
        rules: What a row must fulfil.
        rating: SQL of the rating as DOUBLE, NULL where it is not a number.
        seconds: SQL of the time as DOUBLE, NULL where it is none.
    """
    # Blank text sorts before "!", which is cheaper to test than to trim every id.
    cases = {
        "u IS NULL OR (u < '!' AND trim(u) = '')": Verdict.NO_USER,
        "i IS NULL OR (i < '!' AND trim(i) = '')": Verdict.NO_ITEM,
    }
    if columns.rating is not None:
        cases[f"NOT coalesce(isfinite({rating}), false)"] = Verdict.RATING
    if rules.with_times:
        cases[f"NOT coalesce(isfinite({seconds}), false)"] = Verdict.TIME
    if rules.min_rating is not None:
        cases[f"{rating} < {float(rules.min_rating)!r}"] = Verdict.BELOW_MIN_RATING
    whens = " ".join(f"WHEN {condition} THEN {verdict:d}" for condition, verdict in cases.items())
    return f"(CASE WHEN fault IS NOT NULL THEN fault {whens} ELSE 0 END)::UTINYINT"


def reason(
    verdict: Verdict, columns: Columns, line: str | None, rating: str | None, time: str | None
) -> str:
    """Say what is wrong with a row, and show it."""
    problem = {
        Verdict.QUOTE: "a quote is not closed",
        Verdict.WIDTH: "too few or too many columns",
        Verdict.JSON: "not valid JSON",
        Verdict.NO_USER: f"no user id in column {columns.user!r}",
        Verdict.NO_ITEM: f"no item id in column {columns.item!r}",
        Verdict.RATING: f"{_shown('rating', rating)} in column {columns.rating!r} "
        "is no finite number",
        Verdict.TIME: f"{_shown('time', time)} in column {columns.time!r} "
        "is neither seconds nor a date",
        Verdict.ENCODING: "not valid UTF-8",
        Verdict.TOO_LONG: "longer than 2 MB",
    }[verdict]
    return problem if line is None else f"{problem}: {shorten(line)}"


def _shown(what: str, value: str | None) -> str:
    return f"the {what} {value!r}" if value else f"the missing {what}"


def shorten(line: str) -> str:
    """Show a line within quotes, cut if it is long."""
    text = line.strip("\r\n")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


def refuse(row: BadRow) -> NoReturn:
    """Stop at a bad row and say how to go on."""
    raise InputError(
        f"{row}. Correct it, or leave such rows out with --on-bad-rows skip "
        "(on_bad_rows='skip' in Python)"
    )


def check_on_bad_rows(on_bad_rows: str) -> None:
    """Refuse any other word than the two that there are."""
    if on_bad_rows not in ("stop", "skip"):
        raise InputError(f"on_bad_rows is 'stop' or 'skip', not {on_bad_rows!r}")
