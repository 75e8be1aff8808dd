"""Beyond one machine: training and batch recommendation on Dask, with the bytes of one machine.

:func:`recommend_all` serves the users of many files, here or on a cluster. ``SparseRec.fit(...,
dask=ADDRESS)`` and ``sparserec-np fit --dask`` train on one, by :func:`backend_for`; :class:`Files`
are data that its workers read. Clusters need the extra ``[dask]``. See ``docs/distributed.md`` for
what they cost.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sparserec_np.distributed.batch_recommend import recommend_all
from sparserec_np.distributed.sharding import Files
from sparserec_np.training.fit import Backend

__all__ = ["Files", "backend_for", "recommend_all"]


def backend_for(dask: Any, threads: int | None = None) -> AbstractContextManager[Backend]:
    """Return the backend that runs the stages of a fit.

    Args:
        dask: Address of a scheduler or a ``distributed.Client``; None: this process.
        threads: Number of threads, on a cluster of each worker.
    """
    if dask is None:
        return nullcontext(Backend(threads))
    from sparserec_np.distributed.training import training_on

    return training_on(dask, threads=threads)
