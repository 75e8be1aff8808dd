"""Sort numbered pairs of user and item into rows that are free of duplicates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError
from sparserec_np.utils.csr import blocks_of_rows, indptr_from_counts
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_INDEX = np.iinfo(np.int32).max
BLOCK = 1 << 19
"""Pairs that are sorted at a time."""


class Pairs(NamedTuple):
    """Pairs: user and item numbers, integer[n], and times in seconds, float64[n]."""

    users: NDArray[Any]
    items: NDArray[Any]
    times: NDArray[np.float64] | None


def assemble(
    users: NDArray[Any],
    items: NDArray[Any],
    user_ids: Ids,
    item_ids: Ids,
    times: NDArray[np.float64] | None = None,
) -> tuple[Interactions, int]:
    """Build interactions from pairs in memory; see :func:`assemble_blocks`.

    Args:
        users: User number of each pair, integer[n], below ``len(user_ids)``.
        items: Item number of each pair, integer[n], below ``len(item_ids)``.
        user_ids: Ids of the users, by number.
        item_ids: Ids of the items, by number.
        times: Seconds, float64[n]; of a repeated pair the latest is kept.

    Returns:
        The interactions, and the number of repeated pairs that were dropped.
    """
    parts = [slice(first, first + BLOCK) for first in range(0, len(users), BLOCK)]
    counts = np.zeros(len(user_ids), np.int64)
    for part in parts:
        counts += np.bincount(users[part], minlength=len(counts))
    blocks = (
        Pairs(users[part], items[part], None if times is None else times[part]) for part in parts
    )
    return assemble_blocks(blocks, counts, user_ids, item_ids, with_times=times is not None)


def assemble_blocks(
    blocks: Iterable[Pairs],
    counts: NDArray[np.int64],
    user_ids: Ids,
    item_ids: Ids,
    *,
    with_times: bool,
) -> tuple[Interactions, int]:
    """Build interactions from blocks of pairs.

    Pairs are put in their rows as they come; then rows are sorted, and repeated pairs dropped. Peak
    memory: the interactions, and some hundred bytes for each pair of one block.

    Args:
        blocks: The pairs, in any order.
        counts: Number of pairs of each user in all blocks, int64[n_users].
        user_ids: Ids of the users, by number.
        item_ids: Ids of the items, by number.
        with_times: Keep the times of the pairs, which all have one.

    Returns:
        The interactions, and the number of repeated pairs that were dropped.

    Raises:
        InputError: More than 2^31 - 1 users or items.
    """
    for ids, role in ((user_ids, "users"), (item_ids, "items")):
        if len(ids) > MAX_INDEX:
            raise InputError(f"{len(ids):,} different {role}: at most {MAX_INDEX:,} are possible")
    indptr = indptr_from_counts(counts)
    items = np.empty(indptr[-1], np.int32)
    times = np.empty(indptr[-1]) if with_times else None
    place = indptr[:-1].copy()
    for block in blocks:
        order = np.argsort(block.users, kind="stable")
        users = block.users[order]
        begins = np.flatnonzero(np.diff(users, prepend=-1))
        lengths = np.diff(begins, append=len(users))
        at = np.arange(len(users)) + np.repeat(place[users[begins]] - begins, lengths)
        place[users[begins]] += lengths
        items[at] = block.items[order]
        if times is not None and block.times is not None:
            times[at] = block.times[order]
    degrees = _sort_rows(indptr, items, times, len(item_ids))
    duplicates = len(items) - int(degrees.sum())
    if duplicates:
        np.cumsum(degrees, out=indptr[1:])
        items.resize(indptr[-1], refcheck=False)  # in place: a copy would need as much again
        if times is not None:
            times.resize(indptr[-1], refcheck=False)
    return Interactions(indptr, items, user_ids, item_ids, times), duplicates


def _sort_rows(
    indptr: NDArray[np.int64],
    items: NDArray[np.int32],
    times: NDArray[np.float64] | None,
    n_items: int,
) -> NDArray[np.int64]:
    """Sort rows in place and keep each pair once, with its latest time.

    Rows move up to close the gaps, so that all kept entries are at the beginning of the arrays.

    Returns:
        The length of each row, int64[n_users].
    """
    degrees = np.diff(indptr)
    done = 0
    for first, last in blocks_of_rows(indptr, BLOCK):
        entries = slice(indptr[first], indptr[last])
        # One int64 key a pair sorts by row and item at once; both are below 2^31, so it fits.
        keys = np.repeat(np.arange(last - first), degrees[first:last])
        keys *= n_items
        keys += items[entries]
        if times is None:
            keys.sort()
        else:
            order = np.lexsort((times[entries], keys))
            keys = keys[order]
        is_last = np.diff(keys, append=-1) != 0
        kept = slice(done, done + int(np.count_nonzero(is_last)))
        if times is not None:
            times[kept] = times[entries][order][is_last]
        keys = keys[is_last]
        rows, items[kept] = np.divmod(keys, max(n_items, 1))
        degrees[first:last] = np.bincount(rows, minlength=last - first)
        done = kept.stop
    return degrees
