"""Recommendations for the users of many partitions, one Parquet file for each.

The interactions of a user may stand in several partitions, so these are shuffled first: each is
read once, and its rows go to as many shards as there are partitions, by a checksum of the user's
id. Then each shard is read and served. A file appears at once, and always has the same rows: when a
part of the work is repeated, because a worker died, nothing is written twice and nothing is lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.data import Interactions, NothingLeftError, from_frame, read, select_users
from sparserec_np.data.files.paths import check_seen
from sparserec_np.evaluation.batch_recommend import Written, write_recommendations, write_table
from sparserec_np.evaluation.output_folder import Folder
from sparserec_np.runtime.model import load
from sparserec_np.runtime.taste import Taste

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model

SHARDS = ".shards"
"""Folder in that of the output, with one for each shard."""

RunAll = Callable[[Callable[..., Any], "list[tuple[Any, ...]]"], "list[Any]"]

_compiled = Lock()  # compiled code uses all threads, so it serves one partition at a time


def recommend_partitions(
    sources: list[Any],
    model: Any,
    folder: Folder,
    run: RunAll,
    *,
    k: int,
    taste: Taste,
    threads: int | None,
    options: dict[str, Any],
) -> Written:
    """Recommend items to every user of many partitions, none of the user's own history.

    Args:
        sources: The partitions: paths or frames, or what ``run`` makes them of.
        model: The bytes of the model file, or what ``run`` makes them of.
        folder: For the output, begun with :data:`SHARDS`.
        run: Calls a function with each of some arguments, somewhere, and returns the results.
        k: Items a user.
        taste: Wishes for all of them.
        threads: Threads of compiled code.
        options: Of :func:`sparserec_np.read`.

    Returns:
        Counts of what was written, and of users that the model could not serve.
    """
    n = len(sources)
    user_kind = None
    if n > 1:
        numbered = enumerate(sources)
        to_shuffle = [(source, number, n, folder, options) for number, source in numbered]
        shuffled = run(_shuffle, to_shuffle)
        kinds = set(filter(None, shuffled))
        user_kind = "str" if "str" in kinds else "int"
        sources, options = [None] * n, {}
    calls = [
        (source, number, model, folder, k, taste, threads, user_kind, options)
        for number, source in enumerate(sources)
    ]
    parts = run(_serve, calls)
    return Written(
        users=sum(part.users for part in parts),
        rows=sum(part.rows for part in parts),
        skipped=sum(part.skipped for part in parts),
    )


def _read(source: Any, options: dict[str, Any]) -> Interactions | None:
    """Read a path or a frame; return None if nothing is in it."""
    if isinstance(source, str):
        check_seen([source])
        try:
            return read(source, **options)
        except NothingLeftError:
            return None
    return from_frame(source, **options) if len(source) else None


def _shuffle(
    source: Any, number: int, n: int, folder: Folder, options: dict[str, Any]
) -> str | None:
    """Write the rows of one partition to ``n`` shards, by user; return the kind of the ids."""
    data = _read(source, options)
    if data is None:
        return None
    ids = data.user_ids.take(np.arange(data.n_users))
    shards = np.fromiter((zlib.crc32(str(id_).encode()) % n for id_ in ids), np.int64, len(ids))
    for shard in np.unique(shards):
        some = select_users(data, np.flatnonzero(shards == shard))
        write = partial(write_table, interactions=some)
        folder.put(f"{SHARDS}/{shard:05d}/{number:05d}.parquet", write)
    return data.user_ids.kind


def _serve(
    source: Any,
    number: int,
    model: bytes,
    folder: Folder,
    k: int,
    taste: Taste,
    threads: int | None,
    user_kind: str | None,
    options: dict[str, Any],
) -> Written:
    """Serve the users of one partition, or of one shard."""
    if source is None:
        paths = folder.list(f"{SHARDS}/{number:05d}")
        own = _loaded(model).history_recency
        ordered = (own if taste.recency is None else taste.recency) > 0
        data = read(paths, user_col="user", item_col="item", with_times=ordered) if paths else None
    else:
        data = _read(source, options)
    if data is None:
        return Written(0, 0, 0)
    with _compiled:
        loaded = _loaded(model)

        def write(target: Path) -> Written:
            return write_recommendations(
                loaded, data, target, k=k, taste=taste, threads=threads, user_kind=user_kind
            )

        return folder.put(f"part-{number:05d}.parquet", write)


@lru_cache(maxsize=2)
def _loaded(model: bytes) -> Model:
    return load(model)
