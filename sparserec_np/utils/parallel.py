"""Cores and threads: how many there are, and how many compiled code uses.

A container may show all cores of its machine and grant the time of one. Threads that wait for each
other then spend what is granted on waiting: with a quota of one core, two threads train at three
quarters of the speed of one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparserec_np.errors import InputError

LANES = 16
"""Users that compiled code scores side by side: one AVX-512 register of float32."""

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_QUOTAS = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))  # of versions 2 and 1


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Set the number of threads of compiled code, and put it back afterwards.

    Args:
        threads: Number of threads; None for all cores, or as many as the container grants time of
            (:func:`granted_cores`). More than there are cores are not used.

    Raises:
        InputError: ``threads`` is below 1.
    """
    import numba

    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads or granted_cores() or before, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def granted_cores(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Find how many cores' time the control groups of this process grant it.

    Args:
        groups: Where Linux shows control groups.
        own: Says which ones the process is in.

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
    """Cores' time that one group grants; infinite if it sets no limit."""
    for names in _QUOTAS:
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0:  # version 1 has -1 for no limit, version 2 a word
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf
