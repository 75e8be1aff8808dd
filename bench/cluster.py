"""The same job on Dask: the same bytes, at what cost, whatever dies.

    python bench/cluster.py [--data gowalla movielens-1m] [--kills 10] [--only files overhead kills]

All workers are processes of this machine, so the figures show correctness and overhead, not what
more machines give. `files`: a fit without Dask and with 1, 2 and 4 workers, and what the workers
send each other. `overhead`: the time of a fit without Dask and with one worker, in turn.
`kills`: `kill -9` of a worker at a moment drawn uniformly from the length of a fit, and of a batch
recommendation. Ends with status 1 on any difference.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any
from unittest.mock import patch

import duckdb
from common import GENERATED, MB, Result, Results, data_folder, finish, load, parser, table, warm_up
from distributed import Client, LocalCluster

from sparserec_np import SparseRec
from sparserec_np.distributed import recommend_all
from sparserec_np.distributed.training import DaskBackend

WORKERS = (1, 2, 4)
EPOCHS = {"history": 20, "embedding": 5}
SECTIONS = ("files", "overhead", "kills")
KINDS = ("seconds", "cpu_seconds")


@contextmanager
def cluster(n_workers: int) -> Iterator[Client]:
    """Workers that have loaded compiled code."""
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as made,
        Client(made) as client,
    ):
        for users in EPOCHS:
            warm_up_on(client, users)
        yield client


def warm_up_on(client: Client, users: str) -> None:
    SparseRec(users=users, dim=16, epochs=2).fit(
        ([1, 1, 2, 2, 3, 3], [1, 2, 1, 3, 2, 3]), dask=client
    )


def fit(data: Any, users: str, epochs: int, client: Client | None) -> Result:
    """Fit once; digest of the file, seconds, and bytes that the busiest worker sent."""
    sent: list[int] = []
    real = DaskBackend.epoch

    def epoch(engine: DaskBackend, *args: Any) -> Any:
        if not sent:
            sent.append(max(engine.bytes_sent()))  # of the start
        done = real(engine, *args)
        sent.append(max(engine.bytes_sent()))
        return done

    began, cpu = time.perf_counter(), processor_seconds(client)
    with patch.object(DaskBackend, "epoch", epoch):
        model = SparseRec(users=users, epochs=epochs).fit(data, dask=client)
    seconds = time.perf_counter() - began
    return {
        "digest": hashlib.sha256(model._bytes).hexdigest(),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(processor_seconds(client) - cpu, 2),
        "sent_by_the_start": sent[0] if sent else 0,
        "sent_an_epoch": (sent[-1] - sent[0]) // (len(sent) - 1) if sent else 0,
        "interactions": model.interactions_.nnz,
    }


def processor_seconds(client: Client | None) -> float:
    """Seconds of processors that this process and all workers have used so far."""
    workers = client.run(time.process_time).values() if client else ()
    return time.process_time() + sum(workers)


def source(name: str, scratch: Path) -> str:
    """A file that the workers read themselves."""
    if name != GENERATED:
        return str(data_folder() / name / "train.csv")
    train = load(name).train
    path = scratch / "generated.csv"
    pairs = zip(train.user_of_entry().tolist(), train.items.tolist(), strict=True)
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    return str(path)


def files(names: list[str], results: Results, scratch: Path) -> tuple[str, bool]:
    rows, same = [], True
    for name in names:
        path = source(name, scratch)
        for users, epochs in EPOCHS.items():
            what = {"files": name, "users": users, "epochs": epochs}
            warm_up(users)
            found = {}
            for n in (0, *WORKERS):

                def run(n: int = n, how: tuple[str, str, int] = (path, users, epochs)) -> Result:
                    if n == 0:
                        return fit(*how, None)
                    with cluster(n) as client:
                        return fit(*how, client)

                found[n] = results.measure({**what, "workers": n}, run)
            same &= len({one["digest"] for one in found.values()}) == 1
            for n, one in found.items():
                rows.append(
                    (
                        name,
                        users,
                        n or "no Dask",
                        one["digest"][:12],
                        f"{one['sent_by_the_start'] / MB:.1f}",
                        f"{one['sent_an_epoch'] / MB:.2f}",
                        f"{one['sent_an_epoch'] / one['interactions']:.1f}",
                    )
                )
    heads = (
        "data",
        "users",
        "workers",
        "file",
        "MB sent, start",
        "MB an epoch",
        "bytes an interaction",
    )
    return table(rows, heads), same


def overhead(name: str, repeats: int, results: Results, scratch: Path) -> str:
    """A fit without Dask and one with a single worker, in turn."""
    path = source(name, scratch)
    rows: list[tuple[Any, ...]] = []

    def run() -> Result:
        warm_up("history")
        runs: dict[str, list[Result]] = {"no Dask": [], "one worker": []}
        with cluster(1) as client:
            for _ in range(repeats):
                runs["no Dask"].append(fit(path, "history", EPOCHS["history"], None))
                runs["one worker"].append(fit(path, "history", EPOCHS["history"], client))
        return runs

    runs = results.measure({"overhead": name, "repeats": repeats}, run)
    plain = {kind: median(one[kind] for one in runs["no Dask"]) for kind in KINDS}
    for how, measured in runs.items():
        own = {kind: median(one[kind] for one in measured) for kind in KINDS}
        cells = (f"{own[kind]:.1f} ({own[kind] / plain[kind] - 1:+.0%})" for kind in KINDS)
        rows.append((name, how, *cells))
    return table(rows, ("data", "how", "seconds", "of processors"))


def killed(client: Client, work: Callable[[Client], Any], after: float) -> Any:
    """Do some work while one of the workers is killed."""

    def kill() -> None:
        time.sleep(after)
        pids = client.run(os.getpid, on_error="ignore")
        if pids:
            os.kill(sorted(pids.values())[0], signal.SIGKILL)

    thread = Thread(target=kill)
    thread.start()
    try:
        return work(client)
    finally:
        thread.join()


def kills(name: str, n: int, scratch: Path) -> tuple[str, bool]:
    path, draw = source(name, scratch), random.Random(0)
    model, parts = scratch / "m.srec", scratch / "parts"
    parts.mkdir()
    whole = SparseRec(epochs=5).fit(path)
    whole.save(model)
    for part in range(8):
        some = duckdb.sql(f"SELECT * FROM read_csv('{path}') WHERE item % 8 = {part}")
        some.write_parquet(f"{parts}/{part}.parquet")

    def one_fit(client: Client) -> bytes:
        return SparseRec(epochs=5).fit(path, dask=client)._bytes

    def batch(client: Client) -> list[Any]:
        out = scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        recommend_all(model, f"{parts}/*.parquet", out, dask=client)
        assert len(list(out.iterdir())) == 8
        return duckdb.sql(f"SELECT * FROM '{out}/*.parquet' ORDER BY ALL").fetchall()

    rows, fine = [], True
    for what, work in (("fit", one_fit), ("batch recommendation", batch)):
        with cluster(2) as client:
            work(client)
            began = time.perf_counter()
            expected = work(client)
            length = time.perf_counter() - began
        fine &= what != "fit" or expected == whole._bytes
        same = 0
        for turn in range(n):
            after = draw.uniform(0, length)
            with cluster(2) as client:  # a new one each time: some nannies never come back
                same += killed(client, work, after) == expected
            print(
                f"{what} {turn + 1}: killed after {after:.2f} of {length:.2f} s",
                file=sys.stderr,
                flush=True,
            )
        fine &= same == n
        rows.append((name, what, f"{length:.1f}", n, same))
    return table(rows, ("data", "what", "seconds", "kills", "identical")), fine


def main() -> None:
    made = parser(__doc__, default=("gowalla", "movielens-1m"))
    made.add_argument("--kills", type=int, default=10)
    made.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    args = made.parse_args()
    names = [GENERATED] if args.quick else args.data
    texts, fine = [], True
    with tempfile.TemporaryDirectory() as folder:
        results = Results(args.results, "cluster")
        if "files" in args.only:
            text, same = files(names, results, Path(folder))
            texts.append(text)
            fine &= same
        if "overhead" in args.only:
            texts.append(overhead(names[0], 1 if args.quick else 3, results, Path(folder)))
        if "kills" in args.only:
            text, same = kills(names[-1], 1 if args.quick else args.kills, Path(folder))
            texts.append(text)
            fine &= same
    finish("cluster", "\n\n".join(texts), args.write_readme)
    sys.exit(not fine)


if __name__ == "__main__":
    main()
