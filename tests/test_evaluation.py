from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np import evaluation
from sparserec_np.errors import InputError
from sparserec_np.ids import IntIds
from sparserec_np.interactions import Interactions

N_ITEMS = 40


def relevant_items(rows: list[list[int]]) -> Interactions:
    return Interactions(
        np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
        np.array([item for row in rows for item in row], dtype=np.int32),
        IntIds(np.arange(len(rows), dtype=np.int64)),
        IntIds(np.arange(N_ITEMS, dtype=np.int64)),
    )


def random_case(rng: np.random.Generator, n_users: int, k: int):
    """Rankings of different lengths padded with -1, and one to 30 test items a user."""
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
    outcome = doctest.testmod(evaluation)
    assert outcome.failed == 0
    assert outcome.attempted >= 5


@pytest.mark.parametrize("k", [1, 5, 20])
def test_metrics_agree_with_ranx_and_ir_measures(rng, k):
    ranked, rows = random_case(rng, n_users=60, k=k)
    ours = evaluation.score(ranked, relevant_items(rows), np.array([len(row) for row in rows]))
    qrels = {f"u{u}": {f"i{i}": 1 for i in row} for u, row in enumerate(rows)}
    run = {
        f"u{u}": {f"i{i}": float(k - rank) for rank, i in enumerate(row) if i >= 0}
        for u, row in enumerate(ranked.tolist())
    }

    ranx = pytest.importorskip("ranx")
    names = {"recall": "recall", "ndcg": "ndcg", "hit_rate": "hit_rate", "mrr": "mrr"}
    theirs = ranx.evaluate(
        ranx.Qrels(qrels), ranx.Run(run), [f"{name}@{k}" for name in names.values()]
    )
    for name, other in names.items():
        assert ours[name] == pytest.approx(float(theirs[f"{other}@{k}"]), abs=1e-9), name

    ir_measures = pytest.importorskip("ir_measures")
    measures = {
        "recall": ir_measures.R @ k,
        "ndcg": ir_measures.nDCG @ k,
        "hit_rate": ir_measures.Success @ k,
        "mrr": ir_measures.RR @ k,
    }
    others = ir_measures.calc_aggregate(measures.values(), qrels, run)
    for name, measure in measures.items():
        assert ours[name] == pytest.approx(others[measure], abs=1e-9), name


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 25))
@settings(deadline=None, max_examples=50)
def test_metrics_follow_their_formulas(seed, n_users, k):
    ranked, rows = random_case(np.random.default_rng(seed), n_users, k)
    ours = evaluation.score(ranked, relevant_items(rows), np.array([len(row) for row in rows]))
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
    ours = evaluation.score(ranked, relevant_items([[3, 5]]), np.array([2]))
    assert ours["ndcg"] == 1.0
    assert ours["recall"] == 1.0


def test_test_items_that_the_model_does_not_know_count_in_the_denominator():
    ranked = np.array([[3, 5]], dtype=np.int32)
    ours = evaluation.score(ranked, relevant_items([[3, 5]]), np.array([4]))
    assert ours["recall"] == 0.5


def test_users_without_test_items_are_left_out():
    ranked = np.array([[3], [7], [-1]], dtype=np.int32)
    ours = evaluation.score(ranked, relevant_items([[3], [], [2]]), np.array([1, 0, 1]))
    assert ours["users"] == 2
    assert ours["hit_rate"] == 0.5
    assert ours["coverage"] == 1 / N_ITEMS


def test_nothing_to_evaluate_is_said():
    with pytest.raises(InputError, match="no user has an item in the test data"):
        evaluation.score(np.array([[3]], dtype=np.int32), relevant_items([[]]), np.array([0]))


def test_the_popularity_ranking_leaves_out_what_a_user_has():
    train = relevant_items([[0, 1, 2], [1, 2], [2], list(range(N_ITEMS))])
    ranked = evaluation.rank_by_popularity(train, k=3)
    assert ranked.tolist() == [[3, 4, 5], [0, 3, 4], [1, 0, 3], [-1, -1, -1]]
