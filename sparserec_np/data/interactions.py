"""The interaction matrix: which users had to do with which items.

Everything that reads data ends in :mod:`sparserec_np.data.assembly`, which turns numbered
pairs into rows that are sorted and free of duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.utils.communicator import SINGLE_PROCESS, Communicator
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparserec_np.data.read_report import ReadReport

_COUNTED_AT_A_TIME = 1 << 18


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who interacted with what, as compressed sparse rows over users.

    Users and items are numbered by the rank of their id in ascending order (integers by value,
    strings by code point), so the same data gives the same numbers however it arrived.
    """

    indptr: NDArray[np.int64]
    """Where the row of each user begins in ``items``; int64[n_users + 1]."""
    items: NDArray[np.int32]
    """Item numbers, strictly ascending in the row of a user; int32[nnz]."""
    user_ids: Ids
    """The callers' ids of the users, by number."""
    item_ids: Ids
    """The callers' ids of the items, by number."""
    times: NDArray[np.float64] | None = None
    """When each interaction last happened, in seconds; float64[nnz], or None if not read."""
    report: ReadReport | None = None
    """What reading found, for data that was read or filtered; None for data built in memory."""

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    @property
    def nnz(self) -> int:
        """Number of distinct interactions."""
        return len(self.items)

    @property
    def has_times(self) -> bool:
        """Whether it is known when each interaction happened."""
        return self.times is not None

    def items_of(self, user: int, *, ordered: bool = False) -> NDArray[np.int32]:
        """Give what a user had.

        Args:
            user: Number of the user.
            ordered: Whether the order matters.

        Returns:
            Item numbers, the latest last where times are known; int32[n].

        Raises:
            InputError: It does, and there are no times.
        """
        row = slice(*self.indptr[user : user + 2])
        items = self.items[row]
        if self.times is None and not ordered:
            return items
        return items[np.argsort(self._known_times()[row], kind="stable")]

    def user_degrees(self) -> NDArray[np.int64]:
        """Count the items of each user; int64[n_users]."""
        return np.diff(self.indptr)

    def item_degrees(self) -> NDArray[np.int64]:
        """Count the users of each item; int64[n_items]."""
        degrees = np.zeros(self.n_items, np.int64)
        for first in range(0, self.nnz, _COUNTED_AT_A_TIME):  # bincount widens what it is given
            some = self.items[first : first + _COUNTED_AT_A_TIME]
            degrees += np.bincount(some, minlength=self.n_items)
        return degrees

    def ages(self) -> NDArray[np.int32]:
        """Count for each entry how many of its user's came after it; int32[nnz].

        Of equal times the larger item number counts as later.

        Raises:
            InputError: There are no times.
        """
        users = self.user_of_entry()
        order = np.lexsort((np.arange(self.nnz), self._known_times(), users))
        ages = np.empty(self.nnz, np.int32)
        ages[order] = np.repeat(self.indptr[1:], self.user_degrees()) - np.arange(self.nnz) - 1
        return ages

    def _known_times(self) -> NDArray[np.float64]:
        if self.times is None:
            raise InputError(
                "the order of what users had matters here, but there are no times: read with "
                "times, or name their column with --time-col (time_col= in Python)"
            )
        return self.times

    def fingerprint(self, users_before: int = 0) -> int:
        """Sum up who had what, and when, in 64 bits.

        Sums of several ranges of users add up, modulo 2^64.

        Args:
            users_before: Users of the ranges before this one.

        Returns:
            The sum, below 2^64.
        """
        total = 0
        users = self.user_of_entry()
        for first in range(0, self.nnz, _COUNTED_AT_A_TIME):
            some = slice(first, first + _COUNTED_AT_A_TIME)
            bits = (users[some].astype(np.uint64) + np.uint64(users_before)) << np.uint64(32)
            bits |= self.items[some].astype(np.uint64)
            bits = _mixed(bits)
            if self.times is not None:
                bits = _mixed(bits ^ self.times[some].view(np.uint64))
            total += int(np.sum(bits, dtype=np.uint64))
        return total & ((1 << 64) - 1)

    def user_of_entry(self) -> NDArray[np.int32]:
        """Give the user number of each entry of ``items``; int32[nnz]."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.user_degrees())


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits as splitmix64 does, which randomness has as well."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits


def drop_rare(
    interactions: Interactions,
    min_user_interactions: int,
    min_item_interactions: int,
    comm: Communicator = SINGLE_PROCESS,
) -> Interactions:
    """Drop users and items with too few interactions, again and again until none is left.

    Args:
        interactions: What to filter.
        min_user_interactions: Least number of items of a user who stays, at least 1.
        min_item_interactions: Least number of users of an item that stays, at least 1.
        comm: Who has the other users.

    Returns:
        The interactions that stay, with the counts of what was dropped added to the report; the
        argument itself if nothing had to go.

    Raises:
        InputError: A minimum is below 1, or nothing is left.
    """
    for option, least in (("user", min_user_interactions), ("item", min_item_interactions)):
        if least < 1:
            raise InputError(f"min_{option}_interactions must be at least 1, not {least}")
    keep_user = interactions.user_degrees() >= min_user_interactions
    keep_item = comm.all_reduce(interactions.item_degrees()) >= min_item_interactions
    if comm.all_reduce_count(int(keep_user.all() and keep_item.all())) == comm.world_size:
        return interactions
    users, items = interactions.user_of_entry(), interactions.items
    keep = np.ones(len(items), dtype=bool)
    while True:
        kept_before = comm.all_reduce_count(int(np.count_nonzero(keep)))
        keep &= keep_user[users] & keep_item[items]
        keep_user = np.bincount(users[keep], minlength=len(keep_user)) >= min_user_interactions
        of_items = np.bincount(items[keep], minlength=len(keep_item))
        keep_item = comm.all_reduce(of_items) >= min_item_interactions
        kept = comm.all_reduce_count(int(np.count_nonzero(keep)))
        if kept == kept_before:
            break
    if not kept:
        raise InputError(
            f"no user has {min_user_interactions} items that {min_item_interactions} users share: "
            "lower min_user_interactions or min_item_interactions"
        )
    return _select(interactions, keep, keep_user, keep_item)


def _select(
    interactions: Interactions,
    keep: NDArray[np.bool_],
    keep_user: NDArray[np.bool_],
    keep_item: NDArray[np.bool_],
) -> Interactions:
    """Take some entries, users and items, and number users and items anew."""
    new_user = np.cumsum(keep_user) - 1
    new_item = (np.cumsum(keep_item) - 1).astype(np.int32)
    degrees = np.bincount(
        new_user[interactions.user_of_entry()[keep]], minlength=int(keep_user.sum())
    )
    report = interactions.report
    if report is not None:
        report = replace(
            report,
            dropped_users=int(np.count_nonzero(~keep_user)),
            dropped_items=int(np.count_nonzero(~keep_item)),
        )
    return Interactions(
        indptr=indptr_from_counts(degrees),
        items=new_item[interactions.items[keep]],
        user_ids=interactions.user_ids.select(np.flatnonzero(keep_user)),
        item_ids=interactions.item_ids.select(np.flatnonzero(keep_item)),
        times=None if interactions.times is None else interactions.times[keep],
        report=report,
    )
