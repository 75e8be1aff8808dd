"""Cost and gain of taste at request time: NDCG and coverage by popularity and by diversity.

    python bench/taste.py [--data lastfm amazon-health ...] [--neighbours 1]

One fit of each set, from train and valid with defaults within a size; then the test users' lists of
20, with one wish at a time. Coverage is the share of all items that is in anybody's list. MovieLens
small is not split: a random fifth of each user's interactions is the test part.
"""

from __future__ import annotations

import common

from sparserec_np import SparseRec, read
from sparserec_np.data import Interactions
from sparserec_np.data.splitting import hold_out
from sparserec_np.evaluation.evaluate import evaluate
from sparserec_np.runtime.taste import Taste

SIZES = {
    "lastfm": "500KB",
    "movielens-small": "250KB",
    "amazon-health": "25KB",
    "movietweetings": "250KB",
    common.GENERATED: "20KB",
}
WISHES = {
    "as learned": Taste(),
    **{f"popularity {x:g}": Taste(popularity=x) for x in (0.75, 0.5, 0.25, 0.0)},
    **{f"diversity {x:g}": Taste(diversity=x) for x in (0.1, 0.3, 0.5)},
}


def parts(name: str) -> tuple[Interactions, Interactions]:
    """Read what to learn from, and the test part."""
    if name == "movielens-small":
        ratings = common.data_folder() / name / "ratings.csv"
        return hold_out(read(ratings, with_times=True), fraction=0.2)
    return common.load_for_test(name)


def measure(data: str, **parameters: float) -> dict[str, dict[str, float]]:
    """Fit once; return NDCG and coverage with each wish."""
    learned, test = parts(data)
    model = SparseRec(max_size=SIZES[data], **parameters).fit(learned).model_
    results = {}
    for name, taste in WISHES.items():
        scores = evaluate(model, learned, test, taste=taste)
        results[name] = {metric: scores[metric] for metric in ("ndcg", "coverage")}
    return results


def main() -> None:
    names = [name for name in SIZES if name != common.GENERATED]
    parser = common.parser(__doc__, data=tuple(SIZES), default=names)
    parser.add_argument("--neighbours", type=float, help="share of the size; 1: neighbours alone")
    args = parser.parse_args()
    parameters = {} if args.neighbours is None else {"neighbours": args.neighbours}
    store = common.Results(args.results, "taste")
    data = [common.GENERATED] if args.quick else args.data
    found = [
        store.measure(what, lambda what=what: common.fresh(measure, **what))
        for what in ({"data": name, **parameters} for name in data)
    ]
    rows = []
    for wish in WISHES:
        of_sets = [one[wish] for one in found]
        rows.append((wish, *(f"{x['ndcg']:.4f} / {x['coverage']:.3f}" for x in of_sets)))
    table = common.table(rows, ("N@20 / coverage@20", *data))
    common.finish("taste", table, args.write_readme)


if __name__ == "__main__":
    main()
