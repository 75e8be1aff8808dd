"""The interaction matrix: the items of each user, as compressed sparse rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.vocabulary import Ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparserec_np.data.read_report import ReadReport

# Entries that are widened to int64 at a time, so that counting and hashing need little memory.
_BLOCK = 1 << 18


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Interactions of users with items, as compressed sparse rows: one row a user.

    Users and items are numbered by the rank of their id in ascending order (integers by value,
    strings by code point), so the same data gives the same numbers however it arrived. Rows are
    sorted and free of duplicates: :mod:`sparserec_np.data.assembly` sees to it.
    """

    indptr: NDArray[np.int64]
    """Begin of each user's row in ``items``, and the end of the last one; int64[n_users + 1]."""
    items: NDArray[np.int32]
    """Item numbers, strictly ascending within a row; int32[nnz]."""
    user_ids: Ids
    """The caller's ids of the users, by number."""
    item_ids: Ids
    """The caller's ids of the items, by number."""
    times: NDArray[np.float64] | None = None
    """Time of each interaction, of a repeated one the latest, in seconds; float64[nnz], or None if
    times were not read."""
    report: ReadReport | None = None
    """Counts of what was read and left out; None for data that was not read or is only a part."""

    def __repr__(self) -> str:
        times = "with" if self.has_times else "without"
        counts = f"{self.nnz:,} of {self.n_users:,} users and {self.n_items:,} items"
        return f"<sparserec_np.Interactions: {counts}, {times} times>"

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
        """True if the time of each interaction is known."""
        return self.times is not None

    def items_of(self, user: int, *, ordered: bool = False) -> NDArray[np.int32]:
        """Return the history of a user.

        Args:
            user: Number of the user.
            ordered: Insist on the order in time.

        Returns:
            Item numbers, the latest last where times are known, else ascending; int32[n].

        Raises:
            InputError: ``ordered``, but there are no times.
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
        for first in range(0, self.nnz, _BLOCK):  # bincount widens its argument
            some = self.items[first : first + _BLOCK]
            degrees += np.bincount(some, minlength=self.n_items)
        return degrees

    def ages(self) -> NDArray[np.int32]:
        """Count the later interactions of the same user, for each entry; int32[nnz].

        The latest has age 0. Of equal times the larger item number counts as later.

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
                "the order of each user's interactions matters here, but there are no times: read "
                "with times, or name their column with --time-col (time_col= in Python)"
            )
        return self.times

    def fingerprint(self, users_before: int = 0) -> int:
        """Return a hash of the numbers of users and items and of the times.

        It is the sum of the hashes of all entries, modulo 2^64, so the hashes of consecutive ranges
        of users add up to that of all users.

        Args:
            users_before: Number of users in the ranges before this one.

        Returns:
            The hash, below 2^64.
        """
        total = 0
        users = self.user_of_entry()
        for first in range(0, self.nnz, _BLOCK):
            some = slice(first, first + _BLOCK)
            bits = (users[some].astype(np.uint64) + np.uint64(users_before)) << np.uint64(32)
            bits |= self.items[some].astype(np.uint64)
            bits = _mix(bits)
            if self.times is not None:
                bits = _mix(bits ^ self.times[some].view(np.uint64))
            total += int(np.sum(bits, dtype=np.uint64))
        return total & ((1 << 64) - 1)

    def user_of_entry(self) -> NDArray[np.int32]:
        """Return the user number of each entry of ``items``; int32[nnz]."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.user_degrees())


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits as splitmix64 does.

    :func:`sparserec_np.training.kernels.randomness.mix` is the same function for compiled code,
    which this package neither needs nor loads.
    """
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits
