"""Faults for real: signals, full disks, read-only folders, too little memory.

A fit that is killed, interrupted or out of memory leaves the old model whole; resumed from its
checkpoints it ends in the same bytes as an undisturbed one.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

EPOCHS = 24  # short ones, but enough of them to be hit anywhere
COMMAND = [sys.executable, "-m", "sparserec_np", "fit"]
QUICK = ["--dim", "32", "--sparsity", "0.8", "--epochs", str(EPOCHS), "--candidates", "2"]


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 20,000 interactions."""
    rng = np.random.default_rng(1)
    users = rng.integers(0, 1500, 20_000)
    items = (800 * rng.random(20_000) ** 2).astype(int)
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    lines = [f"{user},{item}\n" for user, item in zip(users, items, strict=True)]
    path.write_text("user,item\n" + "".join(lines))
    return path


@pytest.fixture(scope="module", params=["history", "embedding"])
def users(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def expected(ratings: Path, users: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an undisturbed fit."""
    path = tmp_path_factory.mktemp("whole") / "whole.srec"
    done = subprocess.run([*command(ratings, users), "-o", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


def command(ratings: Path, users: str) -> list[str]:
    return [*COMMAND, str(ratings), "--users", users, *QUICK]


def begin(command: list[str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"ended without {text!r}")


def test_control_c_keeps_the_last_epoch_and_says_how_to_go_on(ratings, users, expected, tmp_path):
    model = tmp_path / "model.srec"
    kept = [*command(ratings, users), "-o", model, "--checkpoint", tmp_path / "kept"]
    with begin([*kept, "--checkpoint-every", "1h"]) as process:
        wait_for(process, "epoch 5/")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "warning: stopped: the state after epoch " in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    done = subprocess.run([*kept, "--resume"], capture_output=True, text=True)
    assert "going on after epoch " in done.stderr
    assert model.read_bytes() == expected
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_second_control_c_stops_at_once(ratings, tmp_path):
    model = tmp_path / "model.srec"
    kept = tmp_path / "kept"
    with begin([*command(ratings, "history"), "-o", model, "--checkpoint", kept]) as process:
        wait_for(process, "epoch 5/")
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(timeout=60) in (130, -signal.SIGINT), said
    assert "Traceback" not in said
    assert not model.exists()
    assert [path.name for path in kept.iterdir() if path.name.startswith(".")] == []


def test_kill_9_at_random_moments(ratings, users, expected, tmp_path):
    model, kept = tmp_path / "model.srec", tmp_path / "kept"
    model.write_bytes(b"the old model")
    fit = [*command(ratings, users), "-o", model, "--checkpoint", kept, "--resume", "-q"]
    draw = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(fit)
        try:
            process.wait(timeout=draw.uniform(0.5, 3.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert model.read_bytes() in (b"the old model", expected)
    subprocess.run(fit, check=True)
    assert model.read_bytes() == expected
    assert list(kept.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_costs_neither_the_old_model_nor_the_work(ratings, expected, users, tiny_disk):
    model = tiny_disk / "model.srec"
    model.write_bytes(b"the old model")
    (tiny_disk / "other").write_bytes(bytes(116_000))
    kept = tiny_disk.parent / "kept"
    fit = [*command(ratings, users), "-o", model, "--checkpoint", kept]
    done = subprocess.run(fit, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written (No space left on device); make room there" in done.stderr
    assert model.read_bytes() == b"the old model"
    assert sorted(path.name for path in tiny_disk.iterdir()) == ["model.srec", "other"]
    (tiny_disk / "other").unlink()
    subprocess.run([*fit, "--resume", "-q"], check=True)
    assert model.read_bytes() == expected


def test_a_disk_that_is_too_small_for_checkpoints_does_not_stop_the_fit(
    ratings, expected, users, tiny_disk
):
    model = tiny_disk.parent / "model.srec"
    fit = [*command(ratings, users), "-o", model, "--checkpoint", tiny_disk / "kept"]
    (tiny_disk / "other").write_bytes(bytes(116_000))
    done = subprocess.run(fit, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "No space left on device); make room there, or name another place; the fit goes on" in (
        done.stderr
    )
    assert model.read_bytes() == expected
    assert list((tiny_disk / "kept").iterdir()) == []


def test_a_read_only_target_is_noticed_before_the_work(ratings, tiny_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    fit = command(ratings, "history")
    for more in (
        ["-o", tiny_disk / "model.srec"],
        ["-o", tmp_path / "model.srec", "--checkpoint", tiny_disk],
        ["-o", tmp_path / "model.srec", "--checkpoint", tiny_disk / "kept"],
    ):
        done = subprocess.run([*fit, *more], capture_output=True, text=True)
        assert done.returncode == 2
        assert "rows" not in done.stderr  # nothing was read yet
        assert str(tiny_disk) in done.stderr


def test_too_little_memory_is_said_and_the_old_model_stays(ratings, tmp_path):
    model = tmp_path / "model.srec"
    model.write_bytes(b"the old model")

    def limit() -> None:  # enough to load all libraries, not for the reading or the training
        resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))

    done = subprocess.run(
        [*command(ratings, "history"), "-o", model, "--dim", "4096", "--threads", "1"],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode in (1, 2), done.stderr
    assert "memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert model.read_bytes() == b"the old model"
    assert [path.name for path in tmp_path.iterdir()] == ["model.srec"]
