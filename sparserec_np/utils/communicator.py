"""Collective operations between the workers of one training; here: those of a single process.

Functions of the training take the interactions of the users that this worker holds. What they need
of the other workers, counts, and sums whose parts are added in the order of the users, so that they
have the same bits as on one machine, they ask of the :func:`communicator` of the context in which
they are called. In a single process nothing is sent.

Workers hold consecutive ranges of users: those of rank 0 come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

Messages = Mapping[int, "bytes | memoryview"]
"""Bytes for some workers, by their ranks."""


class Communicator:
    """The communicator of a single process.

    All workers call the same methods in the same order.

    Attributes:
        rank: Number of this worker, from 0.
        world_size: Number of workers.
    """

    rank = 0
    world_size = 1

    def start_all_to_all(self, messages: Messages) -> Callable[[], dict[int, bytes]]:
        """Send bytes to some workers.

        Returns:
            Waits for what each worker has sent to this one, and returns it by rank; to be called
            before the next operation.
        """
        copies = {rank: bytes(message) for rank, message in messages.items()}
        return lambda: copies

    def all_to_all(self, messages: Messages) -> dict[int, bytes]:
        """Send bytes to some workers; return what each worker has sent to this one, by rank."""
        return self.start_all_to_all(messages)()

    def all_gather(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the arrays of all workers, by rank; only their lengths may differ."""
        array = np.ascontiguousarray(array)
        if self.world_size == 1:
            return [array]
        data = as_bytes(array)
        received = self.all_to_all({r: data for r in range(self.world_size) if r != self.rank})
        row = array.shape[1:]
        return [
            array if r == self.rank else np.frombuffer(received[r], array.dtype).reshape(-1, *row)
            for r in range(self.world_size)
        ]

    def all_gather_concat(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the arrays of all workers, one after the other."""
        return array if self.world_size == 1 else np.concatenate(self.all_gather(array))

    def all_gather_count(self, count: int) -> list[int]:
        """Return the counts of all workers, by rank."""
        return [int(part[0]) for part in self.all_gather(np.array([count], np.int64))]

    def broadcast_in_turn(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the arrays of all workers, by rank, only one of them in memory at a time."""
        for rank in range(self.world_size):
            yield self.all_gather(array if self.rank == rank else array[:0])[rank]

    def all_reduce(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Sum arrays of counts of one shape: integers, whose order of adding does not matter."""
        if self.world_size == 1:
            return counts
        total: NDArray[Any] = np.sum(self.all_gather(counts), axis=0)
        return total.astype(counts.dtype)

    def all_reduce_count(self, count: int) -> int:
        """Sum the counts of all workers."""
        return sum(self.all_gather_count(count))

    def exclusive_scan(self, count: int) -> int:
        """Sum the counts of the workers of lower rank."""
        return sum(self.all_gather_count(count)[: self.rank])

    def ordered_reduce(self, total: NDArray[Any], add: Callable[[NDArray[Any]], None]) -> None:
        """Let the workers add to ``total`` one after the other, by rank; all get the result.

        Args:
            total: Changed in place; what it holds before counts on rank 0 alone.
            add: Adds the part of this worker, in place.
        """
        for turn in range(self.world_size):
            mine = turn == self.rank
            if mine:
                add(total)
            if self.world_size == 1:
                return
            complete = turn == self.world_size - 1
            to = (r for r in range(self.world_size) if r != turn and (complete or r == turn + 1))
            received = self.all_to_all({r: as_bytes(total) for r in to} if mine else {})
            if turn in received and not mine:
                total[...] = np.frombuffer(received[turn], total.dtype).reshape(total.shape)


_SINGLE_PROCESS = Communicator()
_current: ContextVar[Communicator] = ContextVar("communicator", default=_SINGLE_PROCESS)


def communicator() -> Communicator:
    """Return the communicator of the current context; unless set, that of a single process."""
    return _current.get()


@contextmanager
def communicating(comm: Communicator) -> Iterator[None]:
    """Let functions called from this thread use a communicator, until the context ends."""
    token = _current.set(comm)
    try:
        yield
    finally:
        _current.reset(token)


def replicated() -> AbstractContextManager[None]:
    """Let functions work on what all workers have, alike and without asking each other."""
    return communicating(_SINGLE_PROCESS)


def as_bytes(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array without a copy."""
    return array.reshape(-1).view(np.uint8).data
