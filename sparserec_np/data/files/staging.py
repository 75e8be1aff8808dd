"""Staging: the rows of all files in one table of DuckDB, each with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparserec_np.data.bad_rows import FIRST_BAD, UNPARSED, RowRules, Verdict
from sparserec_np.data.files.scan import FileScan, MultilineScan, TextScan
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
# With a time zone, because the cast to TIMESTAMP would drop the offset that text may have.
_SECONDS = "coalesce(TRY_CAST(t AS DOUBLE), epoch(TRY_CAST(t AS TIMESTAMPTZ)))"


@dataclass(frozen=True)
class RejectedLine:
    """A line that DuckDB itself refused."""

    line: int
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class StagedFile:
    """Counts of the rows of one file."""

    scan: FileScan
    counts: dict[int, int]
    """Number of rows by verdict, without the rejected ones."""
    rejected: tuple[RejectedLine, ...]

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.counts.values()) + len(self.rejected)

    @property
    def below_min_rating(self) -> int:
        """Rows with a rating that is too low."""
        return self.counts.get(Verdict.BELOW_MIN_RATING, 0)

    @property
    def bad(self) -> int:
        """Rows that cannot be used."""
        return self.rows - self.counts.get(Verdict.KEEP, 0) - self.below_min_rating

    @property
    def parsed(self) -> int:
        """Rows that have the form of a row, whatever their values."""
        return sum(count for verdict, count in self.counts.items() if verdict not in UNPARSED)


def create_table(db: DuckDBPyConnection) -> None:
    """Create the table that :func:`stage` fills."""
    db.execute(
        "CREATE TEMP TABLE staged (file INTEGER, u VARCHAR, i VARCHAR, t DOUBLE, verdict UTINYINT)"
    )


def stage(db: DuckDBPyConnection, scan: FileScan, number: int, rules: RowRules) -> StagedFile:
    """Put the rows of one file into the table ``staged``.

    A quote that is left open is either damage or a value that goes on in the next line. The file
    is read again for the second case, and that reading stands if it makes sense of more rows, or
    of as many with fewer left over.

    Args:
        db: The database.
        scan: Scan of the file.
        number: Number of the file, for the table.
        rules: Rules for the verdict on each row.
    """
    staged = _insert(db, scan, number, rules)
    if not (isinstance(scan, TextScan) and staged.counts.get(Verdict.QUOTE)):
        return staged
    multiline = MultilineScan(scan.file, scan.columns, scan.dialect, scan.indices)
    if _sense(db, multiline) <= (staged.parsed, staged.parsed - staged.rows):
        return staged
    db.execute(f"DELETE FROM staged WHERE file = {number}")
    return _insert(db, multiline, number, rules)


def find_bad_rows(db: DuckDBPyConnection, staged: StagedFile, rules: RowRules) -> list[BadRow]:
    """Find the first bad rows of a file, in its order, by a second pass over it."""
    scan = by_line = staged.scan
    rows = [(row.line, row.verdict, row.text, "", "") for row in staged.rejected]
    condition = f"verdict >= {FIRST_BAD:d}"
    if isinstance(scan, MultilineScan):
        # Its rows have no place. Lines have one, and a line shows a bad value as well; but a line
        # that seems broken may be a part of a longer value.
        by_line = TextScan(scan.file, scan.columns, scan.dialect, scan.indices)
        condition += f" AND verdict NOT IN ({', '.join(f'{v:d}' for v in UNPARSED)})"
    found = db.execute(
        f"SELECT place, verdict, line, r, t FROM ({_judged_sql(by_line, rules, numbered=True)}) "
        f"WHERE {condition} ORDER BY place LIMIT {EXAMPLES}"
    ).fetchall()
    rejected = [row.line for row in _pop_rejected(db)]
    rows += [
        (_physical_line(place, rejected), Verdict(verdict), line, rating, time)
        for place, verdict, line, rating, time in found
    ]
    if not rows:  # only in values over several lines
        worst = Verdict(min(v for v in staged.counts if v >= FIRST_BAD))
        return [BadRow(scan.file.name, "", scan.reason(worst, None, None, None))]
    rows.sort(key=lambda row: row[0])
    return [
        BadRow(scan.file.name, f"{scan.unit} {place:,}", scan.reason(verdict, line, rating, time))
        for place, verdict, line, rating, time in rows[:EXAMPLES]
    ]


def _insert(db: DuckDBPyConnection, scan: FileScan, number: int, rules: RowRules) -> StagedFile:
    _pop_rejected(db)
    # Lines need their order to be numbered, but not to be staged.
    db.execute("SET preserve_insertion_order = false")
    seconds = "NULL" if rules.with_times is False else _SECONDS
    db.execute(
        f"INSERT INTO staged SELECT {number}, u, i, {seconds}, verdict "
        f"FROM ({_judged_sql(scan, rules)})"
    )
    db.execute("SET preserve_insertion_order = true")
    counts = db.execute(
        f"SELECT verdict, count(*) FROM staged WHERE file = {number} GROUP BY verdict"
    ).fetchall()
    return StagedFile(scan, dict(counts), _pop_rejected(db))


def _judged_sql(scan: FileScan, rules: RowRules, numbered: bool = False) -> str:
    """Return SQL of the rows of a scan with their verdicts; of several faults the first counts."""
    rating = "replace(r, ',', '.')" if scan.decimal_comma else "r"
    rating = f"TRY_CAST({rating} AS DOUBLE)"
    cases = {_is_missing_sql("u"): Verdict.NO_USER, _is_missing_sql("i"): Verdict.NO_ITEM}
    if scan.columns.rating is not None:
        cases[f"NOT coalesce(isfinite({rating}), false)"] = Verdict.RATING
    if rules.with_times:
        cases[f"NOT coalesce(isfinite({_SECONDS}), false)"] = Verdict.TIME
    if rules.min_rating is not None:
        cases[f"{rating} < {float(rules.min_rating)!r}"] = Verdict.BELOW_MIN_RATING
    whens = " ".join(f"WHEN {condition} THEN {verdict:d}" for condition, verdict in cases.items())
    verdict = f"(CASE WHEN fault IS NOT NULL THEN fault {whens} ELSE 0 END)::UTINYINT"
    return f"SELECT *, {verdict} AS verdict FROM ({scan.sql(numbered)})"


def _is_missing_sql(column: str) -> str:
    """Return an SQL condition: a column has no id."""
    # Blank text sorts before "!", which is cheaper to test than to trim every id.
    return f"{column} IS NULL OR ({column} < '!' AND trim({column}) = '')"


def _sense(db: DuckDBPyConnection, scan: FileScan) -> tuple[int, int]:
    """Count the rows that a scan finds, and (below zero) the lines that it rejects."""
    import duckdb

    try:
        (rows,) = db.execute(f"SELECT count(*) FROM ({scan.sql()})").fetchone()  # type: ignore[misc]
    except duckdb.InvalidInputException:  # DuckDB makes nothing of the file
        return 0, 0
    return rows, -len(_pop_rejected(db))


def _pop_rejected(db: DuckDBPyConnection) -> tuple[RejectedLine, ...]:
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
        RejectedLine(line, _REJECTIONS.get(kind, Verdict.WIDTH), text or "")
        for line, kind, text in rows
    )


def _physical_line(place: int, rejected: Sequence[int]) -> int:
    """Convert the number of a line among those accepted to its number in the file."""
    for line in rejected:
        if line > place:
            break
        place += 1
    return place
