"""Beyond one machine: training and batch recommendation on Dask, with the bytes of one machine.

:func:`recommend_all` serves the users of many files, here or on a cluster. Training is asked for
by ``SparseRec.fit(..., dask=ADDRESS)``; :class:`Files` are data that its workers read. Clusters
need the extra ``[dask]``. See ``docs/distributed.md`` for what they cost.
"""

from __future__ import annotations

from sparserec_np.distributed.batch_recommend import recommend_all
from sparserec_np.distributed.sharding import Files

__all__ = ["Files", "recommend_all"]
