"""A Dask cluster whose workers tests may kill.

Its workers are processes of the test, without the nanny that Dask puts over each: how soon a nanny
restarts a worker depends on the load of the machine. A test that kills a worker starts another.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster


class Workers:
    """Worker processes of a scheduler, one thread each.

    Args:
        scheduler: Its address, or options that give it.
        n: Number of workers.
    """

    def __init__(self, *scheduler: str, n: int) -> None:
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1"]
        self._command = [sys.executable, "-m", "distributed.cli.dask_worker", *scheduler, *options]
        self._running = [self._start() for _ in range(n)]

    def replace(self) -> None:
        """Kill the oldest living worker, as ``kill -9`` does, and start another."""
        oldest = next(one for one in self._running if one.poll() is None)
        oldest.kill()
        oldest.wait()
        self.revive()

    def revive(self) -> None:
        """Start another worker for each dead one."""
        alive = [one for one in self._running if one.poll() is None]
        self._running = alive + [self._start() for _ in range(len(self._running) - len(alive))]

    def wait(self, client: Client) -> None:
        """Wait until the scheduler knows exactly the living workers."""
        deadline = time.monotonic() + 300
        expected = {one.pid for one in self._running}
        while set(client.run(os.getpid, on_error="ignore").values()) != expected:
            assert time.monotonic() < deadline, "workers did not come"
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill all workers."""
        for one in self._running:
            one.kill()
            one.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def cluster(n: int) -> Iterator[tuple[Client, Workers]]:
    """Start a scheduler in this process and workers in others, and connect to it."""
    with LocalCluster(
        n_workers=0,
        processes=True,  # so that it listens on TCP
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    ) as scheduler:
        workers = Workers(scheduler.scheduler_address, n=n)
        try:
            with Client(scheduler.scheduler_address) as client:
                workers.wait(client)
                yield client, workers
        finally:
            workers.stop()
