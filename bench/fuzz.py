"""Feed mutated model files to the readers: every one must be refused in good order, or work.

    python bench/fuzz.py [--files 100000] [--seed 0]

Mutations: truncation, growth, flipped bits, overwritten words (NaN, infinity, all ones), bytes
moved about, and lies in the header (counts, offsets, types, duplicate and missing keys, deep
nesting). Most are sealed again with valid checksums, as a hostile writer would, so that they get
past those. For each file everything that the runtimes can do is done. A *surprise* is any
exception but `ModelFileError`, a result that is not finite, a damaged file that passes a
verification, a request that takes more than 5 s, or memory beyond 512 MB. Prints one JSON object;
exits with 1 and keeps the file's seed if there was a surprise.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np import ModelFileError, UnknownIdError
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.model import load
from sparserec_np.vocabulary import Ids, from_values

SECONDS = 5
NASTY: list[Any] = [
    -1, 0, 1, 2, 7, 8, 9, 57, 64, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32, 2**53, 2**63,
    2**64, 10**19, 10**30, 1.5, -0.0, 1e308, "", "x", "-1", "9223372036854775807",
    "99999999999999999999", None, True, False, [], {}, [[]], "history", "embedding", "int", "str",
]  # fmt: skip
WORDS = [
    b"\xff" * 4, b"\x00" * 4, struct.pack("<f", float("nan")), struct.pack("<f", float("inf")),
    struct.pack("<f", -1e30), struct.pack("<f", 1e6), struct.pack("<f", -1e-40), b"\x80" * 4,
]  # fmt: skip


def _ids(rng: np.random.Generator, n: int, kind: str) -> Ids:
    if kind == "range":
        return from_values(np.arange(n))
    numbers = rng.choice(9 * n, n, replace=False)
    return from_values([f"ïd-{i}" for i in numbers] if kind == "str" else numbers)


def _table(rng: np.random.Generator, rows: int, dim: int) -> Table:
    lengths = rng.integers(0, 6, rows)
    dims = [np.sort(rng.choice(dim, n, replace=False)) for n in lengths]
    values = rng.standard_normal(lengths.sum()).astype(np.float32)
    return Table(np.r_[0, np.cumsum(lengths)], np.concatenate(dims).astype(np.uint16), values, dim)


def samples() -> list[bytes]:
    """Small models of all kinds."""
    n_items, n_users, dim = 40, 300, 12
    files = []
    for seed, kind in enumerate(["int", "str", "range", "str"]):
        rng = np.random.default_rng(seed)
        embedding = seed > 1
        model = ModelArrays(
            users="embedding" if embedding else "history",
            dim=dim,
            item_ids=_ids(rng, n_items, kind),
            items=_table(rng, n_items, dim),
            item_bias=rng.standard_normal(n_items).astype(np.float32),
            history_weights=None if embedding else rng.uniform(0.1, 2, n_items).astype(np.float32),
            history_exponent=0.0 if embedding else 0.5,
            history_power=0.875 if seed == 1 else 1.0,
            history_recency=0.5 if seed == 1 else 0.0,
            user_ids=_ids(rng, n_users, kind) if embedding else None,
            user_rows=_table(rng, n_users, dim) if embedding else None,
            labels=[f"Łabel {n}" * (n % 3) for n in range(n_items)] if seed % 2 else None,
            config={"dim": dim},
            facts={"n_users": n_users},
        )
        files.append(encode(model, bias_bits=3, history_bits=3))
    return files


def seal(data: bytes) -> bytes:
    """Write valid checksums into a file, as far as it has places for them."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        return data
    header, body = data[: 8 + length], data[8 + length :]
    for key, content in ((b'"data_crc32":"', body), (b'"header_crc32":"', None)):
        place = header.find(key) + len(key)
        if place >= len(key):
            blank = header[:place] + b"00000000" + header[place + 8 :]
            crc = zlib.crc32(blank if content is None else content)
            header = header[:place] + b"%08x" % crc + header[place + 8 :]
    return header + body


def with_header(data: bytes, change: Callable[[dict[str, Any]], str | None]) -> bytes:
    """Change the parsed header, or return its new text; then seal."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = change(header)
    raw = (json.dumps(header, separators=(",", ":")) if text is None else text).encode()
    raw += b" " * (-len(raw) % 8)
    return seal(len(raw).to_bytes(8, "little") + raw + data[8 + length :])


def _lie(value: Any, draw: random.Random, key: str = "") -> Any:
    """Replace one scalar somewhere in a JSON value, going into texts that hold JSON."""
    if isinstance(value, dict) and value:
        key = draw.choice(sorted(value))
        action = draw.random()
        if action < 0.05:
            del value[key]
        elif action < 0.1:
            value[draw.choice(["x", "items", "weights", *value])] = draw.choice(NASTY)
        else:
            value[key] = _lie(value[key], draw, key)
        return value
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        value[place] = _lie(value[place], draw)
        return value
    if key in {"model", "config", "facts"} and isinstance(value, str) and draw.random() < 0.95:
        return json.dumps(_lie(json.loads(value), draw), separators=(",", ":"))
    if type(value) is int and draw.random() < 0.5:
        return value + draw.choice([-8, -1, 1, 8])
    return draw.choice(NASTY)


def _duplicate_or_nest(header: dict[str, Any], draw: random.Random) -> str:
    text = json.dumps(header, separators=(",", ":"))
    kind = draw.randrange(4)
    if kind == 0:
        key = draw.choice(sorted(header))
        return "{" + json.dumps(key) + ":" + json.dumps(header[key]) + "," + text[1:]
    if kind == 1:
        depth = draw.choice([10, 1000, 100_000])
        return text[:-1] + ',"deep":' + "[" * depth + "]" * depth + "}"
    if kind == 2:
        inner = '{"a":' * draw.choice([10, 100_000])
        return text.replace('"facts":"{', '"facts":"' + inner.replace('"', '\\"') + "{", 1)
    return text.replace(draw.choice([":0", ":[", "{", '"']), draw.choice(["NaN", "", "1e999"]), 1)


def mutate(data: bytes, seed: int) -> tuple[str, bytes, bool]:
    """Damage a file.

    Returns:
        What was done, the bytes, and whether the checksums were made valid again.
    """
    draw = random.Random(seed)
    kind = draw.choice(
        ["truncate", "grow", "flip", "flip+seal", "word+seal", "move+seal", "lie", "lies", "json"]
    )
    out = bytearray(data)
    start = 8 + int.from_bytes(data[:8], "little")
    if kind == "truncate":
        return kind, data[: draw.randrange(len(data))], False
    if kind == "grow":
        return kind, data + draw.randbytes(draw.randrange(1, 50)), False
    if kind.startswith("flip"):
        low = start if "seal" in kind and draw.random() < 0.7 else 0
        for _ in range(draw.choice([1, 1, 2, 8])):
            out[draw.randrange(low, len(out))] ^= 1 << draw.randrange(8)
    elif kind == "word+seal":
        for _ in range(draw.choice([1, 3])):
            place = start + 4 * draw.randrange((len(out) - start) // 4)
            out[place : place + 4] = draw.choice(WORDS)
    elif kind == "move+seal":
        a, b, n = (draw.randrange(start, len(out)) for _ in range(3))
        n = min(n - start, len(out) - max(a, b))
        out[a : a + n] = out[b : b + n]
    elif kind == "json":
        return kind, with_header(data, lambda header: _duplicate_or_nest(header, draw)), True
    else:
        sealed = data
        for _ in range(1 if kind == "lie" else 3):

            def change(header: dict[str, Any]) -> None:
                _lie(header, draw)

            try:
                sealed = with_header(sealed, change)
            except (ValueError, AttributeError):
                break  # the lie before left no header to lie in
        return kind, sealed, True
    sealed = bytes(out)
    return kind, seal(sealed) if "seal" in kind else sealed, "seal" in kind


def exercise(data: bytes) -> None:
    """Do everything that the NumPy runtime can do with a file."""
    model = load(data)
    if model._file.layout.items.n_rows > 10_000:
        raise AssertionError("many items in a small file")
    ids = model.item_ids.take(range(min(3, len(model.item_ids))))
    if model.users == "history":
        requests: list[dict[str, Any]] = [{"history": ids}, {"history": ids[:1]}]
    else:
        assert model.user_ids is not None
        places = [0, len(model.user_ids) // 2, len(model.user_ids) - 1]
        requests = [{"user": user} for user in model.user_ids.take(places)]
        model.users_table()
    for request in requests:
        try:
            found, scores = model.recommend(**request, k=5)
        except UnknownIdError as error:
            raise AssertionError("an id of the model is unknown to it") from error
        assert np.isfinite(scores).all() and len(found) == len(scores)
        model.labels_of(found)
        if found:
            explanation = model.explain(found[0], **request)
            assert abs(explanation.score - scores[0]) <= 1e-5 * max(1, abs(scores[0]))
    assert np.isfinite(model.similar_items(ids[0], 5)[1]).all()
    model.items_table()
    model._file.arrays()
    model.info()


class Slow(Exception):
    """A request took too long."""


def _alarm(*_: object) -> None:
    raise Slow


def run(
    files: int, seed: int, readers: list[Callable[[bytes], None]] | None = None
) -> Counter[str]:
    """Try mutated files; count outcomes. Surprises are printed to stderr with their seed."""
    originals = samples()
    outcomes: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, _alarm)
    for number in range(seed, seed + files):
        original = originals[number % len(originals)]
        kind, data, sealed = mutate(original, number)
        for reader in readers or [exercise]:
            signal.alarm(SECONDS)
            try:
                if not sealed and data != original:
                    try:
                        load(data, verify=True)
                    except ModelFileError:
                        pass
                    else:
                        raise AssertionError("a damaged file passes the verification")
                reader(data)
                outcomes[f"{kind}: works"] += 1
            except ModelFileError:
                outcomes[f"{kind}: refused"] += 1
            except Exception as error:
                outcomes["surprises"] += 1
                print(f"surprise at --seed {number}: {kind}: {error!r}", file=sys.stderr)
            finally:
                signal.alarm(0)
    return outcomes


def stdlib_reader(folder: Path) -> Callable[[bytes], None]:
    """Recommend with the standard-library runtime; its own error stands for ModelFileError."""
    from sparserec_np import runtime_stdlib

    path = folder / "mutated.srec"

    def read(data: bytes) -> None:
        path.unlink(missing_ok=True)  # file systems flush a file that is overwritten in place
        path.write_bytes(data)
        try:
            model = runtime_stdlib.load(path)
            if model.users == "history":
                _, scores = model.recommend(model.item_ids[:3], k=5)
                assert all(map(np.isfinite, scores))
        except runtime_stdlib.ModelFileError as error:
            raise ModelFileError(str(error)) from error

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + (512 << 20),) * 2)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        readers = [exercise, stdlib_reader(Path(folder))]
        outcomes = run(args.files, args.seed, readers)
    seconds = round(time.perf_counter() - start, 1)
    surprises = outcomes.pop("surprises", 0)
    kinds = dict(sorted(outcomes.items()))
    print(json.dumps({"files": args.files, "surprises": surprises, "seconds": seconds, **kinds}))
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
