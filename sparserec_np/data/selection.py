"""Interactions of some users, and without rare users and items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError
from sparserec_np.utils.communicator import SINGLE_PROCESS, Communicator
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray


def select_users(interactions: Interactions, users: NDArray[np.int64]) -> Interactions:
    """Return the interactions of some users; items keep their numbers, the report is dropped.

    Args:
        interactions: The interactions of all users.
        users: Numbers of the users, ascending, int64[n].
    """
    entries = entries_of_rows(interactions.indptr, users)
    return Interactions(
        indptr_from_counts(interactions.user_degrees()[users]),
        interactions.items[entries],
        interactions.user_ids.select(users),
        interactions.item_ids,
        None if interactions.times is None else interactions.times[entries],
    )


def drop_rare(
    interactions: Interactions,
    min_user_interactions: int,
    min_item_interactions: int,
    comm: Communicator = SINGLE_PROCESS,
) -> Interactions:
    """Drop users and items with too few interactions, again and again until none is left.

    Args:
        interactions: The interactions to filter, or those of the users of this worker.
        min_user_interactions: Least number of items of a user who stays, at least 1.
        min_item_interactions: Least number of users of an item that stays, at least 1.
        comm: Reaches the workers with the other users.

    Returns:
        The interactions that stay, with the numbers of dropped users and items in the report; the
        argument itself if nothing is to be dropped.

    Raises:
        InputError: A minimum is below 1, or nothing is left.
    """
    for role, least in (("user", min_user_interactions), ("item", min_item_interactions)):
        if least < 1:
            raise InputError(f"min_{role}_interactions must be at least 1, not {least}")
    keep_user = interactions.user_degrees() >= min_user_interactions
    keep_item = comm.all_reduce(interactions.item_degrees()) >= min_item_interactions
    if comm.all_reduce_count(int(keep_user.all() and keep_item.all())) == comm.world_size:
        return interactions
    users, items = interactions.user_of_entry(), interactions.items
    keep = np.ones(len(items), dtype=bool)
    kept = comm.all_reduce_count(len(items))
    while True:
        kept_before = kept
        keep &= keep_user[users] & keep_item[items]
        kept = comm.all_reduce_count(int(np.count_nonzero(keep)))
        user_degrees = np.bincount(users[keep], minlength=len(keep_user))
        item_degrees = np.bincount(items[keep], minlength=len(keep_item))
        keep_user = user_degrees >= min_user_interactions
        keep_item = comm.all_reduce(item_degrees) >= min_item_interactions
        if kept == kept_before:
            break
    if not kept:
        raise InputError(
            f"no user has {min_user_interactions} items that {min_item_interactions} users share: "
            "lower min_user_interactions or min_item_interactions"
        )
    report = interactions.report
    if report is not None:
        report = replace(
            report,
            dropped_users=int(np.count_nonzero(~keep_user)),
            dropped_items=int(np.count_nonzero(~keep_item)),
        )
    new_item = (np.cumsum(keep_item) - 1).astype(np.int32)
    return Interactions(
        indptr=indptr_from_counts(user_degrees[keep_user]),
        items=new_item[items[keep]],
        user_ids=interactions.user_ids.select(np.flatnonzero(keep_user)),
        item_ids=interactions.item_ids.select(np.flatnonzero(keep_item)),
        times=None if interactions.times is None else interactions.times[keep],
        report=report,
    )
