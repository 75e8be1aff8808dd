"""Groups of users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.batches import GROUP_POSITIVES
from sparserec_np.utils.parallel import LANES


def cut_groups(order: NDArray[np.int64], degrees: NDArray[np.int64]) -> list[list[int]]:
    """Cut the users of an epoch into groups."""
    groups: list[list[int]] = []
    for user in order.tolist():
        if groups and len(groups[-1]) < LANES:
            positives = degrees[groups[-1]].sum() + degrees[user]
            if positives <= GROUP_POSITIVES:
                groups[-1].append(user)
                continue
        groups.append([user])
    return groups
