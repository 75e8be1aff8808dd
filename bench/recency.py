"""Gain by recency: the latest items of each user held out, with it and without.

    python bench/recency.py [--data movielens-small gowalla ...]

The latest fifth of each user's interactions is the test part; a fit learns from the rest, with
defaults alone, once as it is and once with ``recency=0``. MovieLens small has real times. The files
of the other sets have none: there the order of their rows is taken for it, which the files do not
promise. Where it is no such order, nothing can be gained, and nothing should be lost.
"""

from __future__ import annotations

import common
import numpy as np

from sparserec_np import SparseRec, read
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.data.splitting import hold_out
from sparserec_np.evaluation.evaluate import evaluate

TIMED = "movielens-small"
TEST = 0.2


def load(name: str) -> Interactions:
    """Read a data set with its times, or with row numbers for times."""
    if name == TIMED:
        return read(common.data_folder() / name / "ratings.csv", with_times=True)
    if name == common.GENERATED:
        rng = np.random.default_rng(0)
        data = common.gathered(400, 300, 12)
        return from_pairs(data.user_of_entry(), data.items, rng.permutation(data.nnz))
    path = common.data_folder() / name / "train.csv"
    users, items = np.loadtxt(path, dtype=np.int64, delimiter=",", skiprows=1, unpack=True)
    return from_pairs(users, items, np.arange(users.size))


def measure(data: str, max_size: str | None) -> dict[str, dict[str, float]]:
    """Fit with recency and without; return recall, NDCG and recency of both."""
    learned, test = hold_out(load(data), fraction=TEST, latest=True)
    results = {}
    for name, recency in (("without", 0.0), ("with", None)):
        fitted = SparseRec(max_size=max_size, recency=recency).fit(learned)
        scores = evaluate(fitted.model_, learned, test)
        results[name] = {
            "recall": scores["recall"],
            "ndcg": scores["ndcg"],
            "recency": fitted.recency_,
            "bytes": scores["model_bytes"],
        }
    return results


def main() -> None:
    every = (TIMED, *common.NAMES)
    parser = common.parser(__doc__, data=every, default=[n for n in every if n != common.GENERATED])
    parser.add_argument("--max-size", default=None, help="default: by the data")
    args = parser.parse_args()
    store = common.Results(args.results, "recency")
    rows = []
    for data in [common.GENERATED] if args.quick else args.data:
        what = {"data": data, "max_size": args.max_size}
        found = store.measure(what, lambda what=what: common.fresh(measure, **what))
        before, after = found["without"], found["with"]
        rows.append(
            (
                data,
                f"{after['recency']:g}",
                *(f"{one['recall']:.4f} / {one['ndcg']:.4f}" for one in (before, after)),
                f"{after['recall'] / before['recall'] - 1:+.1%}",
                f"{after['ndcg'] / before['ndcg'] - 1:+.1%}",
            )
        )
    headers = ("data", "recency", "R@20 / N@20 without", "with", "recall", "NDCG")
    common.finish("recency", common.table(rows, headers), args.write_readme)


if __name__ == "__main__":
    main()
