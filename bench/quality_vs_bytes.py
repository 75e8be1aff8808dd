"""Quality against bytes on disk: ours, implicit's ALS and BPR, EASE, popularity.

    python bench/quality_vs_bytes.py [--data gowalla ...] [--only ours|peers]
    python bench/quality_vs_bytes.py --race [--data gowalla ...]
    python bench/quality_vs_bytes.py --choices

Recall@20 and NDCG@20 on test.csv of models that were chosen on valid.csv and trained on both parts.
Ours is ``SparseRec(max_size=...).fit(train + valid)``, which holds out a part itself for its race;
nothing else is chosen. ``--race``: the same at one to three sizes of each data set beside
``fast=True``, which leaves hyperparameters at the formulas, with CPU-seconds, and the best figures
of others that we know of. Peers are tuned on valid.csv at each dim over the grids in
``rivals.py``; their bytes are those of the factors, without ids. "Folded in" ALS ships the items
alone and solves each user from their items, as a history model does. ``--choices``: the cost in
NDCG and the saved bytes of each choice in the file, on Gowalla.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
import numpy as np
import rivals
from common import Result, Results

from sparserec_np import InputError, SparseRec, evaluate
from sparserec_np.data import align
from sparserec_np.evaluation.evaluate import rank_by_popularity
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime import load
from sparserec_np.training.budget import SizeLimit, plan_budget
from sparserec_np.training.defaults import config_for
from sparserec_np.training.initialization import initialize
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.state import Chosen, TrainingState
from sparserec_np.training.trainer import Trainer, train
from sparserec_np.utils.parallel import thread_count
from sparserec_np.utils.sizes import parse_size

DATA = ("gowalla", "movielens-1m", "lastfm", "amazon-sports")
RACES: dict[str, tuple[tuple[str, ...], str]] = {
    "amazon-health": (("25KB", "100KB", "1MB"), ".1868 / .1455 EASE; .1823 / .1390 SL@20"),
    "retailrocket": (("250KB", "1MB"), ".0617 / .0477 EASE, 2.7 GB; .0491 / .0363 pruned, 250 KB"),
    "lastfm": (("100KB", "500KB"), ""),
    "movietweetings": (("250KB",), ".2329 / .1204 EASE"),
    "food": (("1MB",), ".0638 / .0468 ALS 256, 16 MB; .0635 / .0465 SL@20"),
    "amazon-sports": (("100KB", "1MB"), ""),
    "douban-book": (("250KB", "1MB"), ".2950 / .2846 EASE, 925 MB; .2864 / .2806 pruned, 100 KB"),
    "movielens-1m": (("150KB",), ""),
    "gowalla": (("1MB",), ".1941 / .1616 ChebyCF; .1765 / .1467 EASE"),
    "yelp2018": (("1MB",), ".0744 / .0617 LightGCN+BSL; .0657 / .0552 EASE"),
}
"""Sizes, and figures of others: R@20 / N@20."""
SIZES = ("100KB", "250KB", "500KB", "1MB", "2MB", "4MB")
DIMS = (4, 16, 64, 256)
EASE_MOST_ITEMS = 20_000
OURS = {"history": "ours, history", "embedding": "ours, embedding"}
STYLES = {  # colour and marker of a line in the plot
    "ours, history": ("#c0392b", "o"),
    "ours, embedding": ("#e67e22", "s"),
    "ALS float32": ("#1f4e79", "^"),
    "ALS int8": ("#5b9bd5", "^"),
    "ALS folded in, int8": ("#2e8b57", "v"),
    "BPR float32": ("#7f7f7f", "D"),
    "BPR int8": ("#bfbfbf", "D"),
    "EASE": ("#000000", "*"),
    "EASE pruned": ("#000000", "."),
    "popularity": ("#9467bd", "x"),
}


def ours(data: str, users: str, size: str, epochs: int | None, *, fast: bool = False) -> Result:
    """Fit with a size and defaults alone; score the file."""
    parts = common.load(data)
    began = time.process_time()
    try:
        model = SparseRec(users=users, max_size=size, epochs=epochs, fast=fast).fit(parts.both)
    except InputError as error:
        return {"impossible": str(error)}
    seconds = time.process_time() - began
    scores = evaluate(model.model_, parts.both, parts.test)
    info = model.model_.info()
    return {
        "recall@20": scores["recall"],
        "ndcg@20": scores["ndcg"],
        "bytes": info["bytes"],
        "weights": info["weights"],
        "dim": info["dim"],
        "epochs": model.best_epoch_,
        "changes": model.changes_,
        "cpu_seconds": round(seconds, 1),
    }


def factor_model(data: str, kind: str, dim: int, params: Result) -> Result:
    """Score a model of implicit in all forms in which it can be shipped."""
    parts = common.load(data)
    model = rivals.fit(kind, dim, params, parts.both)
    whole = rivals.Factors(model.user_factors, model.item_factors)
    name = kind.upper()
    forms: Result = {}
    for bits, label in ((32, "float32"), (8, "int8")):
        read_back, size = whole.file(bits)
        scores = rivals.judge_factors(read_back, parts.both, parts.test)
        forms[f"{name} {label}"] = {**scores, "bytes": size}
        if kind == "als":
            read_back, size = rivals.Factors(None, whole.items).file(bits)
            users = rivals.fold_in(read_back.items, params, parts.both)
            factors = rivals.Factors(users, read_back.items)
            scores = rivals.judge_factors(factors, parts.both, parts.test)
            forms[f"{name} folded in, {label}"] = {**scores, "bytes": size}
    return forms


def ease(data: str, params: Result) -> Result:
    """Score EASE: its float32 matrix, and its largest entries in the sizes of our models."""
    parts = common.load(data)
    weights = rivals.ease(parts.both, params["regularization"])
    scores = rivals.judge_ease(weights, parts.both, parts.test)
    found = {"EASE": {**scores, "bytes": weights.nbytes}}
    for size in map(parse_size, SIZES):
        kept = rivals.largest(weights, size)
        scores = rivals.judge_ease(kept, parts.both, parts.test)
        found[f"EASE pruned {size}"] = {**scores, "bytes": 3 * kept.nnz}
    return found


def popularity(data: str) -> Result:
    """Score the ranking by number of users; it takes an int32 for each item."""
    parts = common.load(data)
    both = parts.both
    wanted = align(parts.test, both.user_ids, both.item_ids)
    users = np.flatnonzero(wanted.interactions.user_degrees() + wanted.unknown_items)
    ranked = rank_by_popularity(both, 20)[users]
    return {**rivals.judge_ranking(ranked, users, both, parts.test), "bytes": 4 * both.n_items}


def points_of_ours(
    results: Results, data: str, sizes: tuple[str, ...], epochs: int | None
) -> Iterator[tuple[str, str, Result]]:
    """Measure our models; yield name, size asked for, result."""
    both = common.load(data).both
    for users, name in OURS.items():
        config = config_for(both, {"users": users}).to_dict()
        for size in sizes:
            what = {
                "model": name,
                "data": data,
                "size": size,
                "epochs": epochs,
                "config": config,
                "race": True,
            }
            yield (
                name,
                size,
                results.measure(
                    what,
                    lambda users=users, size=size: ours(data, users, size, epochs),
                ),
            )


def races(results: Results, names: Sequence[str], epochs: int | None) -> str:
    """Fit by formulas and with a race; format both in a table."""
    rows = []
    for data in names:
        sizes, others = RACES.get(data, (("20KB",), ""))
        for size in sizes:
            pair = {}
            for fast in (True, False):
                what = {"race of": data, "size": size, "epochs": epochs, "fast": fast}
                pair[fast] = results.measure(
                    what,
                    lambda data=data, size=size, fast=fast: ours(
                        data, "history", size, epochs, fast=fast
                    ),
                )
            quick, raced = pair[True], pair[False]
            rows.append(
                [
                    data,
                    size,
                    *(
                        "impossible"
                        if "impossible" in one
                        else f"{one['recall@20']:.4f} / {one['ndcg@20']:.4f}"
                        for one in (quick, raced)
                    ),
                    ", ".join(f"{name} {value:g}" for name, value in raced["changes"].items()),
                    f"{quick.get('cpu_seconds', 0):.0f}, {raced['cpu_seconds']:.0f}",
                    others,
                ]
            )
    header = ["data", "size", "formulas", "race", "chosen", "CPU-s of both", "others"]
    return common.table(rows, header)


def points_of_peers(
    results: Results, data: str, dims: tuple[int, ...], quick: bool
) -> Iterator[tuple[str, str, Result]]:
    """Measure the peers; yield name, dim and hyperparameters, result."""
    parts = common.load(data)

    def tuned(kind: str, dim: int) -> Result:
        grid = rivals.grid(kind, quick)
        users = rivals.TUNE_USERS
        what = {"tune": kind, "data": data, "dim": dim, "grid": grid, "users": users}
        found = results.measure(
            what, lambda: rivals.tune(kind, dim, parts.train, parts.valid, grid)
        )
        params: Result = found["params"]
        return params

    for kind in ("als", "bpr"):
        for dim in dims:
            params = tuned(kind, dim)
            what = {"model": kind, "data": data, "dim": dim, "params": params}
            forms = results.measure(
                what,
                lambda kind=kind, dim=dim, params=params: factor_model(data, kind, dim, params),
            )
            for name, result in forms.items():
                yield name, f"dim {dim}, {_in_words(params)}", result
    if parts.both.n_items <= EASE_MOST_ITEMS:
        params = tuned("ease", 0)
        what = {"model": "ease", "data": data, "params": params}
        for name, result in results.measure(what, lambda: ease(data, params)).items():
            yield name.rstrip(" 0123456789"), _in_words(params), result
    what = {"model": "popularity", "data": data}
    yield "popularity", "", results.measure(what, lambda: popularity(data))


def _in_words(params: Result) -> str:
    short = {"regularization": "reg", "learning_rate": "rate"}
    return ", ".join(
        f"{short.get(name, name)} {value:g}"
        for name, value in params.items()
        if name != "iterations"
    )


def quality_table(points: list[tuple[str, str, Result]]) -> str:
    """Format the points of a data set in a table, in the order of their bytes."""
    rows = []
    possible = [point for point in points if "impossible" not in point[2]]
    for name, setting, result in sorted(possible, key=lambda point: float(point[2]["bytes"])):
        rows.append(
            [
                f"**{name}**" if name in STYLES and name in OURS.values() else name,
                setting,
                f"{result['bytes']:,}",
                f"{result['recall@20']:.4f}",
                f"{result['ndcg@20']:.4f}",
            ]
        )
    text = common.table(rows, ["model", "setting", "bytes", "Recall@20", "NDCG@20"])
    too_small = [f"{name} in {size}" for name, size, one in points if "impossible" in one]
    return text + (f"\n\nImpossible: {', '.join(too_small)}." if too_small else "")


def plot(points: dict[str, list[tuple[str, str, Result]]], path: Path) -> None:
    """Draw NDCG@20 against bytes, a panel for each data set, two in a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(points), 2)
    lines = -(-len(points) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(3 + 4 * columns, 1 + 3.5 * lines), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for axis, (data, of_data) in zip(axes.flat, points.items(), strict=False):
        for name, (colour, marker) in STYLES.items():
            line = sorted(
                (one["bytes"], one["ndcg@20"])
                for found, _, one in of_data
                if found == name and "impossible" not in one
            )
            if line:
                axis.plot(
                    *zip(*line, strict=True), label=name, color=colour, marker=marker,
                    linewidth=2.2 if name in OURS.values() else 1.2,
                )  # fmt: skip
        axis.set(xscale="log", title=data, xlabel="bytes of the file", ylabel="NDCG@20 on test")
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(points) :]:
        axis.remove()
    drawn = {}
    for axis in figure.axes:
        drawn.update(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    names = [name for name in STYLES if name in drawn]
    figure.legend(
        [drawn[name] for name in names],
        names,
        loc="outside lower center",
        ncols=3 if columns == 1 else 5,
        frameon=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def choices(results: Results, data: str, size: str, epochs: int | None) -> str:
    """Measure costs and savings of the choices in the file; format them in tables."""
    config = config_for(common.load(data).both, {})
    what = {"choices": data, "size": size, "epochs": epochs, "config": config.to_dict()}
    same = results.measure(what, lambda: encode_otherwise(data, size, epochs))
    shipped = same["as shipped"]
    rows = [
        [
            name,
            f"{one['bytes']:,}",
            f"{one['bytes'] - shipped['bytes']:+,}",
            f"{one['ndcg@20']:.4f}",
            f"{100 * (one['ndcg@20'] / shipped['ndcg@20'] - 1):+.2f} %",
        ]
        for name, one in same.items()
    ]
    first = common.table(rows, ["the same weights", "bytes", "saved", "NDCG@20", "cost"])
    rows = []
    options: list[tuple[str, Result]] = [
        *((f"{bits} bits a weight", {"value_bits": bits}) for bits in range(3, 9)),
        ("no weights within a history", {"degree_exponent": 0.0}),
    ]
    for name, option in options:
        what = {
            "choices": data, "size": size, "epochs": epochs,
            "config": replace(config, **option).to_dict(), "trained": True,
        }  # fmt: skip
        one = results.measure(what, lambda option=option: retrained(data, size, epochs, option))
        rows.append([name, f"{one['bytes']:,}", f"{one['weights']:,}", f"{one['ndcg@20']:.4f}"])
    second = common.table(rows, ["the same bytes", "bytes", "weights", "NDCG@20"])
    return f'**{data}**, users="history", {size}\n\n{first}\n\n{second}'


def retrained(data: str, size: str, epochs: int | None, option: dict[str, Any]) -> Result:
    """Fit to a size with one option changed."""
    parts = common.load(data)
    model = SparseRec(max_size=size, epochs=epochs, **option).fit(parts.both)
    scores = evaluate(model.model_, parts.both, parts.test)
    info = model.model_.info()
    return {"ndcg@20": scores["ndcg"], "bytes": info["bytes"], "weights": info["weights"]}


def encode_otherwise(data: str, size: str, epochs: int | None) -> Result:
    """Train once; encode the same weights in several ways and score each file."""
    parts = common.load(data)
    config = config_for(parts.both, {})
    if epochs is None:
        epochs = SparseRec(max_size=size).fit(parts.both).best_epoch_
    budget = plan_budget(parts.both, config, SizeLimit.parse(max_size=size))
    with thread_count(None):
        parameters = initialize(parts.both, config, budget)
        train(Trainer(parameters, parts.both, config), TrainingState(parameters), epochs=epochs)
    arrays = model_arrays(parameters, parts.both, config, Chosen(epochs, None, 0.0), None)

    def judged(file: bytes) -> Result:
        scores = evaluate(load(file), parts.both, parts.test)
        return {"bytes": len(file), "ndcg@20": scores["ndcg"], "recall@20": scores["recall"]}

    found = {"as shipped": judged(encode(arrays))}
    for bits in range(3, 9):
        file = encode(replace(arrays, value_bits=bits))
        found[f"{bits} bits a weight"] = judged(file)
    for bits in (3, 4, 5, 8):
        found[f"{bits} bits a bias"] = judged(encode(arrays, bias_bits=bits))
    for bits in (2, 3, 6, 8):
        file = encode(arrays, history_bits=bits)
        found[f"{bits} bits a weight within a history"] = judged(file)
    even = replace(arrays, history_weights=None)
    found["no weights within a history, after training with them"] = judged(encode(even))
    positions = _bytes_of_positions(encode(arrays))
    plain = 2 * parameters.nnz + 4 * (parts.both.n_items + 1)
    shipped = found["as shipped"]
    found["positions as uint16 and int32 row starts"] = {
        **shipped, "bytes": shipped["bytes"] + plain - positions,
    }  # fmt: skip
    values = -(-parameters.nnz * arrays.value_bits // 8)
    found["values as float32 (not quantised)"] = {
        **judged_exactly(arrays, parts),
        "bytes": shipped["bytes"] + 4 * parameters.nnz - values,
    }
    return found


def _bytes_of_positions(file: bytes) -> int:
    parts: dict[str, int] = load(file).info()["parts"]
    return parts["items.low"] + parts["items.high"]


def judged_exactly(arrays: ModelArrays, parts: common.Parts) -> Result:
    """Score the weights as they were trained, before they are quantised."""
    from sparserec_np.data import select_users
    from sparserec_np.evaluation.metrics import average_metrics
    from sparserec_np.retrieval.batch_top_k import ItemLists, ItemScorer, UserRows, batch_top_k

    both = parts.both
    wanted = align(parts.test, both.user_ids, both.item_ids).interactions
    users = np.flatnonzero(wanted.user_degrees())
    known, wanted = select_users(both, users), select_users(wanted, users)
    weight = arrays.history_weights
    assert weight is not None
    table = arrays.items
    scorer = ItemScorer(
        table.indptr, table.dims, table.values, arrays.item_bias, weight,
        arrays.history_exponent, arrays.history_power, arrays.dim,
    )  # fmt: skip
    histories = UserRows(known.indptr, known.items, np.zeros(0, np.float32))
    rows = np.arange(known.n_users)
    seen = ItemLists(known.indptr, known.items)
    ranked, _ = batch_top_k(scorer, histories, rows, seen, history=True, k=20)
    result = average_metrics(ranked, wanted, wanted.user_degrees())
    return {"ndcg@20": result["ndcg"], "recall@20": result["recall"]}


def main() -> None:
    parser = common.parser(__doc__, default=DATA)
    parser.add_argument("--only", choices=("ours", "peers"))
    parser.add_argument("--race", action="store_true", help="formulas beside the race")
    parser.add_argument("--choices", action="store_true", help="the choices within the file")
    args = parser.parse_args()
    results = Results(args.results, "quality_vs_bytes")
    epochs = 2 if args.quick else None
    names = [common.GENERATED] if args.quick else args.data
    if args.race:
        some = names if args.quick or list(args.data) != list(DATA) else list(RACES)
        common.finish("race", races(results, some, epochs), args.write_readme)
        return
    if args.choices:
        data, size = (common.GENERATED, "20KB") if args.quick else ("gowalla", "1MB")
        common.finish("choices", choices(results, data, size, epochs), args.write_readme)
        return
    points: dict[str, list[tuple[str, str, Result]]] = {}
    for data in names:
        of_data = points.setdefault(data, [])
        if args.only != "peers":
            of_data.extend(
                points_of_ours(results, data, SIZES[:2] if args.quick else SIZES, epochs)
            )
        if args.only != "ours":
            of_data.extend(
                points_of_peers(results, data, DIMS[:2] if args.quick else DIMS, args.quick)
            )
    plot(points, args.results / "quality_vs_bytes.png")
    texts = [f"**{data}**\n\n{quality_table(found)}" for data, found in points.items()]
    common.finish("quality_vs_bytes", "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
