"""The report of reading: columns, and counts of rows, bad rows and duplicates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sparserec_np.errors import InputError

EXAMPLES = 5
"""Number of bad rows that a report shows."""


@dataclass(frozen=True)
class BadRow:
    """One row that could not be used."""

    file: str
    place: str
    """Place in the file: ``"line 17"``, for Parquet ``"row 17"``; empty if it is not known."""
    reason: str
    """Description of what is wrong, with the offending text."""

    def __str__(self) -> str:
        """Return file, place and reason in one line."""
        where = f"{self.file}, {self.place}" if self.place else self.file
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are read, ``column N`` where there is no header."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None

    def __str__(self) -> str:
        """Return the names as ``user=userId item=movieId``."""
        roles = ("user", "item", "rating", "time")
        named = zip(roles, dataclasses.astuple(self), strict=True)
        return " ".join(f"{role}={name}" for role, name in named if name is not None)


@dataclass(frozen=True)
class ReadReport:
    """Counts of one reading: all rows, and those that each rule has dropped."""

    files: tuple[str, ...]
    columns: tuple[Columns, ...]
    """Columns that were read, one entry a file."""
    rows: int
    """Rows in the files, the bad ones too; blank lines, comments and headers do not count."""
    bad_rows: int = 0
    bad_examples: tuple[BadRow, ...] = ()
    """The first bad rows, at most five, in the order of the files."""
    below_min_rating: int = 0
    duplicates: int = 0
    """Rows that repeat the user and the item of another."""
    dropped_users: int = 0
    """Users with fewer interactions than asked for."""
    dropped_items: int = 0
    notes: tuple[str, ...] = ()
    """Facts that are no errors but may surprise, one sentence each."""

    def summary(self) -> str:
        """Return in one line what was read and what was left out."""
        source = self.files[0] if len(self.files) == 1 else f"{len(self.files):,} files"
        choices = list(dict.fromkeys(map(str, self.columns)))
        columns = choices[0] if len(choices) == 1 else f"{choices[0]} (other files differ)"
        parts = [_counted(self.rows, "row"), _counted(self.duplicates, "duplicate")]
        optional = (
            (self.bad_rows, "bad row", " skipped"),
            (self.below_min_rating, "row", " below the minimum rating"),
            (self.dropped_users, "user", " with too few interactions"),
            (self.dropped_items, "item", " with too few interactions"),
        )
        parts += [_counted(count, noun) + why for count, noun, why in optional if count]
        return f"{source}: {columns}; {', '.join(parts)}"


def merged_report(reports: list[ReadReport], order: list[int]) -> ReadReport:
    """Add up the reports of several readings of the same data.

    Args:
        reports: Of files each; all of them dropped the same items.
        order: Numbers of the files that the reports name, in their order.
    """
    files = [file for report in reports for file in report.files]
    columns = [column for report in reports for column in report.columns]
    ranked = sorted(range(len(files)), key=lambda place: order[place])
    return ReadReport(
        files=tuple(files[place] for place in ranked),
        columns=tuple(columns[place] for place in ranked),
        rows=sum(report.rows for report in reports),
        bad_rows=sum(report.bad_rows for report in reports),
        bad_examples=tuple(row for report in reports for row in report.bad_examples)[:EXAMPLES],
        below_min_rating=sum(report.below_min_rating for report in reports),
        duplicates=sum(report.duplicates for report in reports),
        dropped_users=sum(report.dropped_users for report in reports),
        dropped_items=reports[0].dropped_items,
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )


class NothingLeftError(InputError):
    """No row of the files is an interaction.

    Args:
        message: The reason.
        report: Report of the files.
    """

    def __init__(self, message: str, report: ReadReport) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
