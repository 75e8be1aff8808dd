"""Numbering: the staged rows become vocabularies of ids and pairs of numbers.

Ids and numbers reach Python, rows never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.data.assembly import BLOCK, Pairs
from sparserec_np.data.bad_rows import Verdict
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import Ids, IntIds, StrIds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray


class NumberedIds(NamedTuple):
    """The ids of one column, numbered."""

    ids: Ids
    join: str
    """SQL that joins the numbers to the staged rows."""
    note: str | None
    """A sentence for the report, if a few ids that are not integers make text of the others."""


def number_ids(db: DuckDBPyConnection, column: str, role: str) -> NumberedIds:
    """Number the distinct ids of one column by rank, in the table ``{column}_codes``.

    Args:
        db: The database, with the table ``staged``.
        column: ``"u"`` or ``"i"``.
        role: ``"user"`` or ``"item"``, for the note.
    """
    distinct, codes = f"{column}_distinct", f"{column}_codes"
    db.execute(
        f"CREATE TEMP TABLE {distinct} AS "
        f"SELECT DISTINCT {column} AS id FROM staged WHERE verdict = {Verdict.KEEP:d}"
    )
    is_integer = "coalesce(TRY_CAST(id AS BIGINT)::VARCHAR = trim(id), false)"
    total, integers, word = db.execute(
        f"SELECT count(*), count(*) FILTER ({is_integer}), min(id) FILTER (NOT {is_integer}) "
        f"FROM {distinct}"
    ).fetchone()  # type: ignore[misc]
    key = "{}::BIGINT" if integers == total else "{}"
    db.execute(
        f"CREATE TEMP TABLE {codes} AS SELECT key, (row_number() OVER (ORDER BY key) - 1)::INTEGER "
        f"AS code FROM (SELECT DISTINCT {key.format('id')} AS key FROM {distinct})"
    )
    db.execute(f"DROP TABLE {distinct}")
    join = f"JOIN {codes} AS {column} ON {key.format(f's.{column}')} = {column}.key"
    if integers == total:
        rows = db.execute(f"SELECT key, code FROM {codes}").fetchnumpy()
        values = np.empty(len(rows["key"]), dtype=np.int64)
        values[rows["code"]] = rows["key"]
        return NumberedIds(IntIds(values), join, None)
    note = None
    if integers > 0.9 * total:
        note = (
            f"{total - integers:,} of {total:,} {role} ids are not integers (such as {word!r}), "
            "so all are kept as text"
        )
    strings = _collect_strings(db.execute(f"SELECT key FROM {codes} ORDER BY code"))
    return NumberedIds(strings, join, note)


def _collect_strings(rows: DuckDBPyConnection) -> StrIds:
    """Return the vocabulary of ids that come in ascending order."""
    blobs: list[bytes] = []
    lengths: list[NDArray[np.int64]] = []
    while block := rows.fetchmany(1 << 16):
        encoded = [id_.encode() for (id_,) in block]
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
