"""A group of workers, as the client sees them: called all at once, replaced when one dies.

Everything that a worker holds can be made again: the interactions from their source, the rest from
the parameters that the client received after the last epoch. So when a worker is lost, the group is
disbanded, a new one is formed of the workers that are there, and the call is repeated. As no number
depends on how many workers there are, the result does not show it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FuturesTimeoutError
from typing import Any
from uuid import uuid4

from distributed import Client, Future, wait
from distributed import TimeoutError as DaskTimeoutError
from distributed.scheduler import KilledWorker

from sparserec_np.distributed.cluster import check_workers, lost_scheduler, workers
from sparserec_np.distributed.communicator import ConnectionLostError
from sparserec_np.distributed.worker import TrainingWorker
from sparserec_np.errors import ClusterError, SparseRecError
from sparserec_np.utils.log import logger

_log = logger(__name__)

_LOOK = 1.0  # seconds between two looks at whether all workers are alive
_RETURN = 30.0  # seconds in which lost workers may come back before the others go on without them
_TIMEOUTS = (TimeoutError, DaskTimeoutError, FuturesTimeoutError)  # one and the same since 3.11
_TRIES = 20  # how often in a row the same call may lose a worker

Args = Callable[[int, int], tuple[Any, ...]]
"""Makes the arguments of a call from a worker's rank and the number of workers."""


class WorkersLostError(Exception):
    """Some workers of the group are gone."""


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
                        self.latest[key] = self._at_once(method, its_args)
                done = self._at_once(name, args)
            except WorkersLostError as error:
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
        self._addresses = []

    def _form(self) -> None:
        """Start a training worker on every Dask worker, and connect them."""
        self._addresses = self._gather_workers()
        token = os.urandom(16)
        self._members = self._submit(lambda rank: (TrainingWorker, self._threads))
        self._finish(self._members)
        found = self._results(
            self._submit(lambda rank: (TrainingWorker.address, self._members[rank]))
        )
        self._results(
            self._submit(
                lambda rank: (TrainingWorker.join, self._members[rank], rank, found, token)
            )
        )

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
        except SparseRecError:
            raise
        except Exception as error:  # one died while it was asked
            self._check(error)
            raise WorkersLostError("a Dask worker is lost") from error
        self._wanted = max(self._wanted, len(there))
        return there

    def _at_once(self, name: str, args: Args) -> list[Any]:
        size = len(self._members)

        def task(rank: int) -> tuple[Any, ...]:
            return TrainingWorker.call, self._members[rank], name, *args(rank, size)

        return self._results(self._submit(task))

    def _submit(self, task: Callable[[int], tuple[Any, ...]]) -> list[Future]:
        futures = []
        for rank, address in enumerate(self._addresses):
            function, *args = task(rank)
            try:
                sent = [self._sent(arg, address) for arg in args]
            except Exception as error:
                self._check(error)
                raise WorkersLostError("a Dask worker is lost") from error
            futures.append(
                self._client.submit(
                    function,
                    *sent,
                    key=f"sparserec-{function.__name__}-{uuid4().hex}",
                    workers=[address],
                    allow_other_workers=False,
                    pure=False,
                )
            )
        return futures

    def _sent(self, arg: Any, address: str) -> Any:
        """Send large arguments directly to their worker, past the scheduler."""
        if (isinstance(arg, tuple) and hasattr(arg, "_fields")) or hasattr(arg, "indptr"):
            return self._client.scatter(arg, workers=[address], hash=False, timeout=_RETURN)
        return arg

    def _results(self, futures: list[Future]) -> list[Any]:
        self._finish(futures)
        # A worker may die before its result is here, and Dask would wait for it to come back.
        loop: Any = self._client.loop
        gathering = asyncio.run_coroutine_threadsafe(
            self._client.gather(futures, asynchronous=True), loop.asyncio_loop
        )
        try:
            while True:
                try:
                    return list(gathering.result(_LOOK))
                except _TIMEOUTS:
                    self._check(None)
        except (WorkersLostError, ClusterError):
            raise
        except Exception as error:  # not that of a task: these are done
            self._check(error)
            raise WorkersLostError("a Dask worker is lost") from error
        finally:
            gathering.cancel()

    def _finish(self, futures: list[Future]) -> None:
        """Wait until all tasks are done.

        Raises:
            WorkersLostError: A worker is gone.
            ClusterError: The scheduler is.
            Exception: What a task raised.
        """
        while True:
            try:
                with self._client.as_current():
                    wait(futures, timeout=_LOOK)
                break
            except _TIMEOUTS:
                self._check(None)
            except Exception as error:  # of many kinds, but never that of a task
                self._check(error)
                raise WorkersLostError("a Dask worker is lost") from error
        errors = [future.exception() for future in futures if future.status == "error"]
        if any(future.status not in ("finished", "error") for future in futures):
            self._check(None)
            raise WorkersLostError("a Dask worker is lost")
        for its_own in errors:
            if not isinstance(its_own, (ConnectionLostError, KilledWorker)):
                raise its_own
        if errors:
            self._check(errors[0])
            raise WorkersLostError("a Dask worker is lost")

    def _check(self, error: BaseException | None) -> None:
        """Check that the scheduler and all workers are there."""
        if self._client.status != "running":
            raise lost_scheduler(self._client) from error
        missing = set(self._addresses) - set(workers(self._client))
        if missing:
            raise WorkersLostError(f"the Dask worker at {min(missing)} is lost") from error
