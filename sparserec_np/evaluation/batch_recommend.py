"""Files of recommendations for all users, a block of users at a time, and of interactions."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.runtime.taste import AS_LEARNED, Taste
from sparserec_np.utils.temporary import folder_beside

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.data import Interactions
    from sparserec_np.runtime.model import Model
    from sparserec_np.vocabulary import Ids

BLOCK = 500_000
"""Number of recommendations in memory at once: some 50 MB, with ids as Python strings."""

_SQL_TYPE = {"int": "BIGINT", "str": "VARCHAR"}


@dataclass(frozen=True)
class Written:
    """Counts of what was written.

    Attributes:
        users: Number of users with recommendations.
        rows: Number of recommendations.
        skipped: Number of users whom the model could not serve.
    """

    users: int
    rows: int
    skipped: int


def write_recommendations(
    model: Model,
    interactions: Interactions,
    output: Path,
    *,
    k: int,
    taste: Taste = AS_LEARNED,
    threads: int | None = None,
    user_kind: str | None = None,
) -> Written:
    """Recommend to every user of ``interactions`` items that they do not have yet.

    Memory is bounded whatever the number of users; the file appears under its name when complete.

    Args:
        model: The loaded file.
        interactions: The users with their items.
        output: The file to write: columns ``user``, ``rank`` (from 1), ``item``, ``score``. CSV if
            its name ends in ``.csv``, with a column ``title`` if the model has any; else Parquet.
        k: Number of items for each user.
        taste: Wishes for all of them.
        threads: Number of threads; None for all cores.
        user_kind: Type of the column ``user``, ``"int"`` or ``"str"``; None: that of the ids.
    """
    from sparserec_np.data import align
    from sparserec_np.data.files.database import connect
    from sparserec_np.evaluation.evaluate import rank

    aligned = align(interactions, model.user_ids, model.item_ids)
    known = aligned.interactions
    users = np.flatnonzero(known.user_degrees() + aligned.unknown_items)
    user_kind = user_kind or known.user_ids.kind
    k = min(k, len(model.item_ids))
    step = max(1, BLOCK // k)
    as_csv = output.suffix.lower() == ".csv"
    titles = model.labels if as_csv else None
    title_column = "" if titles is None else ", title VARCHAR"
    n_users = n_rows = 0
    with (
        _scratch_beside(output) as scratch,
        connect(f"{scratch}/rows.duckdb") as connection,
    ):
        connection.execute(
            f"CREATE TABLE recommendations (user {_SQL_TYPE[user_kind]}, "
            f"rank INTEGER, item {_SQL_TYPE[model.item_ids.kind]}, score FLOAT{title_column})"
        )
        for start in range(0, len(users), step):
            block = users[start : start + step]
            items, scores = rank(model, known, block, k=k, taste=taste, threads=threads)
            _append(connection, known.user_ids, block, model.item_ids, items, scores, titles)
            n_users += int((items[:, 0] >= 0).sum())
            n_rows += int((items >= 0).sum())
        _copy(connection, "recommendations", scratch, output, "csv" if as_csv else "parquet")
    all_users = int(np.count_nonzero(interactions.user_degrees()))
    return Written(users=n_users, rows=n_rows, skipped=all_users - n_users)


def write_table(path: Path, interactions: Interactions) -> None:
    """Write interactions to a Parquet file, which appears under its name when complete.

    Args:
        path: The file to write: columns ``user``, ``item`` and, where times are known, ``time``.
        interactions: The interactions to write.
    """
    from sparserec_np.data.files.database import connect

    columns = {
        "user": interactions.user_ids.column(interactions.user_of_entry()),
        "item": interactions.item_ids.column(interactions.items),
    }
    if interactions.times is not None:
        columns["time"] = interactions.times
    with (
        _scratch_beside(path) as scratch,
        connect() as connection,
    ):
        connection.register("interactions", columns)
        _copy(connection, "interactions", scratch, path)


def _scratch_beside(path: Path) -> AbstractContextManager[Path]:
    """Return a folder for DuckDB beside a file, with a plain name."""
    try:
        os.path.realpath(path.parent).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: the name of its folder is no UTF-8; give another one") from error
    return folder_beside(path.with_name("recommendations"))


def _append(
    connection: Any,
    user_ids: Ids,
    users: npt.NDArray[np.int64],
    item_ids: Ids,
    items: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float32],
    titles: Ids | None,
) -> None:
    user, place = np.nonzero(items >= 0)
    block = {
        "user": user_ids.column(users[user]),
        "rank": (place + 1).astype(np.int32),
        "item": item_ids.column(items[user, place]),
        "score": scores[user, place],
    }
    if titles is not None:
        block["title"] = titles.column(items[user, place].astype(np.int64))
    connection.register("block", block)
    connection.execute("INSERT INTO recommendations FROM block")
    connection.unregister("block")


def _copy(connection: Any, table: str, scratch: Path, path: Path, form: str = "parquet") -> None:
    """Write a table to a file by way of a folder beside it."""
    whole = scratch / f"whole.{form}"
    quoted = str(whole).replace("'", "''")
    connection.execute(f"COPY {table} TO '{quoted}' (FORMAT {form})")
    os.replace(whole, os.path.realpath(path))  # of a link its target
