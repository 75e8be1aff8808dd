"""Our models beside implicit's ALS and BPR: training, latency, throughput, memory, size.

    python bench/peers.py [--data gowalla movielens-1m] [--repeats 3]

All models are measured in turn within one run; figures are medians of repeats after a warm-up. The
peers have their best hyperparameters on valid.csv; training figures come from fresh processes,
reading the data excluded. The last table compares the figures with the bars of the project.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import common
from common import Result

from sparserec_np.training.defaults import config_for

if TYPE_CHECKING:
    from sparserec_np import SparseRec

PEER_DIMS = {"als": (64, 256), "bpr": (64,)}
USERS = ("history", "embedding")
OURS = "history"  # the user model of the shortest fit
SIZE = "1MB"
SCHEDULES = (1, 2, 3, 4, 6, 8, 12, 16)  # numbers of epochs that the shortest fit may have
TRIPLES_DIM, TRIPLES_A_ROW = 256, 6.4
TRIPLES_REPEATS = 3  # times those of the rest: other processes disturb these most


# Training. The functions up to the next heading run in fresh processes and import what they need
# themselves, as the time from the command on includes the imports.


def train_ours(data: str, users: str, epochs: int | None, compiled: bool, started: float) -> Result:
    """Fit our model on train + valid.

    Args:
        data: Name of the data set.
        users: User model.
        epochs: Argument of the estimator.
        compiled: Load compiled code beforehand, and measure time and memory of the fit alone, not
            the time from the command on.
        started: Start of the process, in seconds since 1970.
    """
    if compiled:
        common.warm_up(users)
    began = time.time()
    known, test = common.load_for_test(data)
    reading = time.time() - began
    from sparserec_np import SparseRec, evaluate

    before, began = common.settled_bytes(), time.time()
    model = SparseRec(users=users, max_size=SIZE, epochs=epochs).fit(known)
    ended = time.time()
    peak = common.peak_bytes() - before
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.srec"
        model.save(path)
        size = path.stat().st_size
    return {
        "fit_seconds": ended - began,
        "command_seconds": None if compiled else ended - started - reading,
        "peak_bytes": peak if compiled else None,
        "file_bytes": size,
        "ndcg@20": evaluate(model.model_, known, test)["ndcg"],
        "epochs": model.best_epoch_,
    }


def train_peer(data: str, kind: str, dim: int, params: Result, started: float) -> Result:
    """Fit implicit's model on train + valid."""
    began = time.time()
    known, test = common.load_for_test(data)
    reading = time.time() - began
    import rivals

    x = rivals.matrix(known)
    before, began = common.settled_bytes(), time.time()
    model = rivals.make(kind, dim, params)
    model.fit(x, show_progress=False)
    ended = time.time()
    peak = common.peak_bytes() - before
    factors = rivals.Factors(model.user_factors, model.item_factors)
    return {
        "fit_seconds": ended - began,
        "command_seconds": ended - started - reading,
        "peak_bytes": peak,
        "file_bytes": factors.file(32)[1],
        "ndcg@20": rivals.judge_factors(factors, known, test)["ndcg@20"],
    }


def valid_ndcg(data: str, users: str, epochs: int) -> Result:
    """Return NDCG@20 on valid after a fit on train of ``epochs`` epochs."""
    from sparserec_np import SparseRec, evaluate

    parts = common.load(data)
    model = SparseRec(users=users, max_size=SIZE, epochs=epochs).fit(parts.train)
    return {"valid_ndcg@20": evaluate(model.model_, parts.train, parts.valid)["ndcg"]}


def triples_model(threads: int, epochs: int) -> SparseRec:
    """Make the estimator for counting triples: embedding model, uniform negatives."""
    from sparserec_np import SparseRec

    return SparseRec(
        users="embedding", dim=TRIPLES_DIM, sparsity=1 - TRIPLES_A_ROW / TRIPLES_DIM,
        candidates=1, epochs=epochs, threads=threads,
    )  # fmt: skip


def triples_ours(data: str, threads: int, epochs: int) -> Result:
    """Measure triples a second of the embedding model with uniform negatives."""
    known, _ = common.load_for_test(data)
    common.warm_up("embedding", candidates=1)
    model = triples_model(threads, epochs).fit(known)
    return {"triples_per_second": median(one.triples_per_second for one in model.epoch_metrics_)}


def triples_peer(data: str, threads: int, epochs: int) -> Result:
    """Measure triples a second of implicit's BPR; those that it skips count as well."""
    import rivals

    known, _ = common.load_for_test(data)
    seconds: list[float] = []
    rivals.make("bpr", 64, {"iterations": epochs}, threads).fit(
        rivals.matrix(known),
        show_progress=False,
        callback=lambda epoch, elapsed, *rest: seconds.append(elapsed),
    )
    return {"triples_per_second": known.nnz / median(seconds)}


def in_turn(runs: dict[str, Callable[[], Result]], repeats: int) -> Result:
    """Make measurements in turn; return the median of each figure, and all of them."""
    all_of: dict[str, list[Result]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            all_of[name].append(run())
    return {
        name: {
            **{figure: _median([one[figure] for one in ones]) for figure in ones[0]},
            "all": ones,
        }
        for name, ones in all_of.items()
    }


def _median(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None


def training(data: str, tuned: Result, shortest: int, repeats: int, epochs: int | None) -> Result:
    """Measure time, memory, size and quality of fits, each in a fresh process."""
    runs: dict[str, Callable[[], Result]] = {}
    for users in USERS:
        runs[f"ours, {users}, chooses its epoch"] = lambda users=users: common.fresh(
            train_ours, data=data, users=users, epochs=epochs, compiled=True, started=time.time()
        )
    runs[f"ours, {OURS}, {shortest} epochs"] = lambda: common.fresh(
        train_ours, data=data, users=OURS, epochs=shortest, compiled=False, started=time.time()
    )
    for kind, dims in PEER_DIMS.items():
        for dim in dims:
            params = tuned[f"{kind} {dim}"]["params"]
            runs[f"implicit {kind.upper()} {dim}"] = lambda kind=kind, dim=dim, params=params: (
                common.fresh(
                    train_peer, data=data, kind=kind, dim=dim, params=params, started=time.time()
                )
            )
    return in_turn(runs, repeats)


def shortest_schedule(results: common.Results, data: str, wanted: float, quick: bool) -> int:
    """Find the smallest number of epochs whose NDCG@20 on valid reaches the best peer's."""
    train = common.load(data).train
    for epochs in SCHEDULES[:1] if quick else SCHEDULES:
        config = config_for(train, {"users": OURS, "epochs": epochs}).to_dict()
        what = {"section": "schedule", "data": data, "size": SIZE, "config": config}
        found = results.measure(
            what,
            lambda epochs=epochs: common.fresh(valid_ndcg, data=data, users=OURS, epochs=epochs),
        )
        if found["valid_ndcg@20"] >= wanted:
            break
    return epochs


# Tables.


def training_table(found: Result) -> str:
    rows = [
        [
            name,
            f"{one['fit_seconds']:.1f}",
            _or_blank(one["command_seconds"], ".1f"),
            f"{one['ndcg@20']:.4f}",
            _or_blank(one["peak_bytes"], ",.0f", common.MB),
            f"{one['file_bytes']:,}",
        ]
        for name, one in found.items()
    ]
    heads = ["model", "fit, s", "command to model, s", "NDCG@20", "peak memory, MB", "file, bytes"]
    return common.table(rows, heads)


def requests_table(delays: Result, batches: Result) -> str:
    rows = []
    for name in dict.fromkeys([*delays, *batches]):
        one, batch = delays.get(name), batches.get(name)
        rows.append(
            [
                name,
                f"{one['p50_us']:.0f}" if one else "",
                f"{one['p99_us']:.0f}" if one else "",
                f"{batch['users_per_second']:,.0f}" if batch else "",
            ]
        )
    return common.table(rows, ["top 10", "p50, us", "p99, us", "users/s, all users"])


def bars(found: dict[str, Result], shortest: str) -> str:
    """Format the bars of the project: what was measured, what was aimed at, and the verdict."""
    train, delays, batches, triples = (
        found[section] for section in ("training", "latency", "throughput", "triples")
    )
    ours, peer = train[shortest], train["implicit ALS 256"]
    implicit = delays["implicit ALS 64"]["p50_us"]
    batch = batches["implicit ALS 64"]["users_per_second"]
    at_most = [
        (
            f"command to NDCG@20 of ALS 256 ({ours['ndcg@20']:.4f} against {peer['ndcg@20']:.4f})",
            ours["command_seconds"] / peer["command_seconds"],
            1.0,
            ours["ndcg@20"] >= peer["ndcg@20"],
        ),
        *(
            (f"request p50, {name}", delays[f"ours, {name}"]["p50_us"] / implicit, most, True)
            for name, most in (
                ("embedding, compiled", 0.25),
                ("history of 20, compiled", 0.5),
                ("embedding, numpy", 1.0),
                ("history of 20, numpy", 1.0),
            )
        ),
    ]
    at_least = [
        (
            "triples/s, 2 threads each, against BPR 64",
            triples["ours, 2 threads"]["triples_per_second"]
            / triples["implicit BPR 64, 2 threads"]["triples_per_second"],
            2.0,
        ),
        *(
            (
                f"all users, {name}",
                batches[f"ours, {name}, compiled"]["users_per_second"] / batch,
                least,
            )
            for name, least in (("embedding", 4.0), ("history", 1.5))
        ),
    ]
    rows = [
        [name, f"{ratio:.2f}", f"at most {bar:g}", common.verdict(ratio <= bar and good)]
        for name, ratio, bar, good in at_most
    ]
    rows += [
        [name, f"{ratio:.2f}", f"at least {bar:g}", common.verdict(ratio >= bar)]
        for name, ratio, bar in at_least
    ]
    return common.table(rows, ["ours / implicit", "ratio", "bar", ""])


def _or_blank(figure: float | None, form: str, unit: float = 1) -> str:
    return "" if figure is None else format(figure / unit, form)


def tune_peers(results: common.Results, data: str, quick: bool) -> Result:
    """Find the best hyperparameters of each peer on valid."""
    import rivals

    parts = common.load(data)
    tuned: Result = {}
    for kind, dims in PEER_DIMS.items():
        for dim in dims:
            grid = rivals.grid(kind, quick)
            what = {"section": "tune", "data": data, "kind": kind, "dim": dim, "grid": grid}
            tuned[f"{kind} {dim}"] = results.measure(
                what,
                lambda kind=kind, dim=dim, grid=grid: rivals.tune(
                    kind, dim, parts.train, parts.valid, grid
                ),
            )
    return tuned


def measure(results: common.Results, data: str, repeats: int, quick: bool) -> str:
    """Measure one data set, and format the tables."""
    tuned = tune_peers(results, data, quick)
    wanted = max(one["valid_ndcg@20"] for one in tuned.values())
    shortest = shortest_schedule(results, data, wanted, quick)
    both = common.load(data).both
    configs = {users: config_for(both, {"users": users}).to_dict() for users in USERS}
    common_part = {
        "data": data, "repeats": repeats, "quick": quick, "size": SIZE, "config": configs,
    }  # fmt: skip

    rounds = 1 if quick else TRIPLES_REPEATS * repeats

    def section(name: str, run: Callable[[], Result], **more: int) -> Result:
        return results.measure({"section": name, **common_part, **more}, run)

    found = {
        "training": section(
            "training", lambda: training(data, tuned, shortest, repeats, 2 if quick else None)
        ),
        "triples": section(
            "triples",
            lambda: in_turn(
                {
                    "ours, 2 threads": lambda: common.fresh(
                        triples_ours, data=data, threads=2, epochs=12
                    ),
                    "implicit BPR 64, 2 threads": lambda: common.fresh(
                        triples_peer, data=data, threads=2, epochs=24
                    ),
                },
                rounds,
            ),
            repeats=rounds,
        ),
    }

    def requests() -> Result:
        import serving

        contestants = serving.Contestants(data, tuned["als 64"]["params"], SIZE, 2 if quick else 8)
        return {
            "latency": serving.latency(contestants, repeats),
            "throughput": serving.throughput(contestants, repeats),
        }

    found |= section("requests", requests)
    triples = [
        [name, f"{one['triples_per_second'] / 1e6:.2f}"] for name, one in found["triples"].items()
    ]
    params = "; ".join(f"{name}: {one['params']}" for name, one in tuned.items())
    shortest_name = f"ours, {OURS}, {shortest} epochs"
    return "\n\n".join(
        [
            f"**{data}** (peers' best on valid: {params})",
            training_table(found["training"]),
            common.table(triples, ["embedding, dim 256, 6.4 weights a row", "M triples/s"]),
            requests_table(found["latency"], found["throughput"]),
            *([bars(found, shortest_name)] if quick or data == "gowalla" else []),
        ]
    )


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla", "movielens-1m"))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    results = common.Results(args.results, "peers")
    names = [common.GENERATED] if args.quick else args.data
    repeats = 1 if args.quick else args.repeats
    texts = [measure(results, name, repeats, args.quick) for name in names]
    common.finish("peers", "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
