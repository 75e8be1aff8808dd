"""The claims of SparseRec (arXiv 2411.12205), measured on the file as saved.

    python bench/claims.py [--data gowalla movielens-1m] [--sparsity 0.8 0.9 0.95] [--seeds 1]

With users="embedding" at dim 128: (1) a mask from NMF against a random one; (2) growth by the
gradient accumulated over an epoch against the gradient of the last batch; (3) accumulating it for
sampled rows against all rows, in quality, memory and time; and, at the same number of weights, a
narrow dense table and dense training -> magnitude pruning -> fine-tuning. Every variant has the
engine's hyperparameters, chooses its epochs on valid.csv, trains anew on train + valid, and is
scored once on test.csv. Each runs in a fresh process.
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
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime import load
from sparserec_np.training import trainer
from sparserec_np.training.budget import Budget, SizeLimit, plan_budget
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.initialization import initialize, starting_rows
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.kernels.selection import select
from sparserec_np.training.kernels.sparse_coding import empty_factor
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.prune_and_grow import empty_accumulator
from sparserec_np.training.state import Chosen, EpochMetrics, TrainingState
from sparserec_np.training.trainer import Observer, Trainer, train
from sparserec_np.training.validation import Validator
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.utils.parallel import run_parallel, thread_count

DIM = 128
DEFAULT = "NMF mask, exploration (as shipped)"

Start = Callable[[Parameters | None, Interactions, Config, Budget], Parameters]
"""Makes the parameters that a stage starts from; its first argument are those that the stage before
ended with."""


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Attributes:
        start: Makes the parameters that training starts from.
        exploration: Whether weights move.
        rows: Share of the rows whose gradient is accumulated; None: the engine's default.
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
    """A training: its start, its hyperparameters and its budget."""

    start: Start
    config: Config
    budget: Budget


def from_nmf(
    before: Parameters | None, data: Interactions, config: Config, budget: Budget
) -> Parameters:
    """Start as the engine does."""
    return initialize(data, config, budget)


def at_random(
    before: Parameters | None, data: Interactions, config: Config, budget: Budget
) -> Parameters:
    """Start from random positions, evenly many a row, and Gaussian values of the same norm."""
    rng = np.random.default_rng(config.seed)
    square = config.initial_square

    def rows(n: int, nnz: int) -> Embeddings:
        seed = np.uint64(rng.integers(1 << 62))
        made = starting_rows(empty_factor(n, 1), config.dim, nnz, 1.0, square, seed)
        made.values[:] = rng.normal(0, config.initial_norm / math.sqrt(nnz / n), nnz)
        return made

    ones = np.ones(data.n_items, np.float32)
    items = rows(data.n_items, budget.item_nnz)
    return Parameters(
        ItemParameters(items, np.zeros_like(ones), np.float32(square) * ones, ones),
        rows(data.n_users, budget.user_nnz),
        config.dim,
    )


def pruned(
    before: Parameters | None, data: Interactions, config: Config, budget: Budget
) -> Parameters:
    """Keep the largest weights of the stage before, at least one a row; Adagrad starts afresh."""
    assert before is not None
    items, square = before.items, config.initial_square
    return Parameters(
        items._replace(
            rows=prune(items.rows, budget.item_nnz, square),
            bias_squares=np.full(items.bias.size, square, np.float32),
        ),
        prune(before.users, budget.user_nnz, square),
        config.dim,
    )


def prune(rows: Embeddings, nnz: int, initial_square: float) -> Embeddings:
    """Keep the ``nnz`` largest weights of embeddings without empty rows, the largest of each row.

    Of equal weights the first ones are kept.
    """
    row = np.repeat(np.arange(rows.indptr.size - 1), np.diff(rows.indptr))
    size = np.abs(rows.values)
    size[np.lexsort((-size, row))[rows.indptr[:-1]]] = np.inf  # the largest of each row
    kept = select(size.view(np.uint32), nnz, True)
    indptr = indptr_from_counts(np.bincount(row[kept], minlength=rows.indptr.size - 1))
    squares = np.full(nnz, initial_square, np.float32)
    return Embeddings(indptr, rows.dims[kept], rows.values[kept], squares)


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
    """Return the stages of a variant."""
    budget = plan_budget(data, config, SizeLimit(sparsity=sparsity))
    n_rows = data.n_items + data.n_users
    if not variant.exploration:
        config = replace(config, exploration=0.0)
    if variant.rows is not None:
        lines = math.ceil(variant.rows * n_rows)
        config = replace(config, buffer_rows=lines, buffer_bytes=max(1 << 14, 4 * lines * DIM))
    sparse = Stage(variant.start, config, budget)
    if variant.shape == "sparse":
        return [sparse]
    dim = sum(budget) // n_rows if variant.shape == "narrow" else DIM
    full = Budget(data.n_items * dim, data.n_users * dim)
    dense = Stage(variant.start, replace(config, dim=dim), full)
    return [dense] if variant.shape == "narrow" else [dense, replace(sparse, start=pruned)]


def run_on_last_batch(
    kernel: Any, first: int, last: int, batches: Any, histories: Any, items: Any, users: Any,
    step: Any, w: Any, *sums: Any,
) -> None:  # fmt: skip
    """Run ``train_batches``, but accumulate gradients in the epoch's last whole batch alone."""
    none = [empty_accumulator(one.slot.size, one.sums.shape[1]) for one in sums]
    n_batches = len(batches.turns)
    begin, end = (min(max(first, batch), last) for batch in (n_batches - 2, n_batches - 1))
    loss, triples = 0.0, 0
    for a, b, some in ((first, begin, none), (begin, end, sums), (end, last, none)):
        if a < b:
            w.turns.arrivals[0] = 0
            run_parallel(kernel, a, b, batches, histories, items, users, step, w, *some)
            loss += w.turns.total_loss[0]
            triples += w.turns.total_triples[0]
    w.turns.total_loss[0], w.turns.total_triples[0] = loss, triples


@dataclass
class Learned(Observer):
    """The result of all stages."""

    parameters: Parameters | None = None
    epochs: list[int] = field(default_factory=list)
    """Epochs that each stage kept."""
    ndcg: float | None = None
    """NDCG@20 on the held-out part."""
    moved: int = 0
    """Weights that exploration moved, all epochs together."""
    start_seconds: float = 0.0
    train_seconds: float = 0.0

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Count the weights that an epoch moved."""
        self.moved += metrics.moved


def learn(
    plan: list[Stage], data: Interactions, held: Interactions | None, epochs: list[int]
) -> Learned:
    """Run the stages one after the other.

    Args:
        plan: The stages.
        data: Interactions to learn from.
        held: Interactions that each stage chooses its epoch by, or None.
        epochs: Most epochs of each stage.
    """
    done = Learned()
    for stage, most in zip(plan, epochs, strict=True):
        validate = None if held is None else Validator(data, held, stage.config)
        began = perf_counter()
        parameters = stage.start(done.parameters, data, stage.config, stage.budget)
        started = perf_counter()
        done.parameters, epoch, done.ndcg = train(
            Trainer(parameters, data, stage.config),
            TrainingState(parameters),
            epochs=most,
            validate=validate,
            observer=done,
        ).result()
        done.epochs.append(epoch)
        done.start_seconds += started - began
        done.train_seconds += perf_counter() - started
    return done


def run(data: str, sparsity: float, name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Choose the epochs on valid, learn from train + valid, score the file on test."""
    parts = common.load(data)
    both = parts.both
    settings = Config(**config)
    variant = VARIANTS[name]
    common.warm_up("embedding", candidates=settings.candidates)
    before = common.settled_bytes()
    growth: AbstractContextManager[Any] = nullcontext()
    if variant.last_batch:
        growth = patch.object(trainer, "run_parallel", run_on_last_batch)
    with thread_count(None), growth:
        plan = stages(variant, parts.train, settings, sparsity)
        chosen = learn(plan, parts.train, parts.valid, [stage.config.epochs for stage in plan])
        plan = stages(variant, both, settings, sparsity)
        final = learn(plan, both, None, chosen.epochs)
    assert final.parameters is not None
    peak = common.peak_bytes() - before
    last = plan[-1].config
    choice = Chosen(final.epochs[-1], None, 0.0)
    file = encode(model_arrays(final.parameters, both, last, choice, None))
    scores = evaluate(load(file), both, parts.test)
    lines = min(last.buffer_rows, last.buffer_bytes // (4 * DIM), both.n_items + both.n_users)
    return {
        "recall@20": scores["recall"],
        "ndcg@20": scores["ndcg"],
        "valid_ndcg@20": chosen.ndcg,
        "weights": final.parameters.nnz,
        "dim": last.dim,
        "file_bytes": len(file),
        "epochs": chosen.epochs,
        "moved": final.moved,
        "start_seconds": final.start_seconds,
        "seconds_an_epoch": final.train_seconds / sum(chosen.epochs),
        "buffer_bytes": 4 * DIM * lines if last.exploration else 0,
        "peak_bytes": peak,
    }


def tables_of(results: dict[tuple[str, float, str], list[dict[str, Any]]]) -> str:
    """Format two tables a data set: quality, then time and memory."""
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
