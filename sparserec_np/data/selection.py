"""Interactions of some users, and without rare users and items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts

if TYPE_CHECKING:
    from collections.abc import Callable

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


def slice_users(interactions: Interactions, first: int, last: int) -> Interactions:
    """Return the interactions of the users ``first`` to ``last - 1``, without a copy."""
    indptr = interactions.indptr[first : last + 1]
    entries = slice(indptr[0], indptr[-1])
    return Interactions(
        indptr - indptr[0],
        interactions.items[entries],
        interactions.user_ids.slice(first, last),
        interactions.item_ids,
        None if interactions.times is None else interactions.times[entries],
    )


def drop_rare(
    interactions: Interactions, min_user_interactions: int, min_item_interactions: int
) -> Interactions:
    """Drop users and items with too few interactions, again and again until none is left.

    Args:
        interactions: The interactions to filter.
        min_user_interactions: Least number of items of a user who stays, at least 1.
        min_item_interactions: Least number of users of an item that stays, at least 1.

    Returns:
        The interactions that stay, with the numbers of dropped users and items in the report; the
        argument itself if nothing is to be dropped.

    Raises:
        InputError: A minimum is below 1, or nothing is left.
    """
    return drop_rare_of_shard(
        interactions, min_user_interactions, min_item_interactions, lambda counts: counts
    )


def drop_rare_of_shard(
    shard: Interactions,
    min_user_interactions: int,
    min_item_interactions: int,
    add_up: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> Interactions:
    """Drop the same of some users as :func:`drop_rare` does among all users.

    Args:
        shard: The interactions of these users.
        min_user_interactions: See :func:`drop_rare`.
        min_item_interactions: See :func:`drop_rare`.
        add_up: Sums arrays of counts over all shards.

    Returns:
        See :func:`drop_rare`.

    Raises:
        InputError: See :func:`drop_rare`.
    """
    for role, least in (("user", min_user_interactions), ("item", min_item_interactions)):
        if least < 1:
            raise InputError(f"min_{role}_interactions must be at least 1, not {least}")

    def count(flags: NDArray[np.bool_]) -> int:
        return int(add_up(np.array([np.count_nonzero(flags)]))[0])

    keep_user = shard.user_degrees() >= min_user_interactions
    keep_item = add_up(shard.item_degrees()) >= min_item_interactions
    if count(~keep_user) == 0 and keep_item.all():
        return shard
    users, items = shard.user_of_entry(), shard.items
    keep = np.ones(len(items), dtype=bool)
    kept = count(keep)
    while True:
        kept_before = kept
        keep &= keep_user[users] & keep_item[items]
        kept = count(keep)
        user_degrees = np.bincount(users[keep], minlength=len(keep_user))
        item_degrees = np.bincount(items[keep], minlength=len(keep_item))
        keep_user = user_degrees >= min_user_interactions
        keep_item = add_up(item_degrees) >= min_item_interactions
        if kept == kept_before:
            break
    if not kept:
        raise InputError(
            f"no user has {min_user_interactions} items that {min_item_interactions} users share: "
            "lower min_user_interactions or min_item_interactions"
        )
    report = shard.report
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
        user_ids=shard.user_ids.select(np.flatnonzero(keep_user)),
        item_ids=shard.item_ids.select(np.flatnonzero(keep_item)),
        times=None if shard.times is None else shard.times[keep],
        report=report,
    )
