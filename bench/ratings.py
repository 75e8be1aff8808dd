"""Rows of low ratings as likes, or left out: NDCG@20 of likes that are held out.

    python bench/ratings.py [--seeds 2]

MovieLens small. A fifth of the ratings of 4 and more is held out; the rest is learned from, all of
it or the rows above a rating. What a user has rated is left out of all recommendations alike. 20
epochs, without neighbours and recency, so that nothing else is chosen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import common
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate

from sparserec_np import SparseRec
from sparserec_np.data import from_pairs

K, LIKE = 20, 4.0
LEARNED = {"all rows": 0.0, "ratings above 2": 2.5, "3 and more": 3.0, "4 and more": 4.0}


def by_user(users: NDArray[Any], items: NDArray[Any]) -> dict[int, list[int]]:
    """Return the items of each user."""
    found: dict[int, list[int]] = defaultdict(list)
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        found[user].append(item)
    return found


def ndcg(ranked: list[int], wanted: set[int]) -> float:
    """Return NDCG@20 of one user."""
    gains = 1 / np.log2(np.arange(2, K + 2))
    hits = [gain for gain, item in zip(gains, ranked, strict=False) if item in wanted]
    return float(sum(hits) / gains[: len(wanted)].sum())


def measure(table: pd.DataFrame, seed: int, least: float) -> float:
    """Fit on the rows of at least a rating, and score."""
    users, items, ratings = (table[name].to_numpy() for name in ("userId", "movieId", "rating"))
    test = (ratings >= LIKE) & (np.random.default_rng(seed).random(len(table)) < 0.2)
    learned = ~test & (ratings >= least)
    fitted = SparseRec(seed=seed, epochs=20, neighbours=0.0, recency=0.0)
    fitted.fit(from_pairs(users[learned], items[learned]))
    had, rated = by_user(users[learned], items[learned]), by_user(users[~test], items[~test])
    scores = []
    for user, wanted in by_user(users[test], items[test]).items():
        ranked: list[int] = []
        if user in had:
            ranked = fitted.model_.recommend(history=had[user], exclude=rated[user], k=K)[0]
        scores.append(ndcg(ranked, set(wanted)))
    return float(np.mean(scores))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    table = pd.read_csv(common.data_folder() / "movielens-small" / "ratings.csv")
    table = table.sort_values(["userId", "movieId"])
    rows = [
        (name, np.mean([measure(table, seed, least) for seed in seeds]))
        for name, least in LEARNED.items()
    ]
    print(tabulate(rows, ("learned from", f"NDCG@{K}"), floatfmt=".4f"))


if __name__ == "__main__":
    main()
