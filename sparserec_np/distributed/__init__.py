"""Beyond one machine: training and batch recommendation on Dask, with the bytes of one machine.

Needs the extra ``[dask]``. See ``docs/distributed.md`` for what it costs.
"""

from __future__ import annotations

from sparserec_np.distributed._recommend import recommend_all
from sparserec_np.distributed._sources import Files
from sparserec_np.distributed._training import training_on

__all__ = ["Files", "recommend_all", "training_on"]
