"""The claims of SparseRec (arXiv 2411.12205), measured on the file as saved.

    python bench/claims.py [--data gowalla movielens-1m] [--sparsity 0.8 0.9 0.95] [--seeds 1]

With users="embedding" at dim 128: (1) a mask from NMF against a random one; (2) growth by the
gradient summed over an epoch against the gradient of the last batch; (3) summing it for sampled
rows against all rows, in quality, memory and time; and, at the same number of weights, a narrow
dense table and dense training -> magnitude pruning -> fine-tuning. Every variant has the engine's
hyperparameters, chooses its epochs on valid.csv, learns again from train + valid, and is scored
once on test.csv. Each runs in a fresh process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any
from unittest.mock import patch

import common
import numpy as np

from sparserec_np.data import Interactions
from sparserec_np.evaluation.evaluate import evaluate
from sparserec_np.modelfile import writer
from sparserec_np.runtime import load
from sparserec_np.training import trainer
from sparserec_np.training.budget import plan_budget
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.initialization import starting_rows
from sparserec_np.training.kernels.arrays import GROUPS, Embeddings, ItemParameters
from sparserec_np.training.kernels.bpr import run_batches
from sparserec_np.training.kernels.sparse_coding import empty_factor
from sparserec_np.training.prune_and_grow import no_growth
from sparserec_np.training.trainer import EpochMetrics, Parameters
from sparserec_np.training.validation import Validator

DIM = 128
DEFAULT = "NMF mask, exploration (as shipped)"

Start = Callable[[Parameters | None, Interactions, Config, int, tuple[int, int]], Parameters]


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        start: Makes the tables that training starts from.
        exploration: Whether weights move.
        rows: Share of the rows whose gradient is summed; None: the engine's default of rows.
        last_batch: Whether the gradient of one batch alone decides what grows.
        shape: ``"sparse"``: dim 128 with the budget; ``"narrow"``: as many columns as the budget
            fills; ``"pruned"``: dim 128 dense, pruned to the budget, then fine-tuned.
    """

    start: Start
    exploration: bool = True
    rows: float | None = None
    last_batch: bool = False
    shape: str = "sparse"


@dataclass(frozen=True)
class Stage:
    """One training: where it starts and what it may store.

    Attributes:
        start: Makes its tables from those of the stage before, if there is one.
        config: Hyperparameters.
        dim: Columns.
        weights: Weights of the item and of the user table.
    """

    start: Start
    config: Config
    dim: int
    weights: tuple[int, int]


def from_nmf(
    before: Parameters | None,
    data: Interactions,
    config: Config,
    dim: int,
    weights: tuple[int, int],
) -> Parameters:
    """Start as the engine does."""
    return trainer.start(data, config, dim, weights)


def at_random(
    before: Parameters | None,
    data: Interactions,
    config: Config,
    dim: int,
    weights: tuple[int, int],
) -> Parameters:
    """Start from random positions, evenly many a row, and Gaussian values of the same norm."""
    rng = np.random.default_rng(config.seed)

    def rows(n: int, budget: int) -> Embeddings:
        seed = np.uint64(rng.integers(1 << 62))
        made = starting_rows(empty_factor(n, 1), dim, budget, 1.0, config.initial_square, seed)
        made.values[:] = rng.normal(0, config.initial_norm / math.sqrt(budget / n), budget)
        return made

    ones = np.ones(data.n_items, np.float32)
    squares = np.full(data.n_items, config.initial_square, np.float32)
    items = ItemParameters(rows(data.n_items, weights[0]), np.zeros_like(ones), squares, ones)
    return Parameters(items, rows(data.n_users, weights[1]), dim)


def pruned(
    before: Parameters | None,
    data: Interactions,
    config: Config,
    dim: int,
    weights: tuple[int, int],
) -> Parameters:
    """Keep the largest weights of the stage before, at least one a row; Adagrad starts afresh."""
    assert before is not None
    items = before.items
    kept = prune(items.rows, weights[0], config.initial_square)
    squares = np.full(items.bias.size, config.initial_square, np.float32)  # best tables have none
    users = prune(before.users, weights[1], config.initial_square)
    return Parameters(items._replace(rows=kept, bias_squares=squares), users, dim)


def prune(rows: Embeddings, budget: int, initial_square: float) -> Embeddings:
    """Keep the ``budget`` largest weights of a table without empty rows, the best of each row."""
    row = np.repeat(np.arange(rows.indptr.size - 1), np.diff(rows.indptr))
    size = np.abs(rows.values).astype(np.float64)
    best = np.lexsort((-size, row))[rows.indptr[:-1]]
    size[best] = np.inf
    kept = np.sort(np.argsort(-size, kind="stable")[:budget])
    indptr = np.concatenate(
        ([0], np.cumsum(np.bincount(row[kept], minlength=rows.indptr.size - 1)))
    )
    squares = np.full(budget, initial_square, np.float32)
    return Embeddings(indptr.astype(np.int64), rows.dims[kept], rows.values[kept], squares)


VARIANTS = {
    DEFAULT: Variant(from_nmf),
    "random mask, exploration": Variant(at_random),
    "NMF mask, fixed": Variant(from_nmf, exploration=False),
    "random mask, fixed": Variant(at_random, exploration=False),
    "grown by the last batch, same rows": Variant(from_nmf, last_batch=True),
    "grown by the last batch, all rows": Variant(from_nmf, rows=1, last_batch=True),
    "gradient of all rows": Variant(from_nmf, rows=1),
    "gradient of 1/4 of the rows": Variant(from_nmf, rows=1 / 4),
    "gradient of 1/20 of the rows": Variant(from_nmf, rows=1 / 20),
    "narrow dense table, random start": Variant(at_random, exploration=False, shape="narrow"),
    "narrow dense table, NMF start": Variant(from_nmf, exploration=False, shape="narrow"),
    "dense -> prune -> fine-tune": Variant(at_random, exploration=False, shape="pruned"),
}


def stages(variant: Variant, data: Interactions, config: Config, sparsity: float) -> list[Stage]:
    """Give the trainings that a variant consists of."""
    plan = plan_budget(data, config, sparsity=sparsity, max_size=None, labels=None)
    counts = (data.n_items, data.n_users)
    if not variant.exploration:
        config = replace(config, exploration=0.0)
    if variant.rows is not None:
        lines = math.ceil(variant.rows * sum(counts))
        config = replace(config, buffer_rows=lines, buffer_bytes=max(1 << 14, 4 * lines * DIM))
    sparse = Stage(variant.start, config, DIM, plan.weights)
    if variant.shape == "sparse":
        return [sparse]
    if variant.shape == "narrow":
        dim = sum(plan.weights) // sum(counts)
        return [replace(sparse, dim=dim, weights=(counts[0] * dim, counts[1] * dim))]
    dense = replace(sparse, weights=(counts[0] * DIM, counts[1] * DIM))
    return [dense, replace(sparse, start=pruned)]


def last_batch_only(first: int, last: int, starts: Any, *rest: Any) -> tuple[float, int]:
    """Train as ``run_batches`` does, but sum gradients in the epoch's last whole batch alone."""
    *arguments, item_growth, user_growth = rest
    growing = (item_growth, user_growth)
    still = tuple(no_growth(growth.slot.size, growth.sums.shape[1]) for growth in growing)
    batches = -(-(starts.size - 1) // GROUPS)
    begin = min(max(first, batches - 2), last)
    end = min(max(first, batches - 1), last)
    loss, triples = 0.0, 0
    for a, b, growth in ((first, begin, still), (begin, end, growing), (end, last, still)):
        if a < b:
            part_loss, part = run_batches(a, b, starts, *arguments, *growth)
            loss, triples = loss + part_loss, triples + part
    return loss, triples


@dataclass
class Learned:
    """What a plan of trainings gave."""

    tables: Parameters | None = None
    epochs: list[int] = field(default_factory=list)
    """Epochs that each training kept."""
    ndcg: float | None = None
    """NDCG@20 on what was held out."""
    moved: int = 0
    """Weights that exploration moved, all epochs together."""
    start_seconds: float = 0.0
    train_seconds: float = 0.0

    def count(self, record: EpochMetrics) -> None:
        """Count what an epoch moved."""
        self.moved += record.moved


def learn(
    plan: list[Stage], data: Interactions, held: Interactions | None, epochs: list[int]
) -> Learned:
    """Do the trainings one after the other.

    Args:
        plan: What to do.
        data: What to learn from.
        held: What each training chooses its epoch by, or None.
        epochs: Epochs of each training at most.
    """
    done = Learned()
    for stage, most in zip(plan, epochs, strict=True):
        validate = None if held is None else Validator(data, held, stage.config)
        began = perf_counter()
        tables = stage.start(done.tables, data, stage.config, stage.dim, stage.weights)
        started = perf_counter()
        done.tables, epoch, done.ndcg = trainer.train(
            tables, data, stage.config, epochs=most, validate=validate, on_epoch=done.count
        )
        done.epochs.append(epoch)
        done.start_seconds += started - began
        done.train_seconds += perf_counter() - started
    return done


def run(data: str, sparsity: float, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Choose on valid, learn from train + valid, score the file on test."""
    parts = common.load(data)
    both = parts.both
    settings = Config(**config)
    variant = VARIANTS[name]
    common.warm_up("embedding", candidates=settings.candidates)
    before = common.settled_bytes()
    growth: AbstractContextManager[Any] = nullcontext()
    if variant.last_batch:
        growth = patch.object(trainer, "run_batches", last_batch_only)
    with growth:
        plan = stages(variant, parts.train, settings, sparsity)
        chosen = learn(plan, parts.train, parts.valid, [stage.config.epochs for stage in plan])
        plan = stages(variant, both, settings, sparsity)
        final = learn(plan, both, None, chosen.epochs)
    assert final.tables is not None
    peak = common.peak_bytes() - before
    budget = plan_budget(both, settings, sparsity=sparsity, max_size=None, labels=None)
    budget = replace(budget, dim=plan[-1].dim, weights=plan[-1].weights)
    file = writer.encode(budget.arrays(final.tables, both, None, {}))
    scores = evaluate(load(file), both, parts.test)
    last = plan[-1].config
    lines = min(last.buffer_rows, last.buffer_bytes // (4 * DIM), both.n_items + both.n_users)
    return {
        "recall@20": scores["recall"],
        "ndcg@20": scores["ndcg"],
        "valid_ndcg@20": chosen.ndcg,
        "weights": final.tables.weights,
        "dim": plan[-1].dim,
        "file_bytes": len(file),
        "epochs": chosen.epochs,
        "moved": final.moved,
        "start_seconds": final.start_seconds,
        "seconds_an_epoch": final.train_seconds / sum(chosen.epochs),
        "buffer_bytes": 4 * DIM * lines if last.exploration else 0,
        "peak_bytes": peak,
    }


def tables_of(results: dict[tuple[str, float, str], list[dict[str, Any]]]) -> str:
    """Format one table a data set: quality, then what it took."""
    texts = []
    for data in dict.fromkeys(key[0] for key in results):
        sparsities = sorted({key[1] for key in results if key[0] == data})
        quality, cost = [], []
        for name in dict.fromkeys(key[2] for key in results if key[0] == data):
            cells, costs = [], []
            for sparsity in sparsities:
                runs = results[data, sparsity, name]
                recall, ndcg = (
                    np.mean([run[metric] for run in runs]) for metric in ("recall@20", "ndcg@20")
                )
                spread = np.ptp([run["ndcg@20"] for run in runs])
                cells.append(
                    f"{recall:.4f} / {ndcg:.4f}" + (f" ({spread:.4f})" if len(runs) > 1 else "")
                )
                epoch, peak = (
                    np.median([run[cost] for run in runs])
                    for cost in ("seconds_an_epoch", "peak_bytes")
                )
                buffer = runs[0]["buffer_bytes"] / common.MB
                moved = runs[0]["moved"] / runs[0]["weights"]
                costs.append(
                    f"{epoch:.2f} s / {peak / common.MB:.0f} MB / {buffer:.1f} MB / {moved:.2f}"
                )
            weights = " / ".join(f"{results[data, s, name][0]['weights']:,}" for s in sparsities)
            quality.append([name, *cells, weights])
            cost.append([name, *costs])
        heads = [f"sparsity {sparsity:g}" for sparsity in sparsities]
        texts.append(
            f"**{data}**, Recall@20 / NDCG@20 on test (in brackets: spread of NDCG over seeds)\n\n"
            + common.table(quality, ["variant", *heads, "weights"])
            + f"\n\n**{data}**, seconds an epoch / peak memory of training / buffer of gradients / "
            "moves a weight\n\n" + common.table(cost, ["variant", *heads])
        )
    return "\n\n".join(texts)


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla", "movielens-1m"))
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.8, 0.9, 0.95])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--epochs", type=int, help="length of the schedule, if not the engine's")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant")
    args = parser.parse_args()
    results = common.Results(args.results, "claims")
    measured: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for data in [common.GENERATED] if args.quick else args.data:
        train = common.load(data).train
        for sparsity in [0.9] if args.quick else args.sparsity:
            for name in args.variants:
                for seed in range(args.seeds):
                    given = {"users": "embedding", "dim": DIM, "seed": seed}
                    config = config_for(train, given)
                    if args.quick or args.epochs:
                        config = replace(config, epochs=args.epochs or 2)
                    what = {
                        "data": data, "sparsity": sparsity, "name": name,
                        "config": config.to_dict(),
                    }  # fmt: skip
                    result = results.measure(what, lambda what=what: common.fresh(run, **what))
                    measured.setdefault((data, sparsity, name), []).append(result)
    common.finish("claims", tables_of(measured), args.write_readme)


if __name__ == "__main__":
    main()
