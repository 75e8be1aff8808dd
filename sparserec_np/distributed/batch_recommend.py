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

from sparserec_np.data import (
    Interactions,
    NothingLeftError,
    from_frame,
    list_files,
    read,
    select_users,
)
from sparserec_np.distributed.folders import Folder, folder_at
from sparserec_np.distributed.sharding import check_seen
from sparserec_np.errors import ClusterError
from sparserec_np.evaluation.batch_recommend import Written, write_recommendations, write_table
from sparserec_np.runtime.model import load

if TYPE_CHECKING:
    from sparserec_np.runtime.model import Model

_SHARDS = ".shards"  # folder in that of the output, with one for each shard
_RETRIES = 3  # of a task that fails; one whose worker dies is done again by Dask in any case

_compiled = Lock()  # compiled code uses all threads, so it serves one partition at a time


def recommend_all(
    model: str | Path,
    interactions: Any,
    output: str | Path,
    *,
    k: int = 10,
    dask: Any = None,
    threads: int | None = None,
    **options: Any,
) -> Written:
    """Recommend items to every user of many partitions, none of the user's own history.

    Args:
        model: The model file.
        interactions: The histories: paths, globs or URLs of files, one partition each; or a
            Dask DataFrame.
        output: Folder for the Parquet files, new or empty: one that all workers see, or a URL such
            as ``s3://bucket/folder``. Columns ``user``, ``rank`` (from 1), ``item`` and ``score``.
        k: Items a user.
        dask: Address of a scheduler or a ``distributed.Client``; None: in this process.
        threads: Threads of compiled code; None: all of the machine or, with ``dask``, of a worker.
        options: How to read, in the words of :func:`sparserec_np.read`.

    Returns:
        Counts of what was written, and of users that the model could not serve.

    Raises:
        InputError: Model, data or folder cannot be used, or the cluster cannot.
        ClusterError: The scheduler was lost on the way.
    """
    folder = folder_at(output)
    folder.begin(_SHARDS)
    try:
        ordered = load(model).history_recency > 0  # and a damaged model is found before the work
        options["with_times"] = ordered
        whole = Path(model).read_bytes()
        if hasattr(interactions, "to_delayed"):
            sources = interactions.to_delayed()
        else:
            sources = [path for path, _ in list_files(interactions)]
        if dask is None:
            return _work(_run_here, sources, whole, folder, k, threads, options)
        from sparserec_np.distributed.cluster import connected

        with connected(dask) as client:

            def run_there(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
                return _run_on(client, function, calls)

            # A task, not scattered: should all who have it die, it is there again.
            model_there = client.submit(_identity, whole, pure=False)
            return _work(run_there, sources, model_there, folder, k, threads, options)
    finally:
        folder.end(_SHARDS)


RunAll = Callable[[Callable[..., Any], "list[tuple[Any, ...]]"], "list[Any]"]


def _work(
    run: RunAll,
    sources: list[Any],
    model: Any,
    folder: Folder,
    k: int,
    threads: int | None,
    options: dict[str, Any],
) -> Written:
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
        (source, number, model, folder, k, threads, user_kind, options)
        for number, source in enumerate(sources)
    ]
    parts = run(_serve, calls)
    return Written(
        users=sum(part.users for part in parts),
        rows=sum(part.rows for part in parts),
        skipped=sum(part.skipped for part in parts),
    )


def _identity(model: bytes) -> bytes:
    return model


def _run_here(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    return [
        function(*(arg.compute() if hasattr(arg, "compute") else arg for arg in args))
        for args in calls
    ]


def _run_on(client: Any, function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    """Run calls on a cluster; only the results stay in the memory of its workers."""
    from dask.delayed import delayed
    from distributed.scheduler import KilledWorker

    from sparserec_np.distributed.cluster import lost_scheduler

    tasks = [delayed(function, pure=False)(*args) for args in calls]
    try:
        return list(client.gather(client.compute(tasks, retries=_RETRIES)))
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers died at the same partition: see their logs, "
            "perhaps they lack memory; smaller files need less"
        ) from error
    except Exception as error:
        if client.status == "running":
            raise
        raise lost_scheduler(client) from error


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
        folder.put(f"{_SHARDS}/{shard:05d}/{number:05d}.parquet", write)
    return data.user_ids.kind


def _serve(
    source: Any,
    number: int,
    model: bytes,
    folder: Folder,
    k: int,
    threads: int | None,
    user_kind: str | None,
    options: dict[str, Any],
) -> Written:
    """Serve the users of one partition, or of one shard."""
    if source is None:
        paths = folder.list(f"{_SHARDS}/{number:05d}")
        ordered = _loaded(model).history_recency > 0
        data = read(paths, user_col="user", item_col="item", with_times=ordered) if paths else None
    else:
        data = _read(source, options)
    if data is None:
        return Written(0, 0, 0)
    with _compiled:
        loaded = _loaded(model)

        def write(target: Path) -> Written:
            return write_recommendations(
                loaded, data, target, k=k, threads=threads, user_kind=user_kind
            )

        return folder.put(f"part-{number:05d}.parquet", write)


@lru_cache(maxsize=2)
def _loaded(model: bytes) -> Model:
    return load(model)
