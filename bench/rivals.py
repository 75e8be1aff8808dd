"""Models to compare with: implicit's ALS and BPR, EASE and popularity, tuned on valid.

All are evaluated by the same code and protocol as ours. Ids are not counted in their bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from common import Result
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sparserec_np.data import Interactions, align, select_users
from sparserec_np.evaluation.metrics import average_metrics

BLOCK = 256  # users ranked at a time
TUNE_USERS = 4_000  # users whose valid items hyperparameters are compared on

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "als": {
        "regularization": (10.0, 30.0, 100.0),
        "alpha": (4.0, 10.0, 40.0),
        "iterations": (15,),
    },
    "bpr": {
        "learning_rate": (0.02, 0.1),
        "regularization": (0.002, 0.02),
        "iterations": (100,),
    },
    "ease": {"regularization": (100.0, 300.0, 1000.0)},
}


def matrix(data: Interactions) -> sp.csr_matrix:
    """Return interactions in the form for implicit: a float32 matrix of ones."""
    ones = np.ones(data.nnz, np.float32)
    return sp.csr_matrix((ones, data.items, data.indptr), shape=(data.n_users, data.n_items))


def make(kind: str, dim: int, params: Result, threads: int = 0) -> Any:
    """Make implicit's model; ``threads=0`` means all cores."""
    if kind == "als":
        from implicit.cpu.als import AlternatingLeastSquares as Model
    else:
        from implicit.cpu.bpr import BayesianPersonalizedRanking as Model
    threadpool_limits(1, "blas")  # implicit asks for it: it has threads of its own
    return Model(factors=dim, num_threads=threads, random_state=0, **params)


@dataclass(frozen=True)
class Factors:
    """The factors of a model, to be shipped.

    Attributes:
        users: float32 array of shape [n_users, dim], or None where users are folded in.
        items: float32 array of shape [n_items, dim].
    """

    users: NDArray[np.float32] | None
    items: NDArray[np.float32]

    def file(self, bits: int) -> tuple[Factors, int]:
        """Store as float32 (32) or as int8 with a float32 scale a row (8).

        Returns:
            The factors read back, and the size of the uncompressed ``.npz`` file in bytes.
        """
        arrays: dict[str, NDArray[Any]] = {}
        back: dict[str, NDArray[np.float32] | None] = {"users": None}
        for name, table in (("users", self.users), ("items", self.items)):
            if table is None:
                continue
            if bits == 32:
                arrays[name] = back[name] = np.asarray(table, np.float32)
                continue
            scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-30) / 127
            arrays[name] = np.rint(table / scale).astype(np.int8)
            arrays[f"{name}_scale"] = scale.astype(np.float32)
            back[name] = arrays[name] * arrays[f"{name}_scale"]
        stored = io.BytesIO()
        np.savez(stored, **arrays)  # type: ignore[arg-type]
        items = back["items"]
        assert items is not None
        return Factors(back["users"], items), stored.getbuffer().nbytes


def fit(kind: str, dim: int, params: Result, data: Interactions) -> Any:
    """Fit implicit's model on all cores."""
    model = make(kind, dim, params)
    model.fit(matrix(data), show_progress=False)
    return model


def fold_in(items: NDArray[np.float32], params: Result, data: Interactions) -> NDArray[np.float32]:
    """Solve the users of ALS from their items, as implicit does for new users."""
    model = make("als", items.shape[1], params)
    model.item_factors = np.ascontiguousarray(items, np.float32)
    solved: NDArray[np.float32] = model.recalculate_user(np.arange(data.n_users), matrix(data))
    return solved


def rank(
    scores_of: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    known: Interactions,
    users: NDArray[np.int64],
    k: int = 20,
) -> NDArray[np.int32]:
    """Rank by dense scores, without the users' known items; int32 array of shape [n, k]."""
    ranked = np.full((users.size, k), -1, np.int32)
    for first in range(0, users.size, BLOCK):
        block = users[first : first + BLOCK]
        scores = np.array(scores_of(block))
        seen = select_users(known, block)
        scores[seen.user_of_entry(), seen.items] = -np.inf
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        best[np.isneginf(np.take_along_axis(scores, best, axis=1))] = -1
        ranked[first : first + BLOCK] = best
    return ranked


def judge(
    scores_of: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    known: Interactions,
    held: Interactions,
) -> Result:
    """Return recall@20 and NDCG@20 by the protocol."""
    wanted = align(held, known.user_ids, known.item_ids)
    relevant = np.flatnonzero(wanted.interactions.user_degrees() + wanted.unknown_items)
    ranked = rank(scores_of, known, relevant)
    return judge_ranking(ranked, relevant, known, held)


def judge_ranking(
    ranked: NDArray[np.int32],
    users: NDArray[np.int64],
    known: Interactions,
    held: Interactions,
) -> Result:
    """Evaluate rankings of ``users``; users with held-out items that ``known`` lacks count zero."""
    wanted = align(held, known.user_ids, known.item_ids)
    counts = wanted.interactions.user_degrees() + wanted.unknown_items
    result = average_metrics(
        ranked,
        select_users(wanted.interactions, users),
        counts[users],
        unserved_users=int(np.count_nonzero(held.user_degrees())) - int(np.count_nonzero(counts)),
    )
    return {"recall@20": result["recall"], "ndcg@20": result["ndcg"]}


def judge_factors(factors: Factors, known: Interactions, held: Interactions) -> Result:
    """Evaluate a factor model."""
    users = factors.users
    assert users is not None
    return judge(lambda block: users[block] @ factors.items.T, known, held)


def grid(kind: str, quick: bool) -> dict[str, tuple[float, ...]]:
    """Return the values to try; ``quick``: one of each."""
    return {name: values[:1] if quick else values for name, values in GRIDS[kind].items()}


def sample_users(data: Interactions, n: int) -> Interactions:
    """Return ``n`` random users with interactions, or all if there are fewer."""
    users = np.flatnonzero(data.user_degrees())
    if users.size > n:
        users = np.sort(np.random.default_rng(0).choice(users, n, replace=False))
    return select_users(data, users)


def tune(
    kind: str,
    dim: int,
    train: Interactions,
    valid: Interactions,
    values: dict[str, tuple[float, ...]],
) -> Result:
    """Find the best combination of hyperparameters, on a sample of the users of ``valid``.

    Returns:
        ``{"params", "valid_ndcg@20", "tried"}``.
    """
    valid = sample_users(valid, TUNE_USERS)
    tried = []
    for combination in product(*values.values()):
        params = dict(zip(values, combination, strict=True))
        if kind == "ease":
            quality = judge_ease(ease(train, params["regularization"]), train, valid)
        else:
            model = fit(kind, dim, params, train)
            factors = Factors(model.user_factors, model.item_factors)
            quality = judge_factors(factors, train, valid)
        tried.append({**params, "ndcg@20": quality["ndcg@20"]})
    best = max(tried, key=lambda one: one["ndcg@20"])
    params = {name: value for name, value in best.items() if name != "ndcg@20"}
    return {"params": params, "valid_ndcg@20": best["ndcg@20"], "tried": tried}


def ease(data: Interactions, regularization: float) -> NDArray[np.float32]:
    """EASE (Steck 2019) in closed form: ``B = I - P / diag(P)``, ``P = (X'X + reg I)^-1``.

    Memory: four float32 arrays of shape [n_items, n_items].
    """
    from scipy.linalg import lapack

    x = matrix(data)
    gram = np.asfortranarray((x.T @ x).toarray())
    gram[np.diag_indices_from(gram)] += np.float32(regularization)
    factor, failed = lapack.spotrf(gram, overwrite_a=1)
    inverse, failed = lapack.spotri(factor, overwrite_c=1) if not failed else (factor, failed)
    if failed:
        raise ArithmeticError(f"the Gram matrix with reg {regularization:g} cannot be inverted")
    inverse = np.triu(inverse)
    inverse += np.triu(inverse, 1).T
    weights: NDArray[np.float32] = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def largest(weights: NDArray[np.float32], n_bytes: int) -> sp.csr_matrix:
    """Keep the largest entries of a matrix, as int8 with one scale, within ``n_bytes``.

    Three bytes an entry are counted: a value, and a position as uint16.
    """
    n = n_bytes // 3
    size = np.abs(weights)
    if n < size.size:
        threshold = np.partition(size, size.size - n, axis=None)[size.size - n]
        weights = np.where(size > threshold, weights, np.float32(0))  # ties stay within n_bytes
    kept = sp.csr_matrix(weights)
    scale = np.float32(np.abs(kept.data).max() / 127)
    kept.data = np.rint(kept.data / scale) * scale
    return kept


def judge_ease(weights: Any, known: Interactions, held: Interactions) -> Result:
    """Evaluate EASE, whose matrix may be sparse."""
    x = matrix(known)

    def scores_of(block: NDArray[np.int64]) -> NDArray[np.float32]:
        scores: Any = x[block] @ weights
        dense: NDArray[np.float32] = scores.toarray() if sp.issparse(scores) else scores
        return dense

    return judge(scores_of, known, held)
