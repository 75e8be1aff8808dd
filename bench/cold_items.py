"""Items without interactions, found by what they are: Recall@20 among them, and what it costs.

    python bench/cold_items.py [--data movielens-small planted] [--part test|valid] [--lightfm]

A fifth of the items (``test``, or one of four others, ``valid`` to ``valid-4``) has no interactions
in training: it is added by its features with ``extend``. For each user who has such items, these
alone are ranked by the user's other items, and Recall@20 is the share that is among the first 20.
Compared with TF-IDF neighbours (the sum of cosines to the items of the history) and, with
``--lightfm``, with LightFM's hybrid model (pip install lightfm-next); its epochs and components are
chosen on ``valid``. A tenth of the users' other interactions is held out to see what new items cost
in the ranking of all: NDCG@20 before and after. ``planted``: 60 groups of items, users of three
groups, a column that is the group with one wrong in ten, and two that tell nothing;
``planted-alone`` lacks these two.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import common
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from tabulate import tabulate

import sparserec_np
from sparserec_np import SparseRec, evaluate, extend, hold_out
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.features.item_features import ItemFeatures, read_features
from sparserec_np.features.matrix import feature_matrix

K, FOLDS = 20, 5
PARTS = {"test": 0, "valid": 1, "valid-2": 2, "valid-3": 3, "valid-4": 4}


class Frame:
    """What :func:`load` returns: interactions, and features as files or frames give them."""

    def __init__(self, interactions: Interactions, features: ItemFeatures, given: Any) -> None:
        self.interactions, self.features, self.given = interactions, features, given


def load(name: str) -> Frame:
    """Read MovieLens small, or make data whose features tell all."""
    if name.startswith("planted"):
        return planted(alone=name == "planted-alone")
    folder = common.data_folder() / name
    given = f"{folder / 'movies.csv'}:movieId,genres,title"
    return Frame(sparserec_np.read([str(folder / "ratings.csv")]), read_features(given), given)


def planted(*, alone: bool, n_users: int = 1500, n_items: int = 3000, groups: int = 60) -> Frame:
    """Make users who like three groups of items each, and items whose features name the group."""
    import pandas as pd

    draw = np.random.default_rng(7)
    group = draw.integers(groups, size=n_items)
    members = [np.flatnonzero(group == g) for g in range(groups)]
    users, items = [], []
    for user in range(n_users):
        liked = np.concatenate([members[g] for g in draw.choice(groups, 3, replace=False)])
        chosen = np.r_[draw.choice(liked, 25, replace=False), draw.integers(n_items, size=5)]
        users += [user] * len(chosen)
        items += chosen.tolist()
    told = np.where(draw.random(n_items) < 0.1, draw.integers(groups, size=n_items), group)
    frame = pd.DataFrame({"item": np.arange(n_items), "kind": [f"kind {g}" for g in told]})
    if not alone:
        for column in ("colour", "maker"):
            values = draw.integers(groups, size=n_items)
            frame[column] = [f"{column} {value}" for value in values]
    return Frame(from_pairs(users, items), read_features(frame), frame)


def split(data: Interactions, part: str) -> tuple[Interactions, Interactions]:
    """Return the interactions of warm items and those of cold ones, with their own ids."""
    fold = np.random.default_rng(0).permutation(data.n_items) % FOLDS == PARTS[part]
    cold = fold[data.items]
    if part != "test":  # the test items are nowhere in it
        test = np.random.default_rng(0).permutation(data.n_items) % FOLDS == PARTS["test"]
        warm = ~cold & ~test[data.items]
    else:
        warm = ~cold
    users = data.user_of_entry()

    def chosen(mask: NDArray[np.bool_]) -> Interactions:
        return from_pairs(data.user_ids.take(users[mask]), data.item_ids.take(data.items[mask]))

    return chosen(warm), chosen(cold)


def recall(ranked: dict[Any, list[Any]], wanted: dict[Any, set[Any]]) -> float:
    """Return the mean share of each user's items that is ranked."""
    return float(np.mean([len(wanted[u] & set(ranked[u])) / len(wanted[u]) for u in wanted]))


def histories(data: Interactions) -> dict[Any, list[Any]]:
    """Return the items of each user."""
    ids = data.user_ids.take(np.arange(data.n_users))
    return {id_: data.item_ids.take(data.items_of(u)) for u, id_ in enumerate(ids)}


def ours(file: bytes, past: dict[Any, list[Any]], cold: list[Any]) -> dict[Any, list[Any]]:
    """Rank the cold items by the extended model."""
    model = sparserec_np.load(file)
    return {u: model.recommend(history=h, k=K, candidates=cold)[0] for u, h in past.items()}


def tfidf(
    features: ItemFeatures, past: dict[Any, list[Any]], warm: set[Any], cold: list[Any]
) -> dict[Any, list[Any]]:
    """Rank the cold items by the sum of their cosines to the items of the history."""
    from sklearn.preprocessing import normalize

    row = {id_: r for r, id_ in enumerate(as_ids(features))}
    known = np.array([id_ in warm for id_ in as_ids(features)])
    matrix = normalize(feature_matrix(features, known)[:, :-1])
    theirs = matrix[[row[id_] for id_ in cold]]
    ranked = {}
    for user, history in past.items():
        taste = matrix[[row[id_] for id_ in history if id_ in row]].sum(axis=0)
        scores = np.asarray(theirs @ np.asarray(taste).T).ravel()
        ranked[user] = [cold[i] for i in np.argsort(-scores, kind="stable")[:K]]
    return ranked


def lightfm(
    frame: Frame, warm: Interactions, cold: list[Any], epochs: int, components: int
) -> dict[Any, list[Any]]:
    """Rank the cold items by LightFM's hybrid model: an indicator and the features of each item."""
    from lightfm import LightFM
    from scipy.sparse import hstack, identity

    every = as_ids(frame.features)
    row = {id_: r for r, id_ in enumerate(every)}
    inside = set(warm.item_ids.take(np.arange(warm.n_items)))
    matrix = feature_matrix(frame.features, np.array([id_ in inside for id_ in every]))[:, :-1]
    both = hstack([identity(len(every), format="csr"), matrix], format="csr", dtype=np.float32)
    items = np.array([row.get(id_, -1) for id_ in warm.item_ids.take(warm.items)])
    good = items >= 0
    users = warm.user_of_entry()
    shape = (warm.n_users, len(every))
    ones = np.ones(good.sum(), np.float32)
    seen = csr_matrix((ones, (users[good], items[good])), shape)
    model = LightFM(no_components=components, loss="warp", random_state=0)
    model.fit(seen, item_features=both, epochs=epochs, num_threads=2)
    biases, rows = model.get_item_representations(both)
    at = [row[id_] for id_ in cold]
    scores = model.get_user_representations()[1] @ rows[at].T + biases[at]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    ids = warm.user_ids.take(np.arange(warm.n_users))
    return {id_: [cold[i] for i in best[u]] for u, id_ in enumerate(ids)}


def as_ids(features: ItemFeatures) -> list[Any]:
    """Return the ids as integers, as both data sets have them."""
    return [int(id_) for id_ in features.ids]


def measure(name: str, part: str, with_lightfm: bool, epochs: int | None) -> list[list[Any]]:
    """Return the rows of the table of one data set."""
    frame = load(name)
    warm, cold = split(frame.interactions, part)
    row = set(as_ids(frame.features))
    new = [id_ for id_ in cold.item_ids.take(np.arange(cold.n_items)) if id_ in row]
    train, held = hold_out(warm, fraction=0.1, seed=0)
    fitted = SparseRec(epochs=epochs).fit(train)
    began = time.process_time()
    extended = extend(fitted, features_of(frame, train, new))
    seconds = time.process_time() - began
    past = histories(train)
    wanted = {u: set(i) & set(new) for u, i in histories(cold).items() if u in past}
    wanted = {u: items for u, items in wanted.items() if items}
    past = {u: past[u] for u in wanted}
    inside = set(train.item_ids.take(np.arange(train.n_items)))
    rows = [
        ["chance", K / len(new)],
        ["TF-IDF neighbours", recall(tfidf(frame.features, past, inside, new), wanted)],
    ]
    if with_lightfm:
        tried = [(e, c) for e in (10, 30, 60) for c in (16, 64)] if part != "test" else [(10, 16)]
        for e, c in tried:
            ranked = lightfm(frame, train, new, e, c)
            rows.append([f"LightFM, {e} epochs, {c} components", recall(ranked, wanted)])
    rows.append(["extend", recall(ours(extended.file, past, new), wanted)])
    before = evaluate(fitted.model_, train, held)["ndcg"]
    after = evaluate(sparserec_np.load(extended.file), train, held)["ndcg"]
    print(
        f"{name}, {part}: {extended.added:,} new items in {seconds:.1f} s of processor time; "
        f"finds {extended.found:.3f}, chance {extended.by_chance:.3f}; "
        f"NDCG@20 of all items {before:.4f} -> {after:.4f} ({after / before - 1:+.2%})"
    )
    return [[name, *row] for row in rows]


def features_of(frame: Frame, train: Interactions, new: list[Any]) -> Any:
    """Return a frame of the features of the items of training and of the new ones."""
    import pandas as pd

    wanted = {*new, *train.item_ids.take(np.arange(train.n_items))}
    table = pd.DataFrame({"item": as_ids(frame.features), **frame.features.columns})
    return table[table["item"].isin(wanted)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", nargs="+", default=["movielens-small", "planted", "planted-alone"]
    )
    parser.add_argument("--part", choices=list(PARTS), default="test")
    parser.add_argument("--lightfm", action="store_true")
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    rows = [
        row for name in args.data for row in measure(name, args.part, args.lightfm, args.epochs)
    ]
    print(tabulate(rows, ("data", "method", f"Recall@{K}"), floatfmt=".4f"))


if __name__ == "__main__":
    main()
