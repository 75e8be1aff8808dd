"""Workers and schedulers that are killed: the same bytes, nothing written twice, nothing lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import duckdb
import pandas as pd
import pytest
from distributed import Client
from reference import interactions
from support.workers import Workers, cluster

from sparserec_np import ClusterError, SparseRec
from sparserec_np.cli.app import run
from sparserec_np.distributed import recommend_all
from sparserec_np.distributed.worker_group import WorkerGroup

SIZES = {"history": "5KB", "embedding": "9KB"}


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Client, Workers]]:
    """A cluster of two workers."""
    with cluster(2) as made:
        yield made


@pytest.fixture
def client(two) -> Client:
    """The client of that cluster, with both workers alive."""
    client, workers = two
    workers.revive()
    workers.wait(client)
    return client


@pytest.fixture
def workers(two) -> Workers:
    return two[1]


@pytest.fixture(scope="module")
def data():
    """Interactions that fill several batches."""
    return interactions.random_interactions(13, n_users=300, n_items=150, mean=20)


def model(users: str, **more: Any) -> SparseRec:
    given = {"dim": 32, "max_size": SIZES[users], "sweeps": 2, "exploration": 0.4, "fast": True}
    return SparseRec(users=users, **given | more)


@pytest.mark.parametrize("users", SIZES)
def test_a_fit_that_loses_a_worker_ends_in_the_same_bytes(client, workers, data, users, caplog):
    expected = model(users, epochs=6).fit(data).to_bytes()
    seen = []

    def lose(metrics: Any) -> None:
        seen.append(metrics.epoch)
        if metrics.epoch == 3:
            if users == "history":  # between two epochs
                workers.replace()
            else:  # within one, as a rule
                Timer(0.02, workers.replace).start()

    found = model(users, epochs=6).fit(data, dask=client, on_epoch=lose)
    assert found.to_bytes() == expected
    assert seen == list(range(1, 7))  # no epoch is counted twice
    assert "is lost: going on from the last epoch" in caplog.text


def rows(folder: Path) -> list[Any]:
    return duckdb.sql(f"SELECT * FROM '{folder}/*.parquet' ORDER BY ALL").fetchall()


def test_a_batch_that_loses_workers_writes_everything_once(client, workers, data, tmp_path):
    dd = pytest.importorskip("dask.dataframe")
    saved, first_time = tmp_path / "m.srec", tmp_path / "first time"
    model("history", epochs=2).fit(data).save(saved)
    frame = pd.DataFrame({"user": data.user_of_entry(), "item": data.items})
    first_time.touch()

    def part(number: int) -> pd.DataFrame:
        if number == 3 and first_time.exists():
            first_time.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return frame.iloc[number::6]

    there = tmp_path / "there"

    def kill_at_the_first_file() -> None:
        while not list(there.glob("part-*.parquet")):
            time.sleep(0.005)
        workers.replace()

    thread = Thread(target=kill_at_the_first_file)
    thread.start()
    frames = dd.from_map(part, range(6), meta=frame.iloc[:0])
    found = recommend_all(saved, frames, there, dask=client)
    thread.join()
    assert not first_time.exists()
    assert found == recommend_all(saved, frames, tmp_path / "here")
    assert found.users == data.n_users
    assert rows(there) == rows(tmp_path / "here")
    names = [f"part-{number:05d}.parquet" for number in range(6)]
    assert sorted(path.name for path in there.iterdir()) == names  # and no hidden ones


def test_workers_that_die_again_and_again_end_in_one_sentence(client, workers, monkeypatch):
    monkeypatch.setattr("sparserec_np.distributed.worker_group._TRIES", 2)
    group, calls, here = WorkerGroup(client, None), [], os.getpid()

    class Deadly:  # local, so that it is sent by value
        """Interactions that kill the process of a worker that looks at them."""

        @property
        def indptr(self) -> None:
            if os.getpid() != here:
                os.kill(os.getpid(), signal.SIGKILL)

    def deadly(rank: int, size: int) -> tuple[Deadly]:
        calls.append(rank)
        return (Deadly(),)

    done = Event()

    def revive() -> None:
        while not done.wait(0.2):
            workers.revive()

    reviving = Thread(target=revive)
    reviving.start()
    try:
        with pytest.raises(ClusterError, match="workers were lost 2 times in a row"):
            group.call("take", deadly)
    finally:
        done.set()
        reviving.join()
    assert calls == [0, 1, 0, 1]


# Slower: a scheduler of its own


@pytest.mark.dask
def test_a_lost_scheduler_leaves_a_checkpoint_for_one_machine(data, tmp_path):
    file = str(tmp_path / "data.parquet")
    pd.DataFrame({"user": data.user_of_entry(), "item": data.items}).to_parquet(file)
    info = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(info)]
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    scheduler = subprocess.Popen(
        [*start, "--no-dashboard", *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    worker = None
    try:
        while not info.exists():
            time.sleep(0.1)
        worker = Workers(*where, n=1)
        address = json.loads(info.read_text())["address"]
        out, kept = tmp_path / "m.srec", tmp_path / "kept"
        line = ["fit", file, "-o", str(out), "--epochs", "200", "--checkpoint", str(kept)]
        with subprocess.Popen(
            [sys.executable, "-m", "sparserec_np", *line, "--dask", address],
            stderr=subprocess.PIPE,
            text=True,
        ) as fit:
            for said in fit.stderr:
                if "epoch 5/" in said:
                    break
            scheduler.kill()
            said = fit.stderr.read()
            assert fit.wait(timeout=120) == 1, said
        assert said.splitlines()[-1].startswith("error: the Dask scheduler at tcp")
        assert "Traceback" not in said
        assert not out.exists()
    finally:
        scheduler.kill()
        scheduler.wait()
        if worker is not None:
            worker.stop()
    assert list(kept.glob("checkpoint-*.npz"))
    assert run([*line[:-2], "--checkpoint", str(kept), "--resume", "-q"]) == 0
    whole = tmp_path / "whole.srec"
    assert run(["fit", file, "-o", str(whole), "--epochs", "200", "-q"]) == 0
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.dask
@pytest.mark.parametrize("turn", range(6))
def test_kills_at_any_moment(client, workers, data, turn):
    users = ("history", "embedding")[turn % 2]
    expected = model(users).fit(data).to_bytes()
    killing = Timer(random.Random(turn).uniform(0, 2), workers.replace)
    killing.start()
    assert model(users).fit(data, dask=client).to_bytes() == expected
    killing.join()
