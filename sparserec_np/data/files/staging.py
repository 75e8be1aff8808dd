"""Staging: the rows of all files in one table of DuckDB, each with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sparserec_np.data.bad_rows import FIRST_BAD, UNPARSED, RowRules, Verdict
from sparserec_np.data.files.scan import FileScan, MultilineScan, TextScan, drop_rejects
from sparserec_np.data.read_report import EXAMPLES, BadRow
from sparserec_np.data.values import is_missing_sql, literal
from sparserec_np.vocabulary import BLANKS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

QUOTES = "\"'"
"""Characters around the names in a header that comes again."""

# DuckDB's names for what is wrong with a line, see its reject tables.
_REJECTIONS = {
    "MISSING COLUMNS": Verdict.WIDTH,
    "TOO MANY COLUMNS": Verdict.WIDTH,
    "UNQUOTED VALUE": Verdict.QUOTE,
    "INVALID ENCODING": Verdict.ENCODING,
    "LINE SIZE OVER MAXIMUM": Verdict.TOO_LONG,
}


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
    def misencoded(self) -> bool:
        """True if a line is not in the encoding that the file is read in."""
        return any(row.verdict is Verdict.ENCODING for row in self.rejected)

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
    if not scan.dialect.quote or scan.dialect.above:
        return staged
    best, sense = None, (staged.parsed, staged.parsed - staged.rows)
    for escape in ("", "\\"):
        multiline = MultilineScan(
            scan.file,
            scan.columns,
            scan.dialect,
            scan.indices,
            escape,
            conventions=scan.conventions,
            note=scan.note,
        )
        if (found := _sense(db, multiline)) > sense:
            best, sense = multiline, found
    if best is None:
        return staged
    db.execute(f"DELETE FROM staged WHERE file = {number}")
    return _insert(db, best, number, rules)


def recount(db: DuckDBPyConnection, staged: StagedFile, number: int) -> StagedFile:
    """Count the rows of one file anew, after their verdicts have changed."""
    return replace(staged, counts=_counts(db, number))


def repeated_header_sql(scan: FileScan) -> str:
    """Return an SQL condition: a row is the header again, where files were joined.

    There it may have other quotes, other case, or a byte order mark.
    """
    if scan.header_values is None:
        return "false"
    around = literal(BLANKS + QUOTES)
    return " AND ".join(
        f"lower(trim({column}, {around})) = {literal(name.strip(BLANKS).lower())}"
        for column, name in zip("ui", scan.header_values, strict=True)
    )


def find_bad_rows(db: DuckDBPyConnection, staged: StagedFile, rules: RowRules) -> list[BadRow]:
    """Find the first bad rows of a file, in its order, by a second pass over it."""
    scan = by_line = staged.scan
    rows: list[tuple[int, Verdict, str | None, Sequence[str | None]]]
    rows = [(row.line, row.verdict, row.text, ("",) * 4) for row in staged.rejected]
    condition = f"verdict >= {FIRST_BAD:d}"
    if isinstance(scan, MultilineScan):
        # Its rows have no place. Lines have one, and a line shows a bad value as well; but a line
        # that seems broken may be a part of a longer value.
        by_line = TextScan(
            scan.file, scan.columns, scan.dialect, scan.indices, conventions=scan.conventions
        )
        condition += f" AND verdict NOT IN ({', '.join(f'{v:d}' for v in UNPARSED)})"
    judged = _judged_sql(by_line, rules, numbered=True)
    found = db.execute(
        f"SELECT place, verdict, line, u, i, r, t FROM ({judged}) "
        f"WHERE {condition} ORDER BY place LIMIT {EXAMPLES}"
    ).fetchall()
    rejected = [row.line for row in _pop_rejected(db)]
    rows += [
        (_physical_line(place, rejected), Verdict(verdict), line, values)
        for place, verdict, line, *values in found
    ]
    if not rows:  # only in values over several lines
        worst = Verdict(min(v for v in staged.counts if v >= FIRST_BAD))
        return [BadRow(scan.file.name, "", scan.reason(worst, None, (None,) * 4))]
    rows.sort(key=lambda row: row[0])
    return [
        BadRow(scan.file.name, f"{scan.unit} {place:,}", scan.reason(verdict, line, values))
        for place, verdict, line, values in rows[:EXAMPLES]
    ]


def _insert(db: DuckDBPyConnection, scan: FileScan, number: int, rules: RowRules) -> StagedFile:
    _pop_rejected(db)
    # Lines need their order to be numbered, but not to be staged.
    db.execute("SET preserve_insertion_order = false")
    seconds = "NULL" if rules.with_times is False else scan.conventions.seconds_sql("t")
    db.execute(
        f"INSERT INTO staged SELECT {number}, u, i, {seconds}, verdict "
        f"FROM ({_judged_sql(scan, rules)})"
    )
    db.execute("SET preserve_insertion_order = true")
    return StagedFile(scan, _counts(db, number), _pop_rejected(db))


def _counts(db: DuckDBPyConnection, number: int) -> dict[int, int]:
    """Count the rows of one file by their verdicts."""
    found = db.execute(
        f"SELECT verdict, count(*) FROM staged WHERE file = {number} GROUP BY verdict"
    )
    return dict(found.fetchall())


def _judged_sql(scan: FileScan, rules: RowRules, numbered: bool = False) -> str:
    """Return SQL of the rows of a scan with their verdicts; of several faults the first counts."""
    cases = {_has_no_id_sql("u"): Verdict.NO_USER, _has_no_id_sql("i"): Verdict.NO_ITEM}
    where = ""
    if numbered:  # the rare texts that mean none are found otherwise when rows are staged
        cases = {
            is_missing_sql("u", rules.missing_ids): Verdict.NO_USER,
            is_missing_sql("i", rules.missing_ids): Verdict.NO_ITEM,
        }
        where = f" WHERE fault IS NOT NULL OR NOT coalesce({repeated_header_sql(scan)}, false)"
    if scan.file.mended:
        broken = " OR ".join(f"contains({column}, '\ufffd')" for column in "ui")
        cases = {broken: Verdict.ENCODING, **cases}
    rating = scan.conventions.number_sql("r")
    if rules.min_rating is not None:
        cases[f"NOT coalesce(isfinite({rating}), false)"] = Verdict.RATING
    elif scan.columns.rating is not None:
        # Blanks and the sign sort before "0", which is cheaper to test than to trim every rating.
        cases["r < '0' AND starts_with(ltrim(r), '-') AND TRY_CAST(r AS DOUBLE) < 0"] = (
            Verdict.NEGATIVE
        )
    if rules.with_times:
        seconds = scan.conventions.seconds_sql("t")
        cases[f"NOT coalesce(isfinite({seconds}), false)"] = Verdict.TIME
    if rules.min_rating is not None:
        cases[f"{rating} < {float(rules.min_rating)!r}"] = Verdict.BELOW_MIN_RATING
    whens = " ".join(f"WHEN {condition} THEN {verdict:d}" for condition, verdict in cases.items())
    verdict = f"(CASE WHEN fault IS NOT NULL THEN fault {whens} ELSE 0 END)::UTINYINT"
    return f"SELECT *, {verdict} AS verdict FROM ({scan.sql(numbered)}){where}"


def _has_no_id_sql(column: str) -> str:
    """Return an SQL condition: a column has no id, or a blank one."""
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
    return tuple(
        RejectedLine(line, _REJECTIONS.get(kind, Verdict.WIDTH), text or "")
        for line, kind, text in drop_rejects(db)
    )


def _physical_line(place: int, rejected: Sequence[int]) -> int:
    """Convert the number of a line among those accepted to its number in the file."""
    for line in rejected:
        if line > place:
            break
        place += 1
    return place
