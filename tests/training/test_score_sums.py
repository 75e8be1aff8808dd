"""NDCG of sums of factors and neighbours, against dense scores of every item."""

from __future__ import annotations

import numpy as np
import pytest
from reference import interactions

from sparserec_np.data import select_users
from sparserec_np.data.splitting import hold_out
from sparserec_np.evaluation.metrics import find_hits, ndcg
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.retrieval.batch_top_k import UserRows
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import without_factors
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.score_sums import ndcg_of_sums
from sparserec_np.utils.csr import indptr_from_counts

K = 5


def dense(rows: Embeddings | Neighbours, columns: int) -> np.ndarray:
    """Return a sparse matrix as a dense one."""
    places = rows.dims if isinstance(rows, Embeddings) else rows.items
    full = np.zeros((rows.indptr.size - 1, columns))
    full[np.repeat(np.arange(len(full)), np.diff(rows.indptr)), places] = rows.values
    return full


def random_rows(rng: np.random.Generator, n: int, columns: int, share: float) -> tuple:
    """Return indptr, columns and values of a random sparse matrix without a diagonal."""
    mask = rng.random((n, columns)) < share
    np.fill_diagonal(mask, False)
    return indptr_from_counts(mask.sum(axis=1)), np.nonzero(mask)[1], rng.normal(size=mask.sum())


@pytest.mark.parametrize("power, exponent", [(1.0, 0.0), (0.75, 0.5)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [K, 50])  # fewer ranks than items, and more
def test_sums_are_scored_as_dense_scores_are(
    power: float, exponent: float, weighted: bool, k: int
) -> None:
    rng = np.random.default_rng(5)
    data = interactions.random_interactions(3, n_users=70, n_items=40, mean=9)
    known, held = hold_out(data, fraction=0.3)
    with_held = np.flatnonzero((held.user_degrees() > 0) & (known.user_degrees() > 0))
    known, held = select_users(known, with_held), select_users(held, with_held)
    n, dim = 40, 7
    indptr, dims, values = random_rows(rng, n, dim, 0.5)
    floats = rng.normal(size=(3, n)).astype(np.float32)
    rows = Embeddings(indptr, dims.astype(np.uint16), values.astype(np.float32), floats[0][:0])
    items = ItemParameters(rows, floats[0], floats[1][:0], np.abs(floats[2]))
    parameters = Parameters(items, empty_embeddings(0), dim)
    several = []
    for share in (0.1, 0.4):
        begin, targets, values = random_rows(rng, n, n, share)
        several.append(Neighbours(begin, targets.astype(np.int32), values.astype(np.float32)))
    ages = rng.random(known.nnz).astype(np.float32) if weighted else np.zeros(0, np.float32)
    config = Config(history_power=power, history_exponent=exponent)
    scales = (0.5, 2.0)
    histories = UserRows(known.indptr, known.items, ages)
    found = ndcg_of_sums(parameters, config, histories, held, several, scales, k)

    table = dense(rows, dim)
    for n_th, neighbours in enumerate(several):
        for s_th, scale in enumerate(scales):
            ranked = np.full((known.n_users, k), -1, np.int32)
            for user in range(known.n_users):
                own = slice(known.indptr[user], known.indptr[user + 1])
                had = known.items[own]
                age = ages[own] if weighted else np.ones(had.size)
                y = (items.weight[had] * age) @ table[had]
                z = np.sign(y) * np.abs(y) ** power
                scores = table @ z * max(age.sum(), 1.0) ** -exponent + items.bias
                scores = scores + scale * (age @ dense(neighbours, n)[had])
                scores[had] = -np.inf
                ranked[user, :n] = np.argsort(-scores, kind="stable")[:k]
            expected = ndcg(find_hits(ranked, held), held.user_degrees()).mean()
            assert found[n_th, s_th] == pytest.approx(expected, abs=1e-9)


def test_neighbours_alone_need_no_factors() -> None:
    data = interactions.random_interactions(3, n_users=50, n_items=30, mean=6)
    known, held = hold_out(data, fraction=0.3)
    users = np.flatnonzero(held.user_degrees() > 0)
    known, held = select_users(known, users), select_users(held, users)
    parameters = without_factors(known, Config())
    nothing = Neighbours(np.zeros(31, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    histories = UserRows(known.indptr, known.items, np.zeros(0, np.float32))
    found = ndcg_of_sums(parameters, Config(), histories, held, [nothing], [1.0], K)
    by_popularity = np.argsort(-known.item_degrees(), kind="stable")
    hits = np.zeros((known.n_users, K), bool)
    for user in range(known.n_users):
        had = set(known.items_of(user).tolist())
        best = [item for item in by_popularity.tolist() if item not in had][:K]
        hits[user] = np.isin(best, held.items_of(user))
    assert found.item() == pytest.approx(ndcg(hits, held.user_degrees()).mean())
