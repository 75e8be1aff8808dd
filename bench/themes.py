"""Themed histories beside implicit's ALS, and what dislikes take away, on MovieLens small.

    sparserec-np split ratings.csv -o parts --by random
    sparserec-np fit ratings.csv -o all.srec --max-size 250KB
    sparserec-np fit parts/train.csv -o train.srec --max-size 250KB
    python bench/themes.py all.srec train.srec

The themes were written down before any list was seen. A film is of a theme if it has one of its
genres. For NDCG@20 a random fifth of each user's films is held out, and histories are some or all
of the rest.
"""

from __future__ import annotations

import argparse
import csv

import common
import numpy as np
import scipy.sparse

from sparserec_np import hold_out, load, read
from sparserec_np.data import Interactions

POPULARITY = (1.0, 0.75, 0.5, 0.25, 0.0)
LENGTHS = (1, 3, 10, None)
THEMES = {
    "slasher horror": ("halloween 1978", "nightmare elm street 1984", "friday the 13th 1980"),
    "haunted horror": ("shining 1980", "exorcist 1973", "poltergeist 1982", "omen the 1976"),
    "zombies": ("night living dead 1968", "dawn dead 1978", "28 days later"),
    "romance of the nineties": ("pretty woman", "sleepless seattle", "got mail", "notting hill"),
    "period romance": ("sense sensibility 1995", "emma 1996", "pride prejudice 2005"),
    "anime": ("spirited away", "princess mononoke", "my neighbor totoro"),
    "Pixar": ("toy story 1995", "finding nemo", "monsters inc 2001", "up 2009"),
    "Disney": ("lion king 1994", "aladdin 1992", "beauty beast 1991", "little mermaid 1989"),
    "westerns": ("good bad ugly 1966", "unforgiven 1992", "once upon time west 1968"),
    "war": ("saving private ryan", "platoon 1986", "full metal jacket", "thin red line 1998"),
    "musicals": ("sound music 1965", "west side story 1961", "grease 1978", "singin rain 1952"),
    "film noir": ("maltese falcon 1941", "double indemnity 1944", "big sleep 1946"),
    "documentaries": ("bowling columbine", "super size me", "fahrenheit 9 11"),
    "space": ("alien 1979", "aliens 1986", "wrath khan 1982"),
    "silly comedies": ("dumb and dumber 1994", "ace ventura pet 1994", "american pie 1999"),
    "superheroes": ("batman begins", "spider man 2002", "x men 2000", "iron man 2008"),
}
GENRES = {
    "slasher horror": "Horror", "haunted horror": "Horror", "zombies": "Horror",
    "romance of the nineties": "Romance", "period romance": "Romance", "anime": "Animation",
    "Pixar": "Animation|Children", "Disney": "Animation|Children", "westerns": "Western",
    "war": "War", "musicals": "Musical", "film noir": "Film-Noir", "documentaries": "Documentary",
    "space": "Sci-Fi", "silly comedies": "Comedy", "superheroes": "Action",
}  # fmt: skip


class Als:
    """implicit's ALS with 64 factors and alpha 5, on the interactions of a fit."""

    def __init__(self, data: Interactions) -> None:
        from implicit.als import AlternatingLeastSquares

        self._ids, self._n = data.item_ids, data.n_items
        ones = np.ones(data.nnz, np.float32)
        table = scipy.sparse.csr_matrix((ones, data.items, data.indptr), (data.n_users, self._n))
        self._als = AlternatingLeastSquares(64, alpha=5, random_state=0, num_threads=1)
        self._als.fit(table, show_progress=False)

    def __call__(self, history: list[int], k: int, exclude: list[int]) -> list[int]:
        items = np.sort(self._ids.locate(history))
        row = (np.ones(len(items), np.float32), items, np.array([0, len(items)]))
        own = scipy.sparse.csr_matrix(row, (1, self._n))
        left_out = self._ids.locate(exclude)
        found = self._als.recommend(0, own, k, recalculate_user=True, filter_items=left_out)
        return self._ids.take(found[0])


def ndcg(ids: list[int], wanted: set[int]) -> float:
    gains = 1 / np.log2(np.arange(2, 22))
    hits = np.array([id_ in wanted for id_ in ids])
    return float((gains[: len(ids)] * hits).sum() / gains[: len(wanted)].sum())


def disliked(path: str, owned: list[list[int]]) -> tuple[float, float]:
    """Dislike the first of each list, for histories of ten films.

    Returns:
        Share of its 30 nearest films, of those that were in the list, that leave it; and the share
        of new films in the list.
    """
    model, rng = load(path), np.random.default_rng(0)
    left, new = [], []
    for own in owned:
        if len(own) < 10:
            continue
        history = [own[i] for i in rng.permutation(len(own))[:10]]
        how = {"history": history, "exclude": own, "recency": 0}
        first, *others = model.recommend(**how, k=10).ids
        after = set(model.recommend(**how, k=9, dislikes=[first]).ids)
        new.append(len(after - set(others)) / 9)
        near = set(model.similar_items(first, 30).ids) & set(others)
        left += [len(near - after) / len(near)] if near else []
    return float(np.mean(left)), float(np.mean(new))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("all", help="model of all ratings")
    parser.add_argument("train", help="model of the train part")
    args = parser.parse_args()
    folder = common.data_folder() / "movielens-small"
    whole = read(folder / "ratings.csv", with_times=True)
    train, test = hold_out(whole, fraction=0.2)
    with (folder / "movies.csv").open(encoding="utf-8") as file:
        films = list(csv.DictReader(file))
    genres = {int(film["movieId"]): set(film["genres"].split("|")) for film in films}
    titles = [f" {film['title'].lower()} " for film in films]

    def film(text: str) -> int:
        """The film of the shortest title that has all words."""
        words = text.split()
        known = [n for n, title in enumerate(titles) if all(word in title for word in words)]
        return int(films[min(known, key=lambda n: len(titles[n]))]["movieId"])

    def ours(path: str, popularity: float, recency: float | None):
        model = load(path)

        def answer(history: list[int], k: int, exclude: list[int]) -> list[int]:
            wishes = {"popularity": popularity, "recency": recency}
            return model.recommend(history, k=k, exclude=exclude, **wishes).ids

        return answer

    def themed(answer) -> float:
        shares = []
        for name, texts in THEMES.items():
            history = [film(text) for text in texts]
            wanted = set(GENRES[name].split("|"))
            shares.append(np.mean([bool(genres[i] & wanted) for i in answer(history, 10, history)]))
        return float(np.mean(shares))

    users = np.flatnonzero(test.user_degrees())
    wanted = [set(test.item_ids.take(test.items_of(user))) for user in users]
    owned = [train.item_ids.take(train.items_of(user, ordered=True)) for user in users]

    def held_out(answer, length: int | None) -> float:
        rng, total = np.random.default_rng(0), 0.0
        for own, held in zip(owned, wanted, strict=True):
            some = own if length is None else [own[i] for i in rng.permutation(len(own))[:length]]
            total += ndcg(answer(some, 20, own), held)
        return total / len(users)

    rows = []
    for popularity in POPULARITY:
        by_hand = ours(args.all, popularity, 0.0)
        cells = [
            f"{held_out(ours(args.train, popularity, None if n is None else 0.0), n):.4f}"
            for n in LENGTHS
        ]
        rows.append((f"popularity {popularity:g}", f"{themed(by_hand):.3f}", *cells))
    als, als_of_train = Als(whole), Als(train)
    cells = [f"{held_out(als_of_train, n):.4f}" for n in LENGTHS]
    rows.append(("ALS 64, alpha 5", f"{themed(als):.3f}", *cells))
    left, new = disliked(args.train, owned)
    names = ("", "themes", *(f"N@20, {'all' if n is None else n}" for n in LENGTHS))
    print(common.table(rows, names))
    print(f"\nThe first of the list disliked: {left:.0%} of its nearest leave, {new:.0%} are new.")


if __name__ == "__main__":
    main()
