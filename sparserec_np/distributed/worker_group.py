"""A group of workers, as the client sees them: called all at once, replaced when one dies.

Everything that a worker holds can be made again: the interactions from their source, the rest from
the parameters that the client received after the last epoch. So when a worker is lost, the group is
disbanded, a new one is formed of the workers that are there, and the call is repeated. As no number
depends on how many workers there are, the result does not show it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FuturesTimeoutError
from typing import Any
from uuid import uuid4

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from sparserec_np.distributed.cluster import check_workers, lost_scheduler, workers
from sparserec_np.distributed.communicator import ConnectionLostError
from sparserec_np.distributed.worker import TrainingWorker
from sparserec_np.errors import ClusterError, SparseRecError
from sparserec_np.utils.log import logger

_log = logger(__name__)

_LOOK = 1.0  # seconds between two looks at whether all workers are alive
_RETURN = 30.0  # seconds in which lost workers may come back before the others go on without them
_TRIES = 20  # how often in a row the same call may lose a worker

Args = Callable[[int, int], tuple[Any, ...]]
"""Makes the arguments of a call from a worker's rank and the number of workers."""


class WorkerGroup:
    """The training workers on a cluster, one on each Dask worker.

    Args:
        client: The cluster.
        threads: Threads of a worker; None: as Dask has it.
    """

    def __init__(self, client: Client, threads: int | None) -> None:
        self._client = client
        self._threads = threads
        self._addresses: list[str] = []
        self._members: list[Future] = []
        self._wanted = 0
        self.steps: dict[str, tuple[str, Args]] = {}
        """Calls to replay, in order, on replacement workers; each by a name."""
        self.latest: dict[str, list[Any]] = {}
        """Results of each of these calls, by the present workers."""

    def call(self, name: str, args: Args, step: str | None = None) -> list[Any]:
        """Call a method of all workers at once.

        Args:
            name: Method of :class:`TrainingWorker`.
            args: Makes its arguments.
            step: Name under which the call belongs to :attr:`steps` from now on; None: it does not.

        Returns:
            The results, by rank.

        Raises:
            ClusterError: The scheduler is lost, or workers die again and again.
        """
        for _ in range(_TRIES):
            try:
                if not self._members:
                    self._form()
                    for key, (method, its_args) in self.steps.items():
                        self.latest[key] = self._call(method, its_args)
                done = self._call(name, args)
            except ConnectionLostError as error:
                _log.warning("%s: going on from the last epoch with those who are there", error)
                self.disband()
                continue
            if step is not None:
                self.steps.pop(step, None)
                self.steps[step] = (name, args)
                self.latest[step] = done
            return done
        raise ClusterError(
            f"workers were lost {_TRIES} times in a row: see their logs, perhaps they lack memory"
        )

    def disband(self) -> None:
        """Release all workers."""
        self._members = []

    def _form(self) -> None:
        """Start a training worker on every Dask worker, and connect them."""
        self._addresses = self._gather_workers()
        group = uuid4().hex
        members = self._submit(lambda rank: (TrainingWorker, self._threads, group))
        # The next ones wait for each other, so all have to be there.
        self._results(self._submit(lambda rank: (bool, members[rank])))
        join = TrainingWorker.join
        self._results(self._submit(lambda rank: (join, members[rank], rank, self._addresses)))
        self._members = members

    def _gather_workers(self) -> list[str]:
        """Wait for as many workers as there were, then take those who are there."""
        deadline = time.monotonic() + _RETURN
        while True:
            there = workers(self._client)
            if there and (len(there) >= self._wanted or time.monotonic() > deadline):
                break
            if time.monotonic() > deadline + _RETURN:
                raise ClusterError(
                    "all workers are lost, and none came back: with checkpoints, --resume "
                    "continues from the last one"
                )
            time.sleep(0.2)
        try:
            check_workers(self._client)
        except Exception as error:
            if isinstance(error, SparseRecError):
                raise
            raise self._lost(error) from error  # one died while it was asked
        self._wanted = max(self._wanted, len(there))
        return there

    def _call(self, name: str, args: Args) -> list[Any]:
        members, call = self._members, TrainingWorker.call
        size = len(members)
        return self._results(
            self._submit(lambda rank: (call, members[rank], name, *args(rank, size)))
        )

    def _submit(self, task: Callable[[int], tuple[Any, ...]]) -> list[Future]:
        """Submit a task to each worker: a function and its arguments, by rank."""
        futures = []
        try:
            for rank, address in enumerate(self._addresses):
                function, *args = [self._sent(part, address) for part in task(rank)]
                futures.append(
                    self._client.submit(
                        function,
                        *args,
                        key=f"sparserec-{function.__name__}-{uuid4().hex}",
                        workers=[address],
                        pure=False,
                    )
                )
        except Exception as error:  # of many kinds, by the moment at which a connection breaks
            raise self._lost(error) from error
        return futures

    def _sent(self, part: Any, address: str) -> Any:
        """Send large arguments directly to their worker, past the scheduler."""
        if (isinstance(part, tuple) and hasattr(part, "_fields")) or hasattr(part, "indptr"):
            return self._client.scatter(part, workers=[address], hash=False, timeout=_RETURN)
        return part

    def _results(self, futures: list[Future]) -> list[Any]:
        """Wait for the results of all tasks.

        Raises:
            ConnectionLostError: A worker is gone.
            ClusterError: The scheduler is.
            Exception: What a task raised.
        """
        # A worker may die at any moment, and Dask would wait for it to come back.
        loop: Any = self._client.loop
        gather = self._client.gather(futures, errors="skip", asynchronous=True)
        gathering = asyncio.run_coroutine_threadsafe(gather, loop.asyncio_loop)
        try:
            while True:
                try:
                    found = list(gathering.result(_LOOK))
                    break
                except (TimeoutError, FuturesTimeoutError):  # one and the same since 3.11
                    self._check(None)
        except Exception as error:  # not that of a task: these are skipped
            if isinstance(error, (ConnectionLostError, ClusterError)):
                raise
            raise self._lost(error) from error
        finally:
            gathering.cancel()
        errors = [future.exception() for future in futures if future.status == "error"]
        for its_own in errors:
            if not isinstance(its_own, (ConnectionLostError, KilledWorker)):
                raise its_own
        if len(found) < len(futures):
            raise self._lost(errors[0] if errors else None)
        return found

    def _lost(self, error: BaseException | None) -> ConnectionLostError:
        """Build the error for a worker that is gone; that of a lost scheduler is raised."""
        self._check(error)
        return ConnectionLostError("a Dask worker is lost")

    def _check(self, error: BaseException | None) -> None:
        """Check that the scheduler and all workers are there."""
        if self._client.status != "running":
            raise lost_scheduler(self._client) from error
        missing = set(self._addresses) - set(workers(self._client))
        if missing:
            raise ConnectionLostError(f"the Dask worker at {min(missing)} is lost") from error
