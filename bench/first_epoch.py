"""Time from the command to the first epoch, reading excluded.

    python bench/first_epoch.py [--data gowalla] [--repeats 5]

Every fit is a fresh process, on train + valid, and ends where its first epoch would begin. A first
round is not counted: it compiles what is not in the cache yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import common
import peers
from common import Result


class FirstEpoch(Exception):
    """Training has reached its first epoch."""


def start(data: str, users: str, started: float) -> Result:
    """Fit up to the first epoch.

    Args:
        data: Name of the data set.
        users: User model.
        started: Time at which the process was started, as :func:`time.time` counts it.
    """
    began = time.time()
    known, _ = common.load_for_test(data)
    reading = time.time() - began
    from sparserec_np import SparseRec
    from sparserec_np.training.trainer import Trainer

    def stop(*_: object) -> None:
        raise FirstEpoch

    Trainer.epoch = stop  # type: ignore[method-assign,assignment]
    began = time.time()
    try:
        SparseRec(users=users, max_size=peers.SIZE, epochs=1).fit(known)
    except FirstEpoch:
        ended = time.time()
    return {"fit_seconds": ended - began, "command_seconds": ended - started - reading}


def measure(runs: dict[str, Callable[[], Result]], repeats: int) -> Result:
    """Make a round that is not counted, then those that are."""
    peers.in_turn(runs, 1)
    return peers.in_turn(runs, repeats)


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla",))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    runs: dict[str, Callable[[], Result]] = {
        f"{data}, {users}": lambda data=data, users=users: common.fresh(
            start, data=data, users=users, started=time.time()
        )
        for data in ([common.GENERATED] if args.quick else args.data)
        for users in peers.USERS
    }
    results = common.Results(args.results, "first_epoch")
    found = results.measure(
        {"data": list(runs), "repeats": args.repeats},
        lambda: measure(runs, 1 if args.quick else args.repeats),
    )
    rows = [
        [name, f"{one['fit_seconds']:.2f}", f"{one['command_seconds']:.2f}"]
        for name, one in found.items()
    ]
    heads = ["to the first epoch", "from `fit`, s", "from the command, s"]
    common.finish("first_epoch", common.table(rows, heads), args.write_readme)


if __name__ == "__main__":
    main()
