"""The first minute: what a first fit costs, what the next ones do, and implicit's ALS beside them.

    python bench/first_minute.py [--data movielens-small gowalla food amazon-health] [--repeats 3]

Cold commands (`fit`, `demo`) start with no compiled code, in an empty `NUMBA_CACHE_DIR`; their cost
is that of the whole process. Warm fits are measured over the imports, in fresh processes, with all
that a fit does by itself: the trainings, the race, with ``fast=True`` the choice of the epoch
alone, the file. All run in turn, on all cores; CPU-seconds are those of all threads. Medians.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import common
import numpy as np
import rivals
from common import Result

from sparserec_np.data import Interactions, read
from sparserec_np.data.splitting import hold_out

SIZES = {"gowalla": "1MB", "food": "1MB"}
ALS = {"regularization": 30.0, "alpha": 10.0, "iterations": 15}
COLD = {
    "cold demo": "demo -o",
    "cold fit --fast": "fit {ratings} --fast -o",
    "cold fit": "fit {ratings} -o",
}


def parts(data: str) -> tuple[Interactions, Interactions]:
    """Return what is learned from, and the test part (of MovieLens small a fifth, the latest)."""
    if data == "movielens-small":
        return hold_out(read(common.data_folder() / data / "ratings.csv"), fraction=0.2)
    return common.load_for_test(data)


def cold(command: str) -> Result:
    """Run a command of the program without any compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        ratings = str(common.data_folder() / "movielens-small" / "ratings.csv")
        args = [ratings if word == "{ratings}" else word for word in COLD[command].split()]
        line = [sys.executable, "-m", "sparserec_np", *args, str(Path(folder) / "out"), "-q"]
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        began, before = time.perf_counter(), _children()
        subprocess.run(line, check=True, env=environment, stdout=subprocess.DEVNULL)
        return {"cpu": _children() - before, "seconds": time.perf_counter() - began}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(data: str, *, fast: bool) -> Result:
    """Fit by the defaults, once compiled code is loaded."""
    from sparserec_np import SparseRec
    from sparserec_np.evaluation.evaluate import evaluate

    known, test = parts(data)
    common.warm_up("history")
    began, before = time.perf_counter(), time.process_time()
    model = SparseRec(max_size=SIZES.get(data), fast=fast).fit(known)
    used = {"cpu": time.process_time() - before, "seconds": time.perf_counter() - began}
    return {**used, "ndcg": evaluate(model.model_, known, test)["ndcg"]}


def als(data: str, dim: int) -> Result:
    """Fit implicit's ALS."""
    known, test = parts(data)
    matrix = rivals.matrix(known)
    model = rivals.make("als", dim, ALS)
    began, before = time.perf_counter(), time.process_time()
    model.fit(matrix, show_progress=False)
    used = {"cpu": time.process_time() - before, "seconds": time.perf_counter() - began}
    x, y = np.asarray(model.user_factors), np.asarray(model.item_factors)
    quality = rivals.judge(lambda block: x[block] @ y.T, known, test)
    return {**used, "ndcg": quality["ndcg@20"]}


def medians(runs: dict[str, Callable[[], Result]], repeats: int) -> Result:
    """Run everything in turn; return the medians of each."""
    rounds = [{name: run() for name, run in runs.items()} for _ in range(repeats)]
    return {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        for name in runs
    }


def main() -> None:
    names = ("movielens-small", *common.NAMES)
    parser = common.parser(__doc__, names, ("movielens-small", "gowalla", "food", "amazon-health"))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    sets = [common.GENERATED] if args.quick else args.data
    results = common.Results(args.results, "first_minute")
    rows = []
    for data in sets:
        runs: dict[str, Callable[[], Result]] = {
            "ours": lambda data=data: common.fresh(ours, data=data, fast=False),
            "ours, fast": lambda data=data: common.fresh(ours, data=data, fast=True),
            "implicit ALS 64": lambda data=data: common.fresh(als, data=data, dim=64),
            "implicit ALS 256": lambda data=data: common.fresh(als, data=data, dim=256),
        }
        if data == "movielens-small":
            runs |= {command: lambda command=command: cold(command) for command in COLD}
        found = results.measure(
            {"data": data, "repeats": args.repeats},
            lambda runs=runs: medians(runs, 1 if args.quick else args.repeats),
        )
        for name, one in found.items():
            ndcg = f"{one['ndcg']:.4f}" if "ndcg" in one else ""
            rows.append([data, name, f"{one['cpu']:.1f}", f"{one['seconds']:.1f}", ndcg])
    heads = ["data", "", "CPU-seconds", "seconds", "NDCG@20 on test"]
    common.finish("first_minute", common.table(rows, heads), args.write_readme)


if __name__ == "__main__":
    main()
