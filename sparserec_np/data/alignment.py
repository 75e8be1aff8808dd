"""Interactions in the numbering of other vocabularies, such as those of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.data.assembly import assemble
from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError
from sparserec_np.utils.log import logger
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray


_log = logger(__name__)

# Below this share of the smaller of two vocabularies, ids in common are suspiciously few.
_FEW = 0.1


@dataclass(frozen=True, eq=False)
class Aligned:
    """Interactions in the numbering of given vocabularies, and counts of what these lack."""

    interactions: Interactions
    """One row for each user of the given vocabulary, those without interactions too."""
    unknown_items: NDArray[np.int64]
    """Number of each user's items that the item vocabulary lacks; int64[n_users]. They still count
    in the denominator of recall."""
    unknown_users: int
    """Number of users that the user vocabulary lacks; their interactions are left out."""
    distinct_unknown_items: int
    """Number of different items that the item vocabulary lacks."""


def align(
    interactions: Interactions,
    user_ids: Ids | None,
    item_ids: Ids,
    names: tuple[str, str] | None = None,
) -> Aligned:
    """Number the users and items of interactions by other vocabularies.

    Integer ids and text that reads the same are one id: which of both a file gives depends on the
    other ids in it.

    Args:
        interactions: Interactions in their own numbering.
        user_ids: The vocabulary of users; None keeps the users as they are.
        item_ids: The vocabulary of items.
        names: Names of the interactions and of what they are aligned to, such as ``("the test
            data", "the model")``, if they must have ids in common; a warning says if these are few.

    Returns:
        The known interactions in the new numbering, times kept, and counts of the others.

    Raises:
        InputError: They must have ids in common, and have none.
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
    if names is not None:
        check_overlap(interactions.item_ids, item_ids, new_item, ("item", *names))
        if user_ids is not interactions.user_ids:
            check_overlap(interactions.user_ids, user_ids, new_user, ("user", *names))
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


def check_overlap(
    ids: Ids, others: Ids, positions: NDArray[np.int64], names: tuple[str, str, str]
) -> None:
    """Check that two vocabularies that meet have ids in common; warn if these are few.

    Args:
        ids: The ids of the first.
        others: The ids of the second.
        positions: Position of each id of the first in the second, or -1; int64[n].
        names: What they are ids of (``"item"``), and names of first and second.

    Raises:
        InputError: They have none in common.
    """
    role, here, there = names
    least = min(len(ids), len(others))
    common = int(np.count_nonzero(positions >= 0))
    if not least or common >= _FEW * least:
        return
    (example,), (other,) = ids.take(np.flatnonzero(positions < 0)[:1]), others.take([0])
    found = "none" if not common else f"only {common:,}"
    problem = (
        f"{found} of the {len(ids):,} {role} ids of {here} are in {there}: {here} has ids such as "
        f"{example!r}, {there} such as {other!r}"
    )
    if not common:
        raise InputError(f"{problem}. Are both of the same data, and their columns the right ones?")
    _log.warning("%s", problem)
