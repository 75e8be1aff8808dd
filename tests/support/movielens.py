"""Files of the shape of MovieLens' small set, for the pages that are written for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_USERS, N_ITEMS, N_RATINGS = 610, 9_724, 100_836
LARGEST_ID = 193_609
TITLES = {
    1: "Toy Story (1995)",
    260: "Star Wars: Episode IV - A New Hope (1977)",
    296: "Pulp Fiction (1994)",
    318: "Shawshank Redemption, The (1994)",
    356: "Forrest Gump (1994)",
    2571: "Matrix, The (1999)",
    4306: "Shrek (2001)",
    5218: "Ice Age (2002)",
    6377: "Finding Nemo (2003)",
}
"""The films that the pages name, with the ids and titles that they have there."""


def write_movielens(folder: Path) -> None:
    """Write ``ratings.csv`` and ``movies.csv``: as many users, items and rows, ids with gaps.

    Users like one of twelve kinds of films more than others; few films have most of the ratings,
    and most have a few, as in the real set.
    """
    rng = np.random.default_rng(7)
    others = np.setdiff1d(np.arange(1, LARGEST_ID), list(TITLES))
    ids = np.sort([*TITLES, LARGEST_ID, *rng.choice(others, N_ITEMS - len(TITLES) - 1, False)])
    popularity = 1.0 / np.arange(12, N_ITEMS + 12) ** 0.9
    by_rank = rng.permutation(ids)
    by_rank = np.concatenate([list(TITLES), by_rank[~np.isin(by_rank, list(TITLES))]])
    kind = rng.integers(12, size=N_ITEMS)
    shares = rng.pareto(1.3, N_USERS) + 0.4
    degrees = np.minimum(20 + 60_000 * shares / shares.sum(), N_ITEMS // 4).astype(int)
    pairs = {(int(user), rank) for rank, user in enumerate(rng.integers(N_USERS, size=N_ITEMS))}
    for user, degree in enumerate(degrees):
        weights = np.where(kind == user % 12, 8.0, 1.0) * popularity
        ranks = rng.choice(N_ITEMS, degree, replace=False, p=weights / weights.sum())
        pairs |= {(user, int(rank)) for rank in ranks}
    while len(pairs) < N_RATINGS:
        pairs.add((int(rng.integers(N_USERS)), int(N_ITEMS * rng.random() ** 3)))
    times = rng.integers(828_124_615, 1_537_799_250, size=N_RATINGS)
    rows = [
        f"{user + 1},{by_rank[rank]},{4.0 if (user + rank) % 5 else 2.5},{time}\n"
        for (user, rank), time in zip(sorted(pairs), times, strict=True)
    ]
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(rows))
    titles = [
        f'{id_},"{TITLES.get(id_, f"Film {id_} ({1930 + id_ % 90})")}",Comedy|Drama\n'
        for id_ in ids.tolist()
    ]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(titles), "utf-8")
