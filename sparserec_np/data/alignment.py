"""Two sets of interactions together: one on the other's vocabularies, or both as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.interactions import Interactions
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Aligned:
    """Interactions in the numbering of given vocabularies, and what did not fit in."""

    interactions: Interactions
    """One row for each user of the given vocabulary, those without interactions too."""
    unknown_items: NDArray[np.int64]
    """How many items of each user the item vocabulary lacks; int64[n_users]. They still count in
    the denominator of recall."""
    unknown_users: int
    """Number of users that the user vocabulary lacks; their interactions are left out."""
    distinct_unknown_items: int
    """Number of different items that the item vocabulary lacks."""


def align(interactions: Interactions, user_ids: Ids | None, item_ids: Ids) -> Aligned:
    """Number interactions by other vocabularies, such as those of a model.

    Integer ids and text that reads the same are one id: which of both a file gives depends on the
    other ids in it.

    Args:
        interactions: What to align.
        user_ids: The vocabulary of users, or None to keep the users as they are.
        item_ids: The vocabulary of items.

    Returns:
        The known part in the new numbering, times kept, and counts of the rest.
    """
    user_ids = interactions.user_ids if user_ids is None else user_ids
    if user_ids is interactions.user_ids and item_ids is interactions.item_ids:
        nothing = np.zeros(len(user_ids), np.int64)
        return Aligned(replace(interactions, report=None), nothing, 0, 0)
    new_item = interactions.item_ids.positions_in(item_ids)
    if user_ids is interactions.user_ids:
        new_user = np.arange(len(user_ids))
    else:
        new_user = interactions.user_ids.positions_in(user_ids)
    users = new_user[interactions.user_of_entry()]
    items = new_item[interactions.items]
    known = (users >= 0) & (items >= 0)
    aligned, _ = assemble(
        users[known],
        items[known],
        user_ids,
        item_ids,
        None if interactions.times is None else interactions.times[known],
    )
    unknown = users[(users >= 0) & (items < 0)]
    return Aligned(
        aligned,
        np.bincount(unknown, minlength=len(user_ids)).astype(np.int64, copy=False),
        int(np.count_nonzero(new_user < 0)),
        int(np.count_nonzero(new_item < 0)),
    )


def merge(first: Interactions, second: Interactions) -> Interactions:
    """Put two sets of interactions together, such as training and validation data.

    Times are kept if both have them, of a pair in both the later one. The report of neither is.
    """
    user_ids = first.user_ids.union(second.user_ids)
    item_ids = first.item_ids.union(second.item_ids)
    users, items = [], []
    for part in (first, second):
        users.append(part.user_ids.positions_in(user_ids)[part.user_of_entry()])
        items.append(part.item_ids.positions_in(item_ids)[part.items])
    times = None
    if first.times is not None and second.times is not None:
        times = np.concatenate((first.times, second.times))
    return assemble(np.concatenate(users), np.concatenate(items), user_ids, item_ids, times)[0]


def take_users(interactions: Interactions, users: NDArray[np.int64]) -> Interactions:
    """Take the interactions of some users, in ascending order; the report is not kept.

    Args:
        interactions: What to take from.
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
