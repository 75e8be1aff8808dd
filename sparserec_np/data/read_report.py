"""What reading found: rows, bad rows, duplicates, and which columns were taken."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sparserec_np.errors import InputError

EXAMPLES = 5
"""How many bad rows a report shows."""


@dataclass(frozen=True)
class BadRow:
    """One row that could not be used."""

    file: str
    place: str
    """Where in the file: ``"line 17"``, for Parquet ``"row 17"``; empty if it is not known."""
    reason: str
    """What is wrong, with the offending text."""

    def __str__(self) -> str:
        """Give file, place and reason in one line."""
        where = f"{self.file}, {self.place}" if self.place else self.file
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Columns:
    """Names (or ``column N`` where there is no header) of the columns that were taken."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None

    def __str__(self) -> str:
        """Show the choice as ``user=userId item=movieId``."""
        roles = ("user", "item", "rating", "time")
        named = zip(roles, dataclasses.astuple(self), strict=True)
        return " ".join(f"{role}={name}" for role, name in named if name is not None)


@dataclass(frozen=True)
class ReadReport:
    """Counts of one reading, before and after every rule that drops rows."""

    files: tuple[str, ...]
    columns: tuple[Columns, ...]
    """Columns taken, one entry a file."""
    rows: int
    """Rows in the files, the bad ones too; blank lines, comments and headers do not count."""
    bad_rows: int = 0
    bad_examples: tuple[BadRow, ...] = ()
    """The first bad rows, at most five, in the order of the files."""
    below_min_rating: int = 0
    duplicates: int = 0
    """Rows that repeat a user and item seen before."""
    dropped_users: int = 0
    """Users with fewer interactions than asked for."""
    dropped_items: int = 0
    notes: tuple[str, ...] = ()
    """Things that are allowed but may surprise, one sentence each."""

    def summary(self) -> str:
        """Say in one line what was read and what was left out."""
        source = self.files[0] if len(self.files) == 1 else f"{len(self.files):,} files"
        choices = list(dict.fromkeys(str(columns) for columns in self.columns))
        taken = choices[0] if len(choices) == 1 else f"{choices[0]} (other files differ)"
        parts = [_counted(self.rows, "row"), _counted(self.duplicates, "duplicate")]
        optional = (
            (self.bad_rows, "bad row", " skipped"),
            (self.below_min_rating, "row", " below the minimum rating"),
            (self.dropped_users, "user", " with too few interactions"),
            (self.dropped_items, "item", " with too few interactions"),
        )
        parts += [_counted(count, what) + why for count, what, why in optional if count]
        return f"{source}: {taken}; {', '.join(parts)}"


class NothingLeftError(InputError):
    """No row of some files is an interaction.

    Args:
        message: Why.
        report: What was read.
    """

    def __init__(self, message: str, report: ReadReport) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
