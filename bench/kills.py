"""Fits killed at random moments and resumed, compared byte by byte with fits left alone.

    python bench/kills.py [--kills 50] [--ratings FILE] [--epochs 8]

The two user models take turns. Each time a fit with a checkpoint after every epoch is started,
killed (``kill -9``) at a moment drawn uniformly from the length of a whole fit, and resumed to its
end. The model must have the bytes of a fit that was left alone, and an older model at the same path
must be whole at every moment. Prints one JSON object; ends with status 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import data_folder

OLD = b"the model that was there before"


def fit(ratings: Path, users: str, epochs: int, model: Path, *more: object) -> list[str]:
    """Return the command line of a fit."""
    command = [sys.executable, "-m", "sparserec_np", "fit", ratings, "-o", model]
    options = ["--users", users, "--dim", 64, "--sparsity", 0.9, "--epochs", epochs, "-q"]
    return [str(part) for part in (*command, *options, *more)]


def run(command: list[str]) -> float:
    """Run a command to its end; return the seconds that it took."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def kill_once(begin: list[str], resume: list[str], after: float, model: Path, kept: Path) -> str:
    """Kill a fit after some seconds and resume it; return the stage in which it was killed."""
    model.write_bytes(OLD)
    process = subprocess.Popen(begin, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
        where = "already done"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        where = "in an epoch" if list(kept.glob("checkpoint-*")) else "before the first checkpoint"
    if where != "already done":
        if model.read_bytes() != OLD:
            where = "after the model was written"
        run(resume)
    return where


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ratings", type=Path, default=None, help="default: lastfm's train.csv")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    args = parser.parse_args()
    ratings = args.ratings or data_folder() / "lastfm" / "train.csv"
    draw = random.Random(args.seed)
    where: Counter[str] = Counter()
    different = left_over = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole, seconds = {}, {}
        for users in ("history", "embedding"):
            model = folder / f"{users}.srec"
            run(fit(ratings, users, args.epochs, model))  # warms up the compiled code
            seconds[users] = run(fit(ratings, users, args.epochs, model))
            whole[users] = model.read_bytes()
        for kill in range(args.kills):
            users = ("history", "embedding")[kill % 2]
            here = folder / str(kill)
            here.mkdir()
            model, kept = here / "model.srec", here / "kept"
            begin = fit(ratings, users, args.epochs, model, "--checkpoint", kept)
            after = draw.uniform(0, seconds[users])
            hit = kill_once(begin, [*begin, "--resume"], after, model, kept)
            where[hit] += 1
            different += model.read_bytes() != whole[users]
            left_over += len(list(kept.iterdir())) + len(list(here.iterdir())) - 2
            print(f"{kill + 1}: {users}, {after:.2f} s, {hit}", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "kills": args.kills,
                "different": different,
                "where": dict(where),
                "files_left_over": left_over,
                "seconds_of_a_fit": {name: round(value, 2) for name, value in seconds.items()},
            }
        )
    )
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
