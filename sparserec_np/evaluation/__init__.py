"""Evaluation: rankings on held-out interactions, their metrics, and recommendations for all users.

The metrics are here; :mod:`sparserec_np.evaluation.evaluate` has the protocol, and
:mod:`sparserec_np.evaluation.batch_recommend` writes recommendations for all users to a file.
"""

from __future__ import annotations

from sparserec_np.evaluation.metrics import (
    average_metrics,
    coverage,
    find_hits,
    hit_rate,
    mrr,
    ndcg,
    recall,
)

__all__ = ["average_metrics", "coverage", "find_hits", "hit_rate", "mrr", "ndcg", "recall"]
