"""A Dask cluster whose workers tests may kill.

Its workers are processes of the test, without the nanny that Dask puts over each: how soon a nanny
brings a worker back depends on what else the machine does. Whoever kills one here starts another.
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
        scheduler: Its address, or the options that say where it is.
        n: How many.
    """

    def __init__(self, *scheduler: str, n: int) -> None:
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1"]
        self._command = [sys.executable, "-m", "distributed.cli.dask_worker", *scheduler, *options]
        self._running = [self._start() for _ in range(n)]

    def replace(self) -> None:
        """Kill the oldest that is alive, as ``kill -9`` does, and start another."""
        oldest = next(one for one in self._running if one.poll() is None)
        oldest.kill()
        oldest.wait()
        self.revive()

    def revive(self) -> None:
        """Start another for each that is dead."""
        alive = [one for one in self._running if one.poll() is None]
        self._running = alive + [self._start() for _ in range(len(self._running) - len(alive))]

    def wait(self, client: Client) -> None:
        """Wait until the scheduler knows those who are alive, and no others."""
        deadline = time.monotonic() + 300
        expected = {one.pid for one in self._running}
        while set(client.run(os.getpid, on_error="ignore").values()) != expected:
            assert time.monotonic() < deadline, "workers did not come"
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill all."""
        for one in self._running:
            one.kill()
            one.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def cluster(n: int) -> Iterator[tuple[Client, Workers]]:
    """Start a scheduler in this process and workers in others; connect."""
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
