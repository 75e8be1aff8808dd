"""Numbering: the staged rows become vocabularies of ids and pairs of numbers.

Ids and numbers reach Python, rows never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.data.assembly import BLOCK, Pairs
from sparserec_np.data.bad_rows import RowRules, Verdict
from sparserec_np.data.columns import USUAL_NAMES
from sparserec_np.data.files.staging import QUOTES, StagedFile, repeated_header_sql
from sparserec_np.data.values import canonical_sql, is_missing_sql, literal
from sparserec_np.errors import InputError
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import BLANKS, Ids, IntIds, StrIds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray


# Names that a header has in the columns of users and items.
_NAMES = {*USUAL_NAMES["user"], *USUAL_NAMES["item"]}


class NumberedIds(NamedTuple):
    """The ids of one column, numbered."""

    ids: Ids
    join: str
    """SQL that joins the numbers to the staged rows."""
    note: str | None
    """A sentence for the report, if a few ids that are not integers make text of the others."""


def sift(db: DuckDBPyConnection, staged: Sequence[StagedFile], rules: RowRules) -> bool:
    """Find rows that are no interactions by the distinct ids, which are fewer than the rows.

    Texts that mean that there is no id make bad rows; a header that comes again is no row. The
    distinct ids of all others are then in the tables ``u_distinct`` and ``i_distinct``.

    Returns:
        True if rows were found: their verdicts have changed, or they are gone.

    Raises:
        InputError: There is another header among the rows, or an id holds a NUL character.
    """
    headers = {value.lower() for file in staged for value in file.scan.header_values or ()}
    listed = ", ".join(map(literal, sorted(headers | _NAMES)))
    bare = f"lower(trim({{}}, {literal(BLANKS + QUOTES)}))"
    is_name = f"(regexp_replace({bare}, '[ _.-]', '', 'g') IN ({listed}) OR {bare} IN ({listed}))"
    # Hardly a name or a word for none ends in a digit, as most ids do: they need no closer look.
    digits = any(text[-1:].isdigit() for text in (*headers, *rules.missing_ids))
    worth = "true" if digits else "NOT right(id, 1) BETWEEN '0' AND '9'"
    named = missing = True
    for column in "ui":
        _create_distinct(db, column)
        has_name, has_missing, with_nul = db.execute(
            f"SELECT coalesce(bool_or(CASE WHEN {worth} THEN {is_name.format(*['id'] * 2)} END), "
            f"false), coalesce(bool_or(CASE WHEN {worth} "
            f"THEN {is_missing_sql('id', rules.missing_ids)} END), false), "
            f"any_value(id) FILTER (contains(id, chr(0))) FROM {column}_distinct"
        ).fetchone()  # type: ignore[misc]
        if with_nul is not None:
            raise InputError(f"the id {with_nul!r} holds a NUL character: repair it in the data")
        named &= has_name
        missing = has_missing if column == "u" else missing | has_missing
    named |= any(file.counts.keys() & {Verdict.RATING, Verdict.TIME} for file in staged)
    if not (named or missing):
        return False
    if named:
        for number, file in enumerate(staged):
            db.execute(
                f"DELETE FROM staged WHERE file = {number} AND ({repeated_header_sql(file.scan)}) "
                f"AND verdict IN ({Verdict.KEEP:d}, {Verdict.RATING:d}, {Verdict.TIME:d})"
            )
        other = db.execute(
            f"SELECT file, u, i FROM staged WHERE {is_name.format('u', 'u')} "
            f"AND {is_name.format('i', 'i')} AND verdict = {Verdict.KEEP:d} LIMIT 1"
        ).fetchone()
        if other is not None:
            file, user, item = other
            raise InputError(
                f"{staged[file].scan.file.name}: a row of the user {user!r} and the item {item!r} "
                "looks like a header: if files of different columns were joined, take them apart"
            )
    for column, verdict in (("i", Verdict.NO_ITEM), ("u", Verdict.NO_USER)):
        is_missing = is_missing_sql(column, rules.missing_ids)
        db.execute(
            f"UPDATE staged SET verdict = {verdict:d} WHERE {is_missing} "
            f"AND verdict IN ({Verdict.KEEP:d}, {Verdict.NO_ITEM:d})"
        )
    for column in "ui":
        _create_distinct(db, column)
    return True


def _create_distinct(db: DuckDBPyConnection, column: str) -> None:
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE {column}_distinct AS "
        f"SELECT DISTINCT {column} AS id FROM staged WHERE verdict = {Verdict.KEEP:d}"
    )


def number_ids(db: DuckDBPyConnection, column: str, role: str) -> NumberedIds:
    """Number the distinct ids of one column by rank, in the table ``{column}_codes``.

    Args:
        db: The database, with the tables ``staged`` and ``{column}_distinct``.
        column: ``"u"`` or ``"i"``.
        role: ``"user"`` or ``"item"``, for the note.
    """
    distinct, codes = f"{column}_distinct", f"{column}_codes"
    is_integer = "coalesce(TRY_CAST(key AS BIGINT)::VARCHAR = key, false)"
    total, integers, castable, bare, word = db.execute(
        f"SELECT count(*), count(*) FILTER ({is_integer}), "
        f"count(*) FILTER ({is_integer} AND TRY_CAST(id AS BIGINT) = TRY_CAST(key AS BIGINT)), "
        f"count(*) FILTER (id = key), min(key) FILTER (NOT {is_integer}) "
        f"FROM (SELECT id, {canonical_sql('id')} AS key FROM {distinct})"
    ).fetchone()  # type: ignore[misc]
    # Numbers join quicker than text; a text joins as it is, and several may have one code.
    kind = "::BIGINT" if integers == total else ""
    joined = f"id{kind}" if castable == total else "id"
    if bare == total:  # as nearly always: each text is an id of its own
        numbered = (
            "SELECT key AS joined, key, row_number() OVER (ORDER BY key) AS rank "
            f"FROM (SELECT id{kind} AS key FROM {distinct})"
        )
    else:
        key = f"({canonical_sql('id')}){kind}"
        numbered = (
            f"SELECT DISTINCT {joined} AS joined, {key} AS key, "
            f"dense_rank() OVER (ORDER BY {key}) AS rank FROM {distinct}"
        )
    db.execute(
        f"CREATE TEMP TABLE {codes} AS SELECT joined, key, (rank - 1)::INTEGER AS code "
        f"FROM ({numbered})"
    )
    db.execute(f"DROP TABLE {distinct}")
    join = f"JOIN {codes} AS {column} ON {joined.replace('id', f's.{column}')} = {column}.joined"
    if integers == total:
        rows = db.execute(f"SELECT DISTINCT key, code FROM {codes}").fetchnumpy()
        values = np.empty(len(rows["key"]), dtype=np.int64)
        values[rows["code"]] = rows["key"]
        return NumberedIds(IntIds(values), join, None)
    note = None
    if integers > 0.9 * total:
        note = (
            f"{total - integers:,} of {total:,} {role} ids are not integers (such as {word!r}), "
            "so all are kept as text"
        )
    strings = _collect_strings(db.execute(f"SELECT DISTINCT key, code FROM {codes} ORDER BY code"))
    return NumberedIds(strings, join, note)


def _collect_strings(rows: DuckDBPyConnection) -> StrIds:
    """Return the vocabulary of ids that come in ascending order."""
    blobs: list[bytes] = []
    lengths: list[NDArray[np.int64]] = []
    while block := rows.fetchmany(1 << 16):
        encoded = [id_.encode() for id_, _ in block]
        blobs.append(b"".join(encoded))
        lengths.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
    blob = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    return StrIds(blob, indptr_from_counts(np.concatenate(lengths)))


def all_have_times(db: DuckDBPyConnection) -> bool:
    """Return True if each staged row that is kept has a time."""
    (without,) = db.execute(
        f"SELECT count(*) FROM staged WHERE verdict = {Verdict.KEEP:d} "
        "AND NOT coalesce(isfinite(t), false)"
    ).fetchone()  # type: ignore[misc]
    return bool(without == 0)


def create_pairs(
    db: DuckDBPyConnection, users: NumberedIds, items: NumberedIds, *, with_times: bool
) -> NDArray[np.int64]:
    """Put the numbers of all interactions into the table ``pairs``, and drop all other tables.

    Returns:
        Number of pairs of each user; int64[n_users].
    """
    db.execute("SET preserve_insertion_order = false")  # the pairs are sorted in the end
    db.execute(
        f"CREATE TEMP TABLE pairs AS SELECT u.code AS u, i.code AS i{', t' if with_times else ''} "
        f"FROM staged AS s {users.join} {items.join} WHERE verdict = {Verdict.KEEP:d}"
    )
    for table in ("staged", "u_codes", "i_codes"):
        db.execute(f"DROP TABLE {table}")
    found = db.execute("SELECT u, count(*) AS n FROM pairs GROUP BY u").fetchnumpy()
    counts = np.zeros(len(users.ids), dtype=np.int64)
    counts[found["u"]] = found["n"]
    return counts


def fetch_pairs(db: DuckDBPyConnection) -> Iterator[Pairs]:
    """Yield the pairs block by block."""
    (rows,) = db.execute("SELECT coalesce(max(rowid) + 1, 0) FROM pairs").fetchone()  # type: ignore[misc]
    for start in range(0, rows, BLOCK):
        block = db.execute(
            f"SELECT * FROM pairs WHERE rowid >= {start} AND rowid < {start + BLOCK}"
        ).fetchnumpy()
        yield Pairs(block["u"], block["i"], block.get("t"))
