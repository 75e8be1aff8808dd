"""Cores and threads: their number, and a pool of threads for compiled code.

A container may show all cores of its machine and grant the time of one. Threads that wait for each
other then waste the granted time: with a quota of one core, two threads train at three quarters of
the speed of one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Barrier
from typing import Any

from sparserec_np.errors import InputError

LANES = 16
"""Users that compiled code scores side by side: one AVX-512 register of float32."""

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_QUOTAS = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))  # of versions 2 and 1


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Let compiled code called from this thread use so many threads, until the context ends.

    Args:
        threads: Number of threads, at most one for each core; None for all cores, or as many as
            the container grants time of (:func:`granted_cores`).

    Raises:
        InputError: ``threads`` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    cores = usable_cores()
    pool = _Pool(min(threads or granted_cores() or cores, cores))
    token = _current.set(pool)
    try:
        yield
    finally:
        _current.reset(token)
        pool.close()


def run_parallel(kernel: Any, *args: Any) -> None:
    """Call a compiled function in every thread of the current :func:`thread_count`.

    Args:
        kernel: Compiled with ``nogil``; called as ``kernel(seat, n_seats, *args)`` with a ``seat``
            from 0 for each of ``n_seats`` threads. The threads share out the work themselves.
        args: Further arguments, the same for all threads.
    """
    pool = _current.get()
    if pool is None:
        with thread_count(None):
            run_parallel(kernel, *args)
    else:
        pool.run(kernel, args)


class _Pool:
    """Threads that compiled code runs in; started when they are first needed.

    A pool lives no longer than the work it is for, so that a process which forks afterwards leaves
    nothing behind that the child would wait for.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._executor = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._has_started = False

    def run(self, kernel: Any, args: tuple[Any, ...]) -> None:
        if self._executor is None:
            kernel(0, 1, *args)
            return
        if not kernel.signatures:  # compiled here, where Ctrl-C is heard
            import numba

            kernel.compile(tuple(map(numba.typeof, (0, 1, *args))))
        # One task starts the others: an interrupt, which only the main thread hears, cannot leave
        # some of them waiting for one that was never started.
        self._executor.submit(self._run_all, self._executor, kernel, args).result()

    def _run_all(self, executor: ThreadPoolExecutor, kernel: Any, args: tuple[Any, ...]) -> None:
        if not self._has_started:
            self._start_all(executor)
        others = [
            executor.submit(kernel, seat, self.n_threads, *args)
            for seat in range(1, self.n_threads)
        ]
        kernel(0, self.n_threads, *args)
        for other in others:
            other.result()

    def _start_all(self, executor: ThreadPoolExecutor) -> None:
        """Start all threads, from within the first one.

        By itself an executor starts a thread when it knows of no idle one, and from Python 3.12 on
        it may take a busy one for idle. Threads that meet in a kernel would then wait for ever.
        """
        all_started = Barrier(self.n_threads)
        try:
            for _ in range(1, self.n_threads):
                executor.submit(all_started.wait)
            all_started.wait()
        except BaseException:  # such as no room for another thread
            all_started.abort()
            raise
        self._has_started = True

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()


_current: ContextVar[_Pool | None] = ContextVar("pool", default=None)


def usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Return how many cores' time the control groups of this process grant it.

    Of the packages of the extra ``[train]`` only DuckDB knows such a limit, and it does not serve
    here: it starts a database to tell, which takes a quarter of a second, and sees the innermost
    group alone, where the limit may be that of a group around it.

    Args:
        groups: Folder in which Linux shows control groups.
        own: File that names the groups of this process.

    Returns:
        The number, rounded up; None where there is no limit, or no Linux.
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    least = math.inf
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers  # version 2 names none
        inner = root / path.lstrip("/")
        # Within a container the path may be that of the host; its own group is then the root.
        for folder in (inner, *inner.parents):
            least = min(least, _limit(folder))
            if folder == root:
                break
    return None if least == math.inf else max(1, math.ceil(least))


def _limit(folder: Path) -> float:
    """Return how many cores' time a group grants; infinite if it sets no limit."""
    for names in _QUOTAS:
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0:  # version 1 has -1 for no limit, version 2 a word
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf
