"""A warm start compared with training anew: time, and NDCG@20 on test.csv.

    python bench/warm_start.py [--data gowalla] [--users history embedding] [--share 0.05]

A random share of the interactions in train + valid is new. A model of the others is continued with
all interactions, and with the new ones alone; both are compared with the old model as it is and
with a full fit of everything, which chooses its epochs. All are scored with all interactions as
histories. Time is processor time of ``fit`` alone, over all threads.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

from sparserec_np import SparseRec
from sparserec_np.data import Interactions, from_pairs
from sparserec_np.evaluation.evaluate import evaluate

ANEW, OLD, ALL, NEW = "full fit", "old model as it is", "warm, all", "warm, new ones alone"


def part(data: Interactions, chosen: np.ndarray[Any, Any]) -> Interactions:
    """Return some of the interactions; users and items without any are left out."""
    users = data.user_ids.take(data.user_of_entry()[chosen])
    return from_pairs(users, data.item_ids.take(data.items[chosen]))


def measure(
    data: str, users: str, share: float, dim: int | None, epochs: int | None
) -> dict[str, dict[str, float]]:
    """Fit all four models; return seconds and NDCG@20 of each."""
    common.warm_up(users)
    both, test = common.load_for_test(data)
    is_new = np.random.default_rng(0).random(both.nnz) < share
    runs: dict[str, tuple[Interactions, dict[str, Any], dict[str, Any]]] = {
        OLD: (part(both, ~is_new), {"epochs": epochs, "dim": dim}, {}),
        ANEW: (both, {"epochs": epochs, "dim": dim}, {}),
    }
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old.srec"
        runs[ALL] = (both, {}, {"warm_start": old})
        runs[NEW] = (part(both, is_new), {}, {"warm_start": old})
        for name, (learned, params, how) in runs.items():
            began = time.process_time()
            fitted = SparseRec(users=users, **params).fit(learned, **how)
            seconds = time.process_time() - began
            if name == OLD:
                fitted.save(old)
            ndcg = evaluate(fitted.model_, both, test)["ndcg"]
            results[name] = {"seconds": seconds, "ndcg": ndcg}
    return results


def main() -> None:
    parser = common.parser(__doc__, default=["gowalla"])
    parser.add_argument("--users", nargs="+", default=["history", "embedding"])
    parser.add_argument("--share", type=float, default=0.05, help="share of new interactions")
    parser.add_argument("--dim", type=int, default=None, help="default: by the data")
    args = parser.parse_args()
    epochs = 4 if args.quick else None
    store = common.Results(args.results, "warm_start")
    rows = []
    for data in [common.GENERATED] if args.quick else args.data:
        for users in args.users:
            what = {
                "data": data, "users": users, "share": args.share, "dim": args.dim,
                "epochs": epochs,
            }  # fmt: skip
            found = store.measure(what, lambda what=what: common.fresh(measure, **what))
            anew = found[ANEW]
            for name in (ANEW, OLD, ALL, NEW):
                ndcg = found[name]["ndcg"]
                time_share = (
                    "" if name == OLD else f"{found[name]['seconds'] / anew['seconds']:.0%}"
                )
                rows.append(
                    (data, users, name, time_share, f"{ndcg:.4f}", f"{ndcg / anew['ndcg']:.1%}")
                )
    headers = ("data", "users", "model", "time", "NDCG@20", "of the full fit")
    common.finish("warm_start", common.table(rows, headers), args.write_readme)


if __name__ == "__main__":
    main()
