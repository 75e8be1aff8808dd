"""The number of cores that a container grants, and the threads that run compiled code."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from sparserec_np.errors import InputError
from sparserec_np.utils import parallel


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "100000 100000\n"}, 1, id="version 2, in a container"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 2, id="rounded up"),
        pytest.param("0::/\n", {"cpu.max": "1000 100000\n"}, 1, id="at least one"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, None, id="version 2, no limit"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "300000 100000\n"}, 3, id="of the group around"),
        pytest.param(
            "0::/a/b\n",
            {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"},
            3,
            id="the inner one sets none",
        ),
        pytest.param(
            "0::/a/b\n",
            {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "500000 100000\n"},
            2,
            id="the least counts",
        ),
        pytest.param(
            "3:cpu,cpuacct:/docker/0a\n1:memory:/docker/0a\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            2,
            id="version 1, the path is the host's",
        ),
        pytest.param(
            "4:cpu:/pod\n0::/\n",
            {"cpu/pod/cpu.cfs_quota_us": "50000\n", "cpu/pod/cpu.cfs_period_us": "100000\n"},
            1,
            id="both versions at once",
        ),
        pytest.param(
            "4:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
            id="version 1, no limit",
        ),
        pytest.param("7:cpuset:/\n", {"cpu.max": "100000 100000"}, None, id="not of time"),
        pytest.param("0::/../..\n", {}, None, id="a group outside"),
        pytest.param("nonsense\n\n0::/\n", {"cpu.max": "five\n"}, None, id="nonsense"),
        pytest.param("0::/\n", {"cpu.max": "100000 0\n"}, None, id="a period of nothing"),
    ],
)
def test_granted_cores(
    tmp_path: Path, own: str, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert parallel.granted_cores(tmp_path / "groups", tmp_path / "own") == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert parallel.granted_cores(tmp_path, tmp_path / "not there") is None


@njit(nogil=True)
def note_call(seat, n_seats, calls, counts):
    """Count the calls of each seat, and note how many seats it was told of."""
    calls[seat] += 1
    counts[seat] = n_seats


def seats() -> int:
    """Return the number of threads that run a compiled function; each calls it once."""
    calls, counts = np.zeros(16, np.int64), np.zeros(16, np.int64)
    parallel.run_parallel(note_call, calls, counts)
    n = int(counts[0])
    assert calls.tolist() == [1] * n + [0] * (16 - n)
    assert counts.tolist() == [n] * n + [0] * (16 - n)
    return n


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Sets how many cores the control groups grant."""
    return lambda cores: monkeypatch.setattr(parallel, "granted_cores", lambda: cores)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_thread_calls_a_kernel_once(three_cores: None, threads: int) -> None:
    with parallel.thread_count(threads):
        for _ in range(20):
            assert seats() == threads


def test_threads_are_those_granted_unless_told(
    three_cores: None, granted: Callable[[int | None], None]
) -> None:
    for cores, threads, expected in (
        (1, None, 1),
        (2, None, 2),
        (None, None, 3),
        (5, None, 3),  # no more than there are cores
        (1, 2, 2),
        (1, 10_000, 3),
    ):
        granted(cores)
        with parallel.thread_count(threads):
            assert seats() == expected
    granted(2)
    assert seats() == 2  # outside of any context


def test_the_number_of_threads_is_restored(
    three_cores: None, granted: Callable[[int | None], None]
) -> None:
    granted(3)
    with parallel.thread_count(2):
        with pytest.raises(RuntimeError), parallel.thread_count(1):
            assert seats() == 1
            raise RuntimeError
        assert seats() == 2
    assert seats() == 3


def test_threads_end_with_their_context(three_cores: None) -> None:
    before = set(threading.enumerate())
    with parallel.thread_count(3):
        assert set(threading.enumerate()) == before  # started when they are first needed
        seats()
        assert len(set(threading.enumerate()) - before) == 3
    assert set(threading.enumerate()) == before
    seats()
    assert set(threading.enumerate()) == before


def test_less_than_one_thread_is_refused() -> None:
    with pytest.raises(InputError, match="threads must be at least 1, not 0"):  # noqa: SIM117
        with parallel.thread_count(0):
            pass


@njit(nogil=True)
def fail(seat, n_seats, failing, calls):
    """Raise an error in one of the threads."""
    calls[seat] += 1
    if seat == failing:
        raise ValueError("this seat fails")


@pytest.mark.parametrize(("threads", "failing"), [(1, 0), (3, 0), (3, 2)])
def test_an_error_in_a_kernel_is_raised(three_cores: None, threads: int, failing: int) -> None:
    calls = np.zeros(3, np.int64)
    with parallel.thread_count(threads):
        with pytest.raises(ValueError, match="this seat fails"):
            parallel.run_parallel(fail, failing, calls)
        assert seats() == threads  # the threads are there for the next kernel
    assert calls.tolist() == [1] * threads + [0] * (3 - threads)
