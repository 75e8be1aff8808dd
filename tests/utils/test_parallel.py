"""How many cores a container grants, by control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

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
def test_granted(tmp_path: Path, own: str, files: dict[str, str], expected: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert parallel.granted_cores(tmp_path / "groups", tmp_path / "own") == expected


def test_without_control_groups_nothing_limits(tmp_path: Path) -> None:
    assert parallel.granted_cores(tmp_path, tmp_path / "not there") is None


def test_threads_are_those_granted_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = numba.get_num_threads()
    monkeypatch.setattr(parallel, "granted_cores", lambda: 1)
    with parallel.thread_count(None):
        assert numba.get_num_threads() == 1
    with parallel.thread_count(there):
        assert numba.get_num_threads() == there
    monkeypatch.setattr(parallel, "granted_cores", lambda: there + 3)
    with parallel.thread_count(None):
        assert numba.get_num_threads() == there
