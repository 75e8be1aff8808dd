"""Rows of files in one table of DuckDB, each with a verdict; and the first bad ones of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparserec_np.data.bad_rows import (
    FIRST_BAD,
    UNPARSED,
    Rules,
    Verdict,
    reason,
    verdict_sql,
)
from sparserec_np.data.files.scan import MultilineSource, Source
from sparserec_np.data.read_report import EXAMPLES, BadRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# DuckDB's names for what is wrong with a line, see its reject tables.
_REJECTIONS = {
    "MISSING COLUMNS": Verdict.WIDTH,
    "TOO MANY COLUMNS": Verdict.WIDTH,
    "UNQUOTED VALUE": Verdict.QUOTE,
    "INVALID ENCODING": Verdict.ENCODING,
    "LINE SIZE OVER MAXIMUM": Verdict.TOO_LONG,
}


@dataclass(frozen=True)
class Rejected:
    """A line that DuckDB itself refused."""

    line: int
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class StagedFile:
    """What became of the rows of one file."""

    source: Source
    counts: dict[int, int]
    """Number of rows by verdict, without the rejected ones."""
    rejected: tuple[Rejected, ...]

    @property
    def kept(self) -> int:
        """Rows that are interactions."""
        return self.counts.get(Verdict.KEEP, 0)

    @property
    def below_min_rating(self) -> int:
        """Rows whose rating is too low."""
        return self.counts.get(Verdict.BELOW_MIN_RATING, 0)

    @property
    def bad(self) -> int:
        """Rows that cannot be used."""
        return self.rows - self.kept - self.below_min_rating

    @property
    def parsed(self) -> int:
        """Rows that have the form of a row, whatever their values."""
        return sum(count for verdict, count in self.counts.items() if verdict not in UNPARSED)

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.counts.values()) + len(self.rejected)


def create_table(db: DuckDBPyConnection) -> None:
    """Create the table that :func:`stage` fills."""
    db.execute(
        "CREATE TEMP TABLE staged (file INTEGER, u VARCHAR, i VARCHAR, t DOUBLE, verdict UTINYINT)"
    )


def stage(db: DuckDBPyConnection, source: Source, number: int, rules: Rules) -> StagedFile:
    """Put the rows of one file into the table ``staged``.

    A quote that is left open is either damage or a value that goes on in the next line. The file
    is read again for the second case, and that reading stands if it makes sense of more rows, or
    of as many with fewer left over.
    """
    staged = _insert(db, source, number, rules)
    multiline = source.multiline() if staged.counts.get(Verdict.QUOTE) else None
    if multiline is None or _sense(db, multiline) <= (staged.parsed, staged.parsed - staged.rows):
        return staged
    db.execute(f"DELETE FROM staged WHERE file = {number}")
    return _insert(db, multiline, number, rules)


def bad_rows(db: DuckDBPyConnection, staged: StagedFile, rules: Rules) -> list[BadRow]:
    """Find the first bad rows of a file, in its order, by a second pass over it."""
    source, columns = staged.source, staged.source.columns
    rows = [(row.line, row.verdict, row.text, "", "") for row in staged.rejected]
    scanned, judged = source, f"verdict >= {FIRST_BAD:d}"
    if isinstance(source, MultilineSource):
        # Its rows have no numbers. Single lines have, and show what is wrong with a value; what
        # looks like a broken line there may be part of a longer value.
        scanned = source.text
        judged += f" AND verdict NOT IN ({', '.join(f'{v:d}' for v in UNPARSED)})"
    found = db.execute(
        f"SELECT place, verdict, line, r, t FROM ({_judged(scanned, rules, numbered=True)}) "
        f"WHERE {judged} ORDER BY place LIMIT {EXAMPLES}"
    ).fetchall()
    refused = [row.line for row in _take_rejected(db)]
    for place, verdict, line, rating, time in found:
        rows.append((_physical_line(place, refused), Verdict(verdict), line, rating, time))
    if not rows:  # only in values over several lines
        worst = Verdict(min(v for v in staged.counts if v >= FIRST_BAD))
        return [BadRow(source.file.name, "", reason(worst, columns, None, None, None))]
    return [
        BadRow(
            source.file.name,
            f"{source.unit} {place:,}",
            source.misfit(line or "")
            if verdict is Verdict.WIDTH
            else reason(verdict, columns, line, rating, time),
        )
        for place, verdict, line, rating, time in sorted(rows, key=lambda row: row[0])[:EXAMPLES]
    ]


def _insert(db: DuckDBPyConnection, source: Source, number: int, rules: Rules) -> StagedFile:
    _take_rejected(db)
    # Lines need their order to be numbered, but not to be staged.
    db.execute("SET preserve_insertion_order = false")
    db.execute(
        f"INSERT INTO staged SELECT {number}, u, i, "
        f"{'NULL' if rules.with_times is False else _seconds_sql()}, verdict "
        f"FROM ({_judged(source, rules)})"
    )
    db.execute("SET preserve_insertion_order = true")
    counts = db.execute(
        f"SELECT verdict, count(*) FROM staged WHERE file = {number} GROUP BY verdict"
    ).fetchall()
    return StagedFile(source, dict(counts), _take_rejected(db))


def _judged(source: Source, rules: Rules, numbered: bool = False) -> str:
    rating = "replace(r, ',', '.')" if source.decimal_comma else "r"
    verdict = verdict_sql(source.columns, rules, f"TRY_CAST({rating} AS DOUBLE)", _seconds_sql())
    return f"SELECT *, {verdict} AS verdict FROM ({source.relation(numbered)})"


def _seconds_sql() -> str:
    # With a time zone, because the cast to TIMESTAMP would drop the offset that text may have.
    return "coalesce(TRY_CAST(t AS DOUBLE), epoch(TRY_CAST(t AS TIMESTAMPTZ)))"


def _sense(db: DuckDBPyConnection, source: Source) -> tuple[int, int]:
    """Count the rows that a source gives, and (below zero) the lines that it cannot take."""
    import duckdb

    try:
        (rows,) = db.execute(f"SELECT count(*) FROM ({source.relation()})").fetchone()  # type: ignore[misc]
    except duckdb.InvalidInputException:  # DuckDB makes nothing of the file
        return 0, 0
    return rows, -len(_take_rejected(db))


def _take_rejected(db: DuckDBPyConnection) -> tuple[Rejected, ...]:
    """Move the lines that DuckDB refused in the last scan out of its reject tables."""
    (tables,) = db.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'reject_errors'"
    ).fetchone()  # type: ignore[misc]
    if not tables:
        return ()
    rows = db.execute(
        "SELECT line, first(error_type), first(csv_line) FROM reject_errors "
        "GROUP BY line ORDER BY line"
    ).fetchall()
    db.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    return tuple(
        Rejected(line, _REJECTIONS.get(kind, Verdict.WIDTH), text or "")
        for line, kind, text in rows
    )


def _physical_line(place: int, rejected: Sequence[int]) -> int:
    """Turn the number of a line among those accepted into its number in the file."""
    for line in rejected:
        if line > place:
            break
        place += 1
    return place
