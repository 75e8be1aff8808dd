from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np import SparseRec, hold_out, read
from sparserec_np.data import Interactions
from sparserec_np.data.synthetic import generate
from sparserec_np.errors import InputError
from sparserec_np.evaluation import evaluate, metrics
from sparserec_np.vocabulary import IntIds

N_ITEMS = 40
METRICS = ("recall", "ndcg", "hit_rate", "mrr")


def relevant_items(rows: list[list[int]]) -> Interactions:
    return Interactions(
        np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
        np.array([item for row in rows for item in row], dtype=np.int32),
        IntIds(np.arange(len(rows), dtype=np.int64)),
        IntIds(np.arange(N_ITEMS, dtype=np.int64)),
    )


def random_case(rng: np.random.Generator, n_users: int, k: int):
    """Draw rankings of up to k items, padded with -1, and one to 30 test items for each user."""
    ranked = np.full((n_users, k), -1, dtype=np.int32)
    for row in ranked:
        length = rng.integers(1, k + 1)
        row[:length] = rng.permutation(N_ITEMS)[:length]
    rows = [
        sorted(rng.choice(N_ITEMS, size=rng.integers(1, 31), replace=False).tolist())
        for _ in range(n_users)
    ]
    return ranked, rows


def test_the_examples_in_the_docstrings_are_true():
    outcome = doctest.testmod(metrics)
    assert outcome.failed == 0
    assert outcome.attempted >= 5


RANX = """
import json, sys
import ranx
qrels, run, names = json.load(sys.stdin)
scores = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names)
print(json.dumps({name: float(value) for name, value in scores.items()}))
"""


DEPTHS = (1, 5, 20)


def random_rankings():
    """Return our metrics of random rankings by depth, the rankings, and each user's test items."""
    ranked, rows = random_case(np.random.default_rng(3), n_users=60, k=20)
    counts = np.array([len(row) for row in rows])
    ours = {k: metrics.average_metrics(ranked[:, :k], relevant_items(rows), counts) for k in DEPTHS}
    lists = [[i for i in row if i >= 0] for row in ranked.tolist()]
    return ours, lists, rows


def recommendations(data: Interactions, users: str):
    """Return the same for a fitted model, whose rankings are requested one user at a time."""
    train, test = hold_out(data, fraction=0.2, seed=1)
    model = SparseRec(users=users, epochs=3).fit(train)
    ours = {k: evaluate.evaluate(model.model_, train, test, k=k) for k in DEPTHS}
    served = np.flatnonzero(test.user_degrees())
    lists = [model.recommend(user, k=20)[0] for user in train.user_ids.take(served)]
    rows = np.split(test.items, test.indptr[1:-1])
    return ours, lists, [test.item_ids.take(rows[user]) for user in served]


@pytest.fixture(scope="module", params=["random", "film fans", "MovieLens"])
def rankings(request):
    """Return our metrics, and the rankings and test items in the form of ranx and ir-measures."""
    if request.param == "random":
        ours, lists, rows = random_rankings()
    elif request.param == "film fans":
        ours, lists, rows = recommendations(generate().interactions, "embedding")
    else:
        ratings = request.getfixturevalue("data_dir") / "movielens-small" / "ratings.csv"
        ours, lists, rows = recommendations(read(ratings), "history")
    qrels = {f"u{u}": {f"i{i}": 1 for i in row} for u, row in enumerate(rows)}
    run = {
        f"u{u}": {f"i{i}": float(20 - rank) for rank, i in enumerate(row)}
        for u, row in enumerate(lists)
    }
    return ours, qrels, run


def check_metrics(rankings, theirs: dict[tuple[str, int], float]) -> None:
    for k, ours in rankings[0].items():
        for name in METRICS:
            assert 0 < ours[name] == pytest.approx(theirs[name, k], abs=1e-9), (name, k)


def test_metrics_agree_with_ranx(rankings):
    pytest.importorskip("ranx")
    _, qrels, run = rankings
    names = {(name, k): f"{name}@{k}" for name in METRICS for k in (1, 5, 20)}
    # As a process of its own, not compiled: compiling ranx takes longer than all other tests here.
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps([qrels, run, list(names.values())]),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)
    check_metrics(rankings, {key: theirs[name] for key, name in names.items()})


def test_metrics_agree_with_ir_measures(rankings):
    ir_measures = pytest.importorskip("ir_measures")
    _, qrels, run = rankings
    measures = {
        (name, k): measure @ k
        for name, measure in zip(
            METRICS,
            (ir_measures.R, ir_measures.nDCG, ir_measures.Success, ir_measures.RR),
            strict=True,
        )
        for k in (1, 5, 20)
    }
    theirs = ir_measures.calc_aggregate(measures.values(), qrels, run)
    check_metrics(rankings, {key: theirs[measure] for key, measure in measures.items()})


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 25))
@settings(deadline=None, max_examples=50)
def test_metrics_follow_their_formulas(seed, n_users, k):
    ranked, rows = random_case(np.random.default_rng(seed), n_users, k)
    ours = metrics.average_metrics(
        ranked, relevant_items(rows), np.array([len(row) for row in rows])
    )
    recalls, ndcgs, hit, reciprocal = [], [], [], []
    for row, test_items in zip(ranked.tolist(), rows, strict=True):
        ranks = [rank for rank, item in enumerate(row, start=1) if item in set(test_items)]
        ideal = sum(1 / np.log2(r + 1) for r in range(1, min(k, len(test_items)) + 1))
        recalls.append(len(ranks) / len(test_items))
        ndcgs.append(sum(1 / np.log2(r + 1) for r in ranks) / ideal)
        hit.append(bool(ranks))
        reciprocal.append(1 / ranks[0] if ranks else 0)
    assert ours["recall"] == pytest.approx(np.mean(recalls), abs=1e-12)
    assert ours["ndcg"] == pytest.approx(np.mean(ndcgs), abs=1e-12)
    assert ours["hit_rate"] == pytest.approx(np.mean(hit), abs=1e-12)
    assert ours["mrr"] == pytest.approx(np.mean(reciprocal), abs=1e-12)
    assert ours["coverage"] == len(set(ranked[ranked >= 0].tolist())) / N_ITEMS
    assert (ours["k"], ours["users"]) == (k, n_users)


def test_a_perfect_ranking_has_ndcg_one_even_with_fewer_test_items_than_k():
    ranked = np.array([[3, 5, 0, 1]], dtype=np.int32)
    ours = metrics.average_metrics(ranked, relevant_items([[3, 5]]), np.array([2]))
    assert ours["ndcg"] == 1.0
    assert ours["recall"] == 1.0


def test_test_items_that_the_model_does_not_know_count_in_the_denominator():
    ranked = np.array([[3, 5]], dtype=np.int32)
    ours = metrics.average_metrics(ranked, relevant_items([[3, 5]]), np.array([4]))
    assert ours["recall"] == 0.5


def test_users_without_test_items_are_left_out():
    ranked = np.array([[3], [7], [-1]], dtype=np.int32)
    ours = metrics.average_metrics(ranked, relevant_items([[3], [], [2]]), np.array([1, 0, 1]))
    assert ours["users"] == 2
    assert ours["hit_rate"] == 0.5
    assert ours["coverage"] == 1 / N_ITEMS


def test_nothing_to_evaluate_is_said():
    with pytest.raises(InputError, match="no user has an item in the test data"):
        metrics.average_metrics(
            np.array([[3]], dtype=np.int32), relevant_items([[]]), np.array([0])
        )


def test_the_popularity_ranking_leaves_out_what_a_user_has():
    train = relevant_items([[0, 1, 2], [1, 2], [2], list(range(N_ITEMS))])
    ranked = evaluate.rank_by_popularity(train, k=3)
    assert ranked.tolist() == [[3, 4, 5], [0, 3, 4], [1, 0, 3], [-1, -1, -1]]
