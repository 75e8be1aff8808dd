"""Recommendations for all users, here or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparserec_np.data import list_files
from sparserec_np.errors import ClusterError
from sparserec_np.evaluation.batch_recommend import Written
from sparserec_np.evaluation.output_folder import folder_at
from sparserec_np.evaluation.partitions import SHARDS, recommend_partitions
from sparserec_np.runtime.model import load
from sparserec_np.runtime.taste import AS_LEARNED, Taste

_RETRIES = 3  # of a task that fails; one whose worker dies is done again by Dask in any case


def recommend_all(
    model: str | Path,
    interactions: Any,
    output: str | Path,
    *,
    k: int = 10,
    taste: Taste = AS_LEARNED,
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
        taste: Wishes for all of them.
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
    folder.begin(SHARDS)
    try:
        own = load(model).history_recency  # and a damaged model is found before the work
        options["with_times"] = (own if taste.recency is None else taste.recency) > 0
        whole = Path(model).read_bytes()
        if hasattr(interactions, "to_delayed"):
            sources = interactions.to_delayed()
        else:
            sources = [path for path, _ in list_files(interactions)]
        how: Any = {"k": k, "taste": taste, "threads": threads, "options": options}
        if dask is None:
            return recommend_partitions(sources, whole, folder, _run_here, **how)
        from sparserec_np.distributed.cluster import connected

        with connected(dask) as client:
            # A task, not scattered: should all who have it die, it is there again.
            model_there = client.submit(_identity, whole, pure=False)
            run = partial(_run_on, client)
            return recommend_partitions(sources, model_there, folder, run, **how)
    finally:
        folder.end(SHARDS)


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
