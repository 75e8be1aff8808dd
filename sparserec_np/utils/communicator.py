"""Several who train one model together, each with the users of its own; here: one alone.

Functions of the training take the interactions of the users that are here, and a :class:`Peers`
through which they learn what they need of the others: counts, and sums whose parts are added in the
order of the users, so that they have the same bits as on one machine. With one alone nothing is
passed around, and the functions are those of one machine.

Users are held in consecutive ranges: those of peer 0 come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parcels = Mapping[int, "bytes | memoryview"]


class Peers:
    """One alone. Every method is called by all peers at once, in the same order.

    Attributes:
        rank: Which of the peers this one is, from 0.
        size: How many there are.
    """

    rank = 0
    size = 1

    def exchange(self, parcels: Parcels) -> dict[int, bytes]:
        """Send bytes to some peers, and receive what all have sent here, by their ranks."""
        return {rank: bytes(parcel) for rank, parcel in parcels.items()}

    def gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Give everybody's arrays, by rank; their lengths may differ, their types may not."""
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return [array]
        data = as_bytes(array)
        others = self.exchange({r: data for r in range(self.size) if r != self.rank})
        row = array.shape[1:]
        return [
            array if r == self.rank else np.frombuffer(others[r], array.dtype).reshape(-1, *row)
            for r in range(self.size)
        ]

    def each(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Give everybody's arrays, by rank, only one of them in memory at a time."""
        for turn in range(self.size):
            yield self.gather(array if self.rank == turn else array[:0])[turn]

    def joined(self, array: NDArray[Any]) -> NDArray[Any]:
        """Everybody's arrays, one after the other."""
        return array if self.size == 1 else np.concatenate(self.gather(array))

    def sum(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Sum of everybody's counts, of any shape: whole numbers, which have no order of adding."""
        if self.size == 1:
            return counts
        total: NDArray[Any] = np.sum([part for part in self.gather(counts)], axis=0)
        return total.astype(counts.dtype)

    def counts(self, count: int) -> list[int]:
        """Everybody's count, by rank."""
        return [int(part[0]) for part in self.gather(np.array([count], np.int64))]

    def total(self, count: int) -> int:
        """Sum of everybody's count."""
        return sum(self.counts(count))

    def before(self, count: int) -> int:
        """Sum of the counts of those with a lower rank."""
        return sum(self.counts(count)[: self.rank])

    def relay(self, total: NDArray[Any], add: Callable[[NDArray[Any]], None]) -> None:
        """Let one after the other add to ``total``, by rank; at the end all have the whole.

        Args:
            total: Changed in place; what it holds before counts on peer 0 alone.
            add: Adds this peer's part, in place.
        """
        for turn in range(self.size):
            mine = turn == self.rank
            if mine:
                add(total)
            if self.size == 1:
                return
            whole = turn == self.size - 1
            to = (r for r in range(self.size) if r != turn and (whole or r == turn + 1))
            came = self.exchange({r: as_bytes(total) for r in to} if mine else {})
            if turn in came and not mine:
                total[...] = np.frombuffer(came[turn], total.dtype).reshape(total.shape)


ALONE = Peers()


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Look at the bytes of an array without a copy."""
    return array.reshape(-1).view(np.uint8).data
