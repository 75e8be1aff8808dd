"""Resume fits from damaged checkpoints: each is passed over in good order, or the fit goes on.

    python bench/fuzz_checkpoints.py [--files 20000] [--seed 0]

Half of the mutants are damaged anywhere (flipped bits, truncation, fields of the zip directory);
the others are written anew with arrays of other types, shapes and values, and lies in their texts.
A folder holds the mutant alone. What the loader takes, a fit is resumed from, so that compiled code
sees it. A *surprise* is any exception but `InputError`; a crash ends the process. Prints one JSON
object; exits with 1 and tells the seed of the file if there was a surprise.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import lie

from sparserec_np import InputError, SparseRec
from sparserec_np.data import Interactions, from_pairs

DTYPES = ["u1", "u2", "<i4", "<i8", "<f4", "<f8", "<c16", "S3", "<U2", "?", ">i8"]
NUMBERS: list[Any] = [-1, 0, 1, 59, 60, 90, 65_535, 2**31, 2**62, -(2**63), 1e30, np.nan, np.inf]


def interactions() -> Interactions:
    """Users of three tastes."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(90), 8)
    return from_pairs(users, rng.integers(0, 20, users.size) + users % 3 * 20)


def resume(users: str, folder: Path, stop: int | None = None) -> None:
    """Fit, or go on from what is in a folder; stop as Ctrl-C does after an epoch."""

    def on_epoch(metrics: Any) -> None:
        if metrics.stage == "train" and metrics.epoch == stop:
            raise KeyboardInterrupt

    model = SparseRec(users=users, dim=16, sparsity=0.7, epochs=4, threads=1)
    model.fit(interactions(), checkpoint=folder, resume=True, on_epoch=on_epoch)


def originals(folder: Path) -> dict[str, bytes]:
    """A checkpoint of each user model."""
    found = {}
    for users in ("history", "embedding"):
        try:
            resume(users, folder / users, stop=3)
        except KeyboardInterrupt:
            found[users] = max((folder / users).glob("*.npz")).read_bytes()
    return found


def mutate(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Damage a checkpoint; return what was done, and the bytes."""
    kind = draw.choice(["flip", "cut", "zip", "array", "array", "array", "meta", "meta"])
    out = bytearray(data)
    if kind == "cut":
        return kind, data[: draw.randrange(len(data))]
    if kind in ("flip", "zip"):
        low = data.index(b"PK\x01\x02") if kind == "zip" else 0
        for _ in range(draw.choice([1, 1, 3, 20])):
            place = draw.randrange(low, len(out))
            out[place] = draw.choice([0, 255, out[place] ^ 1 << draw.randrange(8)])
        return kind, bytes(out)
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if kind == "meta":
        meta = lie(json.loads(arrays["meta"].tobytes()), draw)
        text = json.dumps(meta)
        if draw.random() < 0.1:
            text = draw.choice(["", "[" * 10**5, text[:-1], '{"format":3}', "NaN", '"\ud800"'])
        arrays["meta"] = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    for _ in range(draw.choice([1, 1, 2]) if kind == "array" else 0):
        name = draw.choice(sorted(arrays))
        arrays[name] = _change(arrays[name], draw)
        if draw.random() < 0.1:
            del arrays[name]
    file = io.BytesIO()
    (np.savez_compressed if draw.random() < 0.05 else np.savez)(file, **arrays)
    return kind, file.getvalue()


def _change(array: Any, draw: random.Random) -> Any:
    kind = draw.randrange(5)
    if kind == 0:
        with np.errstate(all="ignore"):
            return array.astype(draw.choice(DTYPES))
    if kind == 1:
        return array[: draw.randrange(len(array) + 1)] if array.ndim else array
    if kind == 2:
        twice = np.concatenate([array, array])
        return draw.choice([array[None], array[:, None], twice, array[::-1]])
    changed = array.copy()
    if not len(changed):
        return np.zeros(draw.choice([1, 7]), array.dtype)
    for _ in range(draw.choice([1, 1, 5])):
        with np.errstate(all="ignore"):
            place = draw.randrange(len(changed))
            changed[place] = np.asarray(draw.choice([*NUMBERS, 3, 7])).astype(array.dtype)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        good = originals(folder)
        for number in range(args.seed, args.seed + args.files):
            users = "embedding" if number % 2 else "history"
            kind, data = mutate(good[users], random.Random(number))
            place = folder / f"{number}"
            place.mkdir()
            (place / "checkpoint-000003.npz").write_bytes(data)
            try:
                resume(users, place)
                outcomes[f"{kind}: resumed"] += 1
            except InputError:
                outcomes[f"{kind}: passed over"] += 1
            except Exception as error:
                outcomes["surprises"] += 1
                print(f"surprise at --seed {number}: {kind}: {error!r}", file=sys.stderr)
            for path in place.iterdir():
                path.unlink()
    seconds = round(time.perf_counter() - start, 1)
    surprises = outcomes.pop("surprises", 0)
    kinds = dict(sorted(outcomes.items()))
    print(json.dumps({"files": args.files, "surprises": surprises, "seconds": seconds, **kinds}))
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
