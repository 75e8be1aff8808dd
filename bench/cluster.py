"""Fits and batch recommendations on Dask: the same bytes, their cost, and workers that die.

    python bench/cluster.py [--data gowalla movielens-1m] [--kills 10] [--only files overhead kills]

All workers are processes of this machine, so the figures show correctness and overhead, not the
gain of more machines. `files`: a fit without Dask and with 1, 2 and 4 workers, and the bytes that
the workers send each other. `overhead`: the time of a fit without Dask and with one worker, in
turn. `kills`: a worker is killed (`kill -9`) at a moment drawn uniformly from the length of a fit,
and of a batch recommendation. Ends with status 1 on any difference.
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
from sparserec_np.distributed.communicator import DaskCommunicator
from sparserec_np.training.trainer import Trainer

WORKERS = (1, 2, 4)
EPOCHS = {"history": 20, "embedding": 5}
SECTIONS = ("files", "overhead", "kills")
KINDS = ("seconds", "cpu_seconds")


@contextmanager
def cluster(n_workers: int) -> Iterator[Client]:
    """Start workers that have loaded compiled code and count the bytes that they send."""
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
            tiny = [1, 1, 2, 2, 3, 3], [1, 2, 1, 3, 2, 3]
            SparseRec(users=users, dim=16, epochs=2).fit(tiny, dask=client)
        client.run(count_bytes)
        yield client


def count_bytes(dask_worker: Any) -> None:
    """Count the bytes that this worker sends to others: before the first epoch, and in each one.

    Headers of messages and Dask's own traffic are left out.
    """
    counts = dask_worker.bytes_sent = [0]
    start, epoch = DaskCommunicator.start_all_to_all, Trainer.epoch

    def counted(comm: DaskCommunicator, messages: Any) -> Any:
        counts[-1] += sum(len(sent) for rank, sent in messages.items() if rank != comm.rank)
        return start(comm, messages)

    def noted(trainer: Trainer, *args: Any) -> Any:
        counts.append(0)
        return epoch(trainer, *args)

    patch.object(DaskCommunicator, "start_all_to_all", counted).start()
    patch.object(Trainer, "epoch", noted).start()


def bytes_sent(dask_worker: Any) -> list[int]:
    """Return the counts of this worker, and set them back to zero."""
    counts: list[int] = dask_worker.bytes_sent
    found, counts[:] = counts.copy(), [0]
    return found


def fit(data: Any, users: str, epochs: int, client: Client | None) -> Result:
    """Fit; return digest of the file, seconds, and bytes that the busiest worker sent."""
    began, cpu = time.perf_counter(), processor_seconds(client)
    model = SparseRec(users=users, epochs=epochs).fit(data, dask=client)
    seconds, cpu = time.perf_counter() - began, processor_seconds(client) - cpu
    sent = client.run(bytes_sent).values() if client else [[0, 0]]
    return {
        "digest": hashlib.sha256(model.to_bytes()).hexdigest(),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "sent_by_the_start": max(first for first, *_ in sent),
        "sent_an_epoch": max(sum(later) // len(later) for _, *later in sent),
        "interactions": model.interactions_.nnz,
    }


def processor_seconds(client: Client | None) -> float:
    """Return the processor time that this process and all workers have used so far, in seconds."""
    workers = client.run(time.process_time).values() if client else ()
    return time.process_time() + sum(workers)


def source(name: str, scratch: Path) -> str:
    """Return a file that the workers read themselves."""
    if name != GENERATED:
        return str(data_folder() / name / "train.csv")
    train = load(name).train
    path = scratch / "generated.csv"
    pairs = zip(train.user_of_entry().tolist(), train.items.tolist(), strict=True)
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    return str(path)


def files(
    names: list[str], workers: tuple[int, ...], results: Results, scratch: Path
) -> tuple[str, bool]:
    """Compare the files of fits; return a table, and whether all files are the same."""
    rows, same = [], True
    for name in names:
        path = source(name, scratch)
        for users, epochs in EPOCHS.items():
            what = {"files": name, "users": users, "epochs": epochs}
            warm_up(users)
            found = {}
            for n in (0, *workers):

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
    """Time fits without Dask and with a single worker, in turn; return a table."""
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
    """Do some work while a worker is killed."""

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
    """Kill workers at random moments; return a table, and whether all results are the same."""
    path, draw = source(name, scratch), random.Random(0)
    model, parts = scratch / "m.srec", scratch / "parts"
    parts.mkdir()
    whole = SparseRec(epochs=5).fit(path)
    whole.save(model)
    for part in range(8):
        some = duckdb.sql(f"SELECT * FROM read_csv('{path}') WHERE item % 8 = {part}")
        some.write_parquet(f"{parts}/{part}.parquet")

    def one_fit(client: Client) -> bytes:
        return SparseRec(epochs=5).fit(path, dask=client).to_bytes()

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
        fine &= what != "fit" or expected == whole.to_bytes()
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
            workers = WORKERS[:2] if args.quick else WORKERS
            text, same = files(names, workers, results, Path(folder))
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
