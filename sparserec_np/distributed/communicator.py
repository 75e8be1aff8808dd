"""A communicator over Dask's own connections, one between each two workers.

The server of a Dask worker takes the connections, at the address and with the security, TLS or not,
that Dask gave it; data of a batch then goes directly from worker to worker, in a fraction of the
time that scheduling a task takes. A worker that dies closes its connections, and one that stops
answering loses them after ``distributed.comm.timeouts.tcp``: either way all others end with
:class:`ConnectionLostError`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Worker
from distributed.comm.core import Comm, connect
from distributed.core import Status
from distributed.protocol.serialize import to_serialize

from sparserec_np.utils.communicator import Communicator, Messages

_LARGE = 1 << 16  # bytes from which a message is sent in a frame of its own, without another copy
_PATIENCE = 20.0  # seconds to wait for all others, which are there, to connect
_CONNECTED, _LOST = object(), object()


class ConnectionLostError(Exception):
    """Another worker is gone."""


class DaskCommunicator(Communicator):
    """A worker's connections to all others; see :class:`Communicator`.

    Made, it expects the others; :meth:`join` waits for them.

    Args:
        worker: The Dask worker in which it is used, from any thread but that of the event loop.
        group: Name that the workers of a training share, and no other training has.
    """

    def __init__(self, worker: Worker, group: str) -> None:
        self._worker = worker
        self._operation = f"sparserec-{group}"
        self._to: dict[int, Comm] = {}
        self._inboxes: defaultdict[int, SimpleQueue[Any]] = defaultdict(SimpleQueue)
        self._sending = self._start(asyncio.sleep(0))
        worker.handlers[self._operation] = self._accept

    def join(self, rank: int, addresses: list[str]) -> None:
        """Connect with all others.

        Args:
            rank: Number of this worker.
            addresses: Of the Dask workers, by rank.

        Raises:
            ConnectionLostError: Not all of them connected.
        """
        self.rank, self.world_size = rank, len(addresses)
        for other in range(rank):
            self._start(self._connect(other, addresses[other]))
        for other in self._others():
            self._next_from(other)

    def close(self) -> None:
        """Close all connections; the other workers notice."""
        self._worker.handlers.pop(self._operation, None)
        self._start(self._close())  # after what is being sent

    def start_all_to_all(self, messages: Messages) -> Callable[[], dict[int, bytes]]:
        """Send bytes; see :meth:`Communicator.start_all_to_all`."""
        try:
            self._sending.result()  # the messages before, so that none overtakes them
        except OSError as error:
            raise self._lost() from error
        copies = {rank: bytes(message) for rank, message in messages.items()}
        self._sending = self._start(self._send(copies))

        def receive() -> dict[int, bytes]:
            came = {other: self._next_from(other) for other in self._others()}
            came[self.rank] = copies.get(self.rank)
            return {rank: message for rank, message in came.items() if message is not None}

        return receive

    def _others(self) -> list[int]:
        return [rank for rank in range(self.world_size) if rank != self.rank]

    def _start(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do some work in the event loop."""
        loop: Any = self._worker.loop
        return asyncio.run_coroutine_threadsafe(work, loop.asyncio_loop)

    async def _connect(self, other: int, address: str) -> None:
        try:
            comm = await connect(address, timeout=_PATIENCE, **self._worker.connection_args)
            await comm.write({"op": self._operation, "rank": self.rank, "reply": False})
        except OSError:
            self._inboxes[other].put(_LOST)
        else:
            await self._accept(comm, other)

    async def _accept(self, comm: Comm, rank: int) -> Status:
        """Put what a worker sends into its inbox, as long as it is there."""
        self._to[rank], inbox = comm, self._inboxes[rank]
        inbox.put(_CONNECTED)
        try:
            while True:
                inbox.put(await comm.read())
        except OSError:
            return Status.dont_reply
        finally:
            inbox.put(_LOST)

    async def _send(self, messages: dict[int, bytes]) -> None:
        for other, comm in self._to.items():
            message: Any = messages.get(other)
            if message is not None and len(message) >= _LARGE:
                message = to_serialize(message)
            await comm.write(message)

    async def _close(self) -> None:
        for comm in self._to.values():
            await comm.close()

    def _next_from(self, other: int) -> Any:
        joined = other in self._to
        try:
            message = self._inboxes[other].get(timeout=None if joined else _PATIENCE)
        except Empty:
            message = _LOST
        if message is _LOST:
            raise self._lost()
        return message

    def _lost(self) -> ConnectionLostError:
        self.close()
        return ConnectionLostError(f"one of {self.world_size} workers is gone")
