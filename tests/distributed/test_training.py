"""Training and batch recommendation on a Dask cluster: the same bytes as on one machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from reference import interactions
from support.workers import cluster

from sparserec_np import ClusterError, InputError, SparseRec, _version
from sparserec_np.cli.app import run
from sparserec_np.distributed import cluster as connecting
from sparserec_np.distributed import recommend_all

SIZES = {"history": "9KB", "embedding": "20KB"}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Client of a cluster of two worker processes."""
    with cluster(2) as (client, _):
        yield client


@pytest.fixture(scope="module")
def data():
    """Interactions that fill several batches, of groups cut by users and by positives."""
    return interactions.random_interactions(13, n_users=700, n_items=300, mean=22)


@pytest.fixture(scope="module")
def files(data, tmp_path_factory) -> list[str]:
    """The same in five files of two formats, the interactions of a user in several of them."""
    folder = tmp_path_factory.mktemp("parts")
    frame = pd.DataFrame({"user": data.user_of_entry(), "item": data.items})
    for part in range(4):
        frame.iloc[part::5].to_parquet(folder / f"{part}.parquet")
    frame.iloc[4::5].to_csv(folder / "4.csv", index=False)
    return [str(folder / "*.parquet"), str(folder / "4.csv")]


def model(users: str, **more: Any) -> SparseRec:
    size = SIZES[users]
    given = {"dim": 64, "max_size": size, "sweeps": 2, "exploration": 0.4, "fast": True}
    return SparseRec(users=users, **given | more)


@pytest.mark.parametrize("users", SIZES)
def test_a_cluster_makes_the_bytes_of_one_machine(client, data, files, users):
    alone = model(users, fast=False).fit(data)
    sent = model(users, fast=False).fit(data, dask=client)  # a race, validates, explores
    assert any(metrics.moved for metrics in sent.epoch_metrics_)
    assert sent.to_bytes() == alone.to_bytes()
    assert [r.ndcg for r in sent.epoch_metrics_] == [r.ndcg for r in alone.epoch_metrics_]
    alone = model(users).fit(data)
    assert model(users).fit(files, dask=client).to_bytes() == alone.to_bytes()
    urls = [f"file://{file}" for file in files]
    assert model(users).fit(urls, dask=client).to_bytes() == alone.to_bytes()


def test_a_cluster_uses_times(client, data, tmp_path):
    times = np.random.default_rng(1).permutation(data.nnz) * 60.0
    timed = replace(data, times=times)
    frame = pd.DataFrame({"user": data.user_of_entry(), "item": data.items, "time": times})
    for part in range(3):  # the rows of a user are in all of them
        frame.iloc[part::3].to_parquet(tmp_path / f"{part}.parquet")
    alone = model("history").fit(timed)
    sent = model("history").fit(timed, dask=client)
    assert (sent.recency_, sent.best_ndcg_) == (alone.recency_, alone.best_ndcg_)
    assert sent.to_bytes() == alone.to_bytes()
    files = str(tmp_path / "*.parquet")
    assert model("history").fit(files, dask=client).to_bytes() == alone.to_bytes()
    frame[["user", "item"]].iloc[:50].to_parquet(tmp_path / "3.parquet")
    assert model("history").fit(files, dask=client).recency_ == 0  # not all have times


def test_one_candidate_and_hardly_more_users_than_workers(client):
    few = interactions.random_interactions(3, n_users=9, n_items=12, mean=4)
    how = {"dim": 8, "epochs": 3, "candidates": 1}
    alone = SparseRec(**how).fit(few)
    assert SparseRec(**how).fit(few, dask=client).to_bytes() == alone.to_bytes()


def test_a_divergence_is_rolled_back_as_on_one_machine(client, data):
    how = {"dim": 16, "epochs": 3, "learning_rate": 60.0, "reg": 0.0}
    alone = SparseRec(**how).fit(data)
    assert alone.epoch_metrics_[0].loss > 0
    assert SparseRec(**how).fit(data, dask=client).to_bytes() == alone.to_bytes()


def test_checkpoints_pass_from_a_cluster_to_one_machine(client, data, tmp_path):
    expected = model("embedding", epochs=6).fit(data).to_bytes()

    def stop(metrics: Any) -> None:
        if metrics.epoch == 3:
            raise ClusterError("the scheduler is lost")

    keep = {"checkpoint": tmp_path / "kept"}
    with pytest.raises(ClusterError):
        model("embedding", epochs=6).fit(data, dask=client, on_epoch=stop, **keep)
    epochs = []
    again = model("embedding", epochs=6)
    again.fit(data, resume=True, on_epoch=lambda metrics: epochs.append(metrics.epoch), **keep)
    assert epochs[0] in (3, 4)
    assert again.to_bytes() == expected
    other = model("embedding", epochs=6).fit(data, dask=client, resume=True, **keep)
    assert other.to_bytes() == expected


def test_the_command_reads_with_the_workers(client, files, tmp_path):
    outputs = []
    for name, more in (("alone", []), ("there", ["--dask", client.scheduler.address])):
        out = tmp_path / f"{name}.srec"
        labels = tmp_path / "titles.csv"
        labels.write_text("id,title\n3,Three\n")
        line = ["fit", *files, "-o", str(out), "--epochs", "2", "--min-item-interactions", "20"]
        assert run([*line, "--labels", f"{labels}:id,title", "-q", *more]) == 0
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1]


def rows(folder: Path) -> list[Any]:
    return duckdb.sql(f"SELECT * FROM '{folder}/*.parquet' ORDER BY ALL").fetchall()


@pytest.mark.parametrize("users", SIZES)
def test_every_user_of_many_files_is_served_once(client, data, files, users, tmp_path):
    saved = tmp_path / "m.srec"
    model(users, epochs=2).fit(data).save(saved)
    single = tmp_path / "single.parquet"
    line = ["recommend", str(saved), "--all-users", "-k", "5"]
    parts = [part for file in files for part in ("--interactions", file)]
    assert run([*line, *parts, "-o", str(single)]) == 0
    assert run([*line, *parts, "-o", str(tmp_path / "here")]) == 0
    there = ["--dask", client.scheduler.address]
    assert run([*line, *parts, "-o", str(tmp_path / "there"), *there]) == 0
    names = [f"part-{number:05d}.parquet" for number in range(5)]
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == names
    found = rows(tmp_path / "there")
    assert found == rows(tmp_path / "here")
    expected = duckdb.sql(f"SELECT * FROM '{single}' ORDER BY ALL").fetchall()
    # The last bits of a score depend on the users that are ranked together, and so may the order.
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert np.allclose([row[3] for row in found], [row[3] for row in expected], atol=1e-5)


def test_a_dask_frame_is_served_as_files_are(client, data, tmp_path):
    dd = pytest.importorskip("dask.dataframe")
    saved = tmp_path / "m.srec"
    model("history", epochs=2).fit(data).save(saved)
    text = [f"u{user}" if user % 3 else str(user) for user in data.user_of_entry()]
    frame = dd.from_pandas(pd.DataFrame({"user": text, "item": data.items}), npartitions=6)
    expected = recommend_all(saved, frame, tmp_path / "here")
    assert expected.users == data.n_users
    assert recommend_all(saved, frame, tmp_path / "there", dask=client) == expected
    assert rows(tmp_path / "there") == rows(tmp_path / "here")
    assert not list((tmp_path / "there").glob(".*"))


def test_two_fits_at_once_take_turns(client, data, monkeypatch, caplog):
    monkeypatch.setattr(connecting, "_LOOK", 0.1)
    expected = model("history", epochs=3).fit(data).to_bytes()
    others: list[bytes] = []

    def fit_another() -> None:
        others.append(
            model("history", epochs=3).fit(data, dask=client.scheduler.address).to_bytes()
        )

    second = Thread(target=fit_another)

    def begin(metrics: Any) -> None:
        if metrics.epoch == 1:
            second.start()
            while "waiting for its end" not in caplog.text:
                time.sleep(0.01)
        assert not others

    assert model("history", epochs=3).fit(data, dask=client, on_epoch=begin).to_bytes() == expected
    second.join()
    assert others == [expected]


# Bad input


def test_no_scheduler_at_the_address(monkeypatch, capsys, files, tmp_path):
    monkeypatch.setattr(connecting, "_CONNECT", 0.5)
    line = ["fit", *files, "-o", str(tmp_path / "m.srec"), "--dask", "tcp://127.0.0.1:9"]
    assert run(line) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:9: start one with")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(connecting, "_WORKERS", 0.1)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        pytest.raises(InputError, match="has no workers: start some"),
    ):
        SparseRec(epochs=1).fit(([1, 2], [1, 2]), dask=cluster.scheduler_address)


def test_workers_with_another_version(client, monkeypatch):
    monkeypatch.setattr(_version, "__version__", "99.0")
    with pytest.raises(InputError, match=r"worker at .* has sparserec-np .*, and here is 99\.0"):
        SparseRec(epochs=1).fit(([1, 2], [1, 2]), dask=client)


@pytest.mark.parametrize("command", ["fit", "recommend"])
def test_a_file_without_the_columns(client, data, files, tmp_path, capsys, command):
    wrong = tmp_path / "wrong.parquet"
    pd.DataFrame({"a": [1.5], "b": [2.5], "c": ["x"], "d": [0], "e": [1]}).to_parquet(wrong)
    saved = tmp_path / "m.srec"
    model("history", epochs=1).fit(data).save(saved)
    capsys.readouterr()
    there = ["-o", str(tmp_path / "out"), "--dask", client.scheduler.address]
    if command == "fit":
        assert run(["fit", *files, str(wrong), *there]) == 2
    else:
        parts = ["--interactions", files[0], "--interactions", str(wrong)]
        assert run(["recommend", str(saved), "--all-users", *parts, *there]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {wrong}")
    assert not list(tmp_path.glob("out*/*"))


def test_requests_that_a_cluster_cannot_serve_are_refused_before_the_work(client, tmp_path):
    address = client.scheduler.address
    with pytest.raises(InputError, match="standard input"):
        SparseRec().fit(["-"], dask=address)
    with pytest.raises(InputError, match=r"a warm start runs on one machine.* leave out --dask"):
        SparseRec().fit([str(tmp_path / "x.csv")], dask=address, warm_start=tmp_path / "m.srec")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="give a new or empty folder"):
        recommend_all(tmp_path / "m.srec", "x.csv", tmp_path / "full")
