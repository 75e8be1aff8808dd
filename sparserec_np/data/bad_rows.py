"""Bad rows: verdicts on rows, the rules behind them, and the words for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from typing import Literal

from sparserec_np.data.read_report import Columns, NothingLeftError, ReadReport
from sparserec_np.data.values import MISSING_IDS, time_problem
from sparserec_np.errors import InputError

_SHOWN = 80


class Verdict(IntEnum):
    """Verdict on a row; from ``QUOTE`` on, the row is bad."""

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
    NEGATIVE = 11
    NESTED = 12


FIRST_BAD = Verdict.QUOTE
UNPARSED = frozenset({Verdict.QUOTE, Verdict.WIDTH, Verdict.JSON})
"""Verdicts on rows that do not have the form of a row."""


@dataclass(frozen=True)
class RowRules:
    """Conditions that a row must meet to be an interaction.

    Raises:
        InputError: A value is out of its range.
    """

    min_rating: float | None = None
    """Least rating; None: any, and rows need none."""
    with_times: bool | None = False
    """True: a row must have a time. None: times are kept if all rows have one. False: not read."""
    on_bad_rows: Literal["stop", "skip"] = "stop"
    """``"stop"`` at the first bad row, or ``"skip"`` all of them."""
    missing_ids: tuple[str, ...] = MISSING_IDS
    """Texts, in lower case, that mean that there is no id."""

    def __post_init__(self) -> None:
        if self.on_bad_rows not in ("stop", "skip"):
            raise InputError(f"on_bad_rows is 'stop' or 'skip', not {self.on_bad_rows!r}")
        if self.min_rating is not None and not isfinite(self.min_rating):
            raise InputError(f"the minimum rating must be a finite number, not {self.min_rating}")

    def check_columns(self, source: str, columns: Columns) -> None:
        """Check that there is a column for each condition.

        Args:
            source: Name of the file or frame, for messages.
            columns: Its columns.

        Raises:
            InputError: Ratings or times are needed, and there is no such column.
        """
        for role, is_needed in (("rating", self.min_rating is not None), ("time", self.with_times)):
            if is_needed and getattr(columns, role) is None:
                raise InputError(
                    f"{source}: {role}s are needed, but no column looks like a {role}; "
                    f"name it with --{role}-col ({role}_col= in Python)"
                )

    def check_report(self, report: ReadReport) -> None:
        """Check that reading may go on after all rows are judged.

        Raises:
            InputError: There is a bad row, and ``on_bad_rows`` is ``"stop"``.
            NothingLeftError: No row is an interaction.
        """
        if report.bad_rows and self.on_bad_rows == "stop":
            raise InputError(
                f"{report.bad_examples[0]}. Correct it, or leave such rows out with --on-bad-rows "
                "skip (on_bad_rows='skip' in Python)"
            )
        if report.rows > report.bad_rows + report.below_min_rating:
            return
        if report.below_min_rating:
            problem = (
                f"no interaction is left, as all {report.below_min_rating:,} ratings are below "
                f"{self.min_rating}"
            )
        else:
            examples = "".join(f"; {row}" for row in report.bad_examples[:1])
            problem = f"no usable row among {report.rows:,}{examples}"
        raise NothingLeftError(f"{', '.join(report.files[:3])}: {problem}", report)


def reason(
    verdict: Verdict, columns: Columns, line: str | None, values: Sequence[str | None]
) -> str:
    """Return what is wrong with a row, and show it.

    Args:
        verdict: Verdict on the row.
        columns: Names of the columns.
        line: Text of the row, if it is known.
        values: Texts of its user, item, rating and time.
    """
    user, item, rating, time = values
    problem = {
        Verdict.QUOTE: "a quote is not closed",
        Verdict.WIDTH: "too few or too many columns",
        Verdict.JSON: "not valid JSON",
        Verdict.NO_USER: f"no user id in column {columns.user!r}{_written(user)}",
        Verdict.NO_ITEM: f"no item id in column {columns.item!r}{_written(item)}",
        Verdict.RATING: f"{_shown('rating', rating)} in column {columns.rating!r} "
        f"is no finite number{_two_numbers(rating)}",
        Verdict.TIME: f"{_shown('time', time)} in column {columns.time!r} "
        "is neither seconds nor a date",
        Verdict.ENCODING: "not valid UTF-8: name the encoding with --encoding, such as latin-1 "
        "(encoding= in Python)",
        Verdict.TOO_LONG: "longer than 2 MB",
        Verdict.NEGATIVE: f"{_shown('rating', rating)} in column {columns.rating!r} is a dislike, "
        "but without --min-rating every row counts as liked: give --min-rating, or --rating-col "
        "none (min_rating=, rating_col= in Python)",
        Verdict.NESTED: "ids must be integers or text, not lists, objects or booleans",
    }[verdict]
    if verdict is Verdict.TIME and time:
        problem = f"{_shown('time', time)} in column {columns.time!r}: {time_problem(time)}"
    return problem if line is None else f"{problem}: {shorten(line)}"


def _shown(role: str, value: str | None) -> str:
    return f"the {role} {value!r}" if value else f"the missing {role}"


def _written(value: str | None) -> str:
    """Show a text that means that there is no id."""
    if not value or not value.strip():
        return ""
    return f", where {value!r} means none (keep it with --missing-ids '', missing_ids=() in Python)"


def _two_numbers(value: str | None) -> str:
    """Return the problem of a number that may be read as two."""
    if value and re.fullmatch(r"\s*[+-]?\d{1,3}[.,]\d{3}\s*", value):
        return " that is clear: a thousand or a fraction?"
    return ""


def shorten(line: str) -> str:
    """Return a line within quotes, cut if it is long."""
    text = line.strip("\r\n")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
