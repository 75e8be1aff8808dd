"""Feed mutated model files to all four readers: each must be refused by all, or work in all.

    python bench/fuzz.py [--files 100000] [--seed 0]

Two of three mutants are *rebuilt*: numbers of the layout, bits of a part, or texts within their
deflated stream are changed, then all lengths, offsets and checksums are made to fit, so that the
change reaches the code that decodes. The others are damaged anywhere: truncation, growth, flipped
bits, overwritten words (NaN, infinity, all ones), bytes moved about, and lies in the header
(counts, offsets, types, duplicate and missing keys, deep nesting), mostly with valid checksums. For
each file everything that the runtimes can do is done. A *surprise* is any exception but
`ModelFileError`, a result that is not finite, readers that do not agree on whether to take a file
or on what it recommends, a request that takes more than 5 s, or memory beyond 512 MB. Prints one
JSON object; exits with 1 and tells the seed of the file if there was a surprise.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np import ModelFileError
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.byte_source import ByteSource
from sparserec_np.modelfile.container import parse, strict_json
from sparserec_np.modelfile.layout import Layout
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.model import Model, load
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
        if seed == 1:
            others = _table(rng, n_items, n_items)
            added = Neighbours(others.indptr, others.dims.astype(np.int32), others.values)
            model = replace(model, neighbours=added)
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


def lie(value: Any, draw: random.Random, key: str = "") -> Any:
    """Replace one scalar somewhere in a JSON value, going into texts that hold JSON."""
    if isinstance(value, dict) and value:
        key = draw.choice(sorted(value))
        action = draw.random()
        if action < 0.05:
            del value[key]
        elif action < 0.1:
            value[draw.choice(["x", "items", "weights", *value])] = draw.choice(NASTY)
        else:
            value[key] = lie(value[key], draw, key)
        return value
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        value[place] = lie(value[place], draw)
        return value
    if key in {"model", "config", "facts"} and isinstance(value, str) and draw.random() < 0.95:
        return json.dumps(lie(json.loads(value), draw), separators=(",", ":"))
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
                lie(header, draw)

            try:
                sealed = with_header(sealed, change)
            except (ValueError, AttributeError):
                break  # the lie before left no header to lie in
        return kind, sealed, True
    sealed = bytes(out)
    return kind, seal(sealed) if "seal" in kind else sealed, "seal" in kind


class Parts:
    """A file taken apart: its texts, and the bytes and dtype of each of its tensors."""

    def __init__(self, data: bytes) -> None:
        container = parse(ByteSource(data))
        self.texts = {k: v for k, v in container.metadata.items() if not k.endswith("crc32")}
        self.bytes = {name: container.read(name).tobytes() for name in container.tensors}
        self.dtypes = {name: tensor.dtype for name, tensor in container.tensors.items()}

    @property
    def model(self) -> dict[str, Any]:
        """The layout, a new object at each use; write a changed one back."""
        return json.loads(self.texts["model"])

    @model.setter
    def model(self, value: dict[str, Any]) -> None:
        self.texts["model"] = json.dumps(value)

    def mend(self, filler: Callable[[int], bytes] = bytes) -> None:
        """Set every tensor to the length that the layout asks for, if the layout is one at all."""
        try:
            wanted = Layout.from_json(strict_json(self.texts["model"]), "").tensors()
        except (ModelFileError, ValueError):
            return
        if sum(length for _, length in wanted.values()) > 1 << 24:
            return
        for name, (dtype, length) in wanted.items():
            size = length * (1 if dtype == "U8" else 4)
            have = self.bytes.get(name, b"")
            self.bytes[name] = (have + filler(size)[len(have) :])[:size]
            self.dtypes[name] = dtype

    def join(self) -> bytes:
        """Make a file of the parts, with valid offsets and checksums."""
        names = sorted(self.bytes, key=lambda name: self.dtypes[name] == "U8")
        header: dict[str, Any] = {
            "__metadata__": {**self.texts, "data_crc32": "0" * 8, "header_crc32": "0" * 8}
        }
        begin = 0
        for name in names:
            end = begin + len(self.bytes[name])
            shape = [(end - begin) // (1 if self.dtypes[name] == "U8" else 4)]
            header[name] = {
                "dtype": self.dtypes[name], "shape": shape, "data_offsets": [begin, end]
            }  # fmt: skip
            begin = end
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % 8)
        body = b"".join(self.bytes[name] for name in names)
        return seal(len(raw).to_bytes(8, "little") + raw + body)


def rebuild(data: bytes, draw: random.Random) -> bytes:
    """Change parts of a file and mend all lengths, offsets and checksums around them.

    What comes out is structurally valid, so that the change reaches the code that decodes.
    """
    parts = Parts(data)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        name = draw.choice(sorted(parts.bytes))
        change = draw.choice([_change_layout, _change_bytes, _change_bytes, _change_bits])
        if name.endswith(".texts") and draw.random() < 0.8:
            change = _change_texts
        if draw.random() < 0.03:
            odd = {"a": draw.choice(NASTY), "b": draw.choice(["\ud800", "\x1b[2J"])}
            parts.texts[draw.choice(["config", "facts"])] = json.dumps(odd)
        change(parts, name, draw)
    if draw.random() < 0.9:
        parts.mend(draw.choice([bytes, draw.randbytes]))
    return parts.join()


def _change_layout(parts: Parts, name: str, draw: random.Random) -> None:
    """Change one number of the layout."""
    model = parts.model
    inner = draw.choice([model, *(v for v in model.values() if isinstance(v, dict))])
    keys = [key for key, value in inner.items() if not isinstance(value, dict)]
    key = draw.choice(sorted(keys))
    value = inner[key]
    if key in {"start", "span"}:
        inner[key] = str(int(value) + draw.choice([-(2**62), -1, 1, 3, 2**31, 2**60, 2**63]))
    elif type(value) is int:
        inner[key] = draw.choice([value - 1, value + 1, float(value), value * 2, 0, 45, 50, 56])
    elif isinstance(value, bool):
        inner[key] = not value
    elif isinstance(value, float):
        inner[key] = draw.choice([0, 2, 1.999, 2.0001, -0.0, 1])
    parts.model = model


def _change_bytes(parts: Parts, name: str, draw: random.Random) -> None:
    out = bytearray(parts.bytes[name])
    for _ in range(draw.choice([1, 1, 4]) if out else 0):
        if len(out) >= 4 and (name.endswith(".levels") or draw.random() < 0.2):
            place = 4 * draw.randrange(len(out) // 4)
            out[place : place + 4] = draw.choice(WORDS)
        else:
            out[draw.randrange(len(out))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
    parts.bytes[name] = bytes(out)


def _change_bits(parts: Parts, name: str, draw: random.Random) -> None:
    """Swap two bits: of a unary vector the number of keys stays the same."""
    names = [
        other
        for other in sorted(parts.bytes)
        if other.endswith((".high", ".low")) and parts.bytes[other]
    ]
    if not names:
        return
    name = draw.choice(names)
    out = int.from_bytes(parts.bytes[name], "little")
    a, b = (draw.randrange(8 * len(parts.bytes[name])) for _ in range(2))
    if (out >> a & 1) != (out >> b & 1):
        out ^= 1 << a | 1 << b
    parts.bytes[name] = out.to_bytes(len(parts.bytes[name]), "little")


def _change_texts(parts: Parts, name: str, draw: random.Random) -> None:
    """Change texts where they are not packed, and pack them again."""
    model = parts.model
    fields = model.get(name.partition(".")[0])
    if not isinstance(fields, dict):
        return
    raw = parts.bytes[name]
    try:
        out = bytearray(zlib.decompress(raw) if fields.get("deflated") else raw)
    except zlib.error:
        return
    for _ in range(draw.choice([1, 1, 2, 6])):
        kind = draw.randrange(4)
        if kind == 0 and out:
            out[draw.randrange(len(out))] = draw.choice([0, 1, 2, 65, 128, 0xED, 0xC3, 255])
        elif kind == 1 and len(out) > 9:  # two lengths that keep their sum
            a, b = (draw.randrange(min(len(out), 160)) for _ in range(2))
            if out[a] and out[b] < 255:
                out[a], out[b] = out[a] - 1, out[b] + 1
        elif kind == 2:
            out += draw.choice([b"a", "é".encode(), b"\xed\xa0\x80", b"\xef\xbb\xbf"])
        elif out:
            del out[draw.randrange(len(out)) :][:1]
    width, n = fields.get("width"), model.get("n_users" if name[0] == "u" else "n_items")
    if draw.random() < 0.8 and type(width) is int and type(n) is int:
        fields["bytes"] = max(len(out) - 2 * n * width, 0)
    fields["deflated"] = draw.random() < 0.6
    packed = zlib.compress(bytes(out)) if fields["deflated"] else bytes(out)
    ending = draw.random()
    if ending < 0.04:
        packed += b"x"
    elif ending < 0.08:
        packed = packed[: -draw.randrange(1, 6)]
    parts.bytes[name], fields["stored"] = packed, len(packed)
    parts.model = model


Answer = dict[str, Any]
"""What a reader made of a file: items and scores of one request; nothing for no history model."""


def exercise(data: bytes) -> Answer:
    """Do everything that the NumPy runtime can do with a file."""
    model = load(data, verify=True)
    _use(model)
    model._file.arrays()
    model.info()
    return _answer(model)


def compiled(data: bytes) -> Answer:
    """Ask the compiled runtime."""
    from sparserec_np.retrieval.compiled_model import load_compiled

    model = load_compiled(data, verify=True)
    _use(model)
    return _answer(model)


def _use(model: Model) -> None:
    ids = model.item_ids.take(range(min(3, len(model.item_ids))))
    if model.users == "history":
        requests: list[dict[str, Any]] = [{"history": ids}, {"history": ids[:1]}]
    else:
        assert model.user_ids is not None
        places = [0, len(model.user_ids) // 2, len(model.user_ids) - 1]
        requests = [{"user": user} for user in model.user_ids.take(places)]
        model.users_table()
    for request in requests:
        found, scores = model.recommend(**request, k=5)
        assert np.isfinite(scores).all() and len(found) == len(scores)
        model.labels_of(found)
        if found:
            explanation = model.explain(found[0], **request)
            assert abs(explanation.score - scores[0]) <= 1e-5 * max(1, abs(scores[0]))
    assert np.isfinite(model.similar_items(ids[0], 5)[1]).all()


def _answer(model: Model) -> Answer:
    if model.users != "history":
        return {}
    items, scores = model.recommend(history=model.item_ids.take([0, len(model.item_ids) - 1]), k=5)
    return {"items": list(map(str, items)), "scores": scores.tolist()}


def standard_library(data: bytes) -> Answer:
    """Ask the standard-library runtime."""
    from sparserec_np import runtime_stdlib

    # A file system flushes a file that is overwritten in place, so each has a name of its own.
    with tempfile.NamedTemporaryFile(suffix=".srec", dir=FOLDER) as file:
        file.write(data)
        file.flush()
        try:
            model = runtime_stdlib.load(file.name, verify=True)
            items, scores = model.recommend([model.item_ids[0], model.item_ids[-1]], k=5)
        except runtime_stdlib.ModelFileError as error:
            raise ModelFileError(str(error)) from error
    return {"items": list(map(str, items)), "scores": scores}


FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None

_READ = """
const { readFileSync } = require("node:fs"), { createInterface } = require("node:readline");
const reader = require("node:vm").runInThisContext(readFileSync(process.argv[1]) + ";sparserec");
(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    const bytes = Uint8Array.from(Buffer.from(line, "base64"));
    let answer;
    try {
      const model = await reader.load(bytes.buffer);
      const hits = model.recommend([0, model.size - 1], 5);
      answer = { ids: model.ids.map(String), labels: model.labels,
                 items: hits.map((hit) => String(model.ids[hit.index])),
                 scores: hits.map((hit) => hit.score) };
    } catch (error) {
      answer = { refused: error.message, known: error.message.startsWith("not a usable model: ") };
    }
    console.log(JSON.stringify(answer));
  }
})();
"""


class JavaScript:
    """The JavaScript reader, in a process of Node.js.

    Args:
        heap: Most megabytes of its heap.
    """

    def __init__(self, heap: int = 512) -> None:
        script = resources.files("sparserec_np") / "web" / "sparserec.js"
        self.process = subprocess.Popen(
            ["node", f"--max-old-space-size={heap}", "-e", _READ, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, data: bytes) -> Answer:
        """Read a file; ids and labels of all items are in the answer, too."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(base64.b64encode(data).decode() + "\n")
        self.process.stdin.flush()
        answer: Answer = json.loads(self.process.stdout.readline() or '{"refused": "it died"}')
        if answer.get("known"):
            raise ModelFileError(answer["refused"])
        assert "refused" not in answer, answer["refused"]
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


class Slow(Exception):
    """A request took too long."""


def _alarm(*_: object) -> None:
    raise Slow


Reader = Callable[[bytes], Answer]


def judge(data: bytes, readers: Mapping[str, Reader]) -> str:
    """Open a file with all readers.

    Returns:
        ``"accepted"`` or ``"refused"``, if all agree; an embedding model must be refused by the
        readers that serve history models alone.

    Raises:
        AssertionError: They disagree, about the file or about its answers.
        Exception: A reader raised anything but ``ModelFileError``.
    """
    answers: dict[str, Answer] = {}
    refused: dict[str, str] = {}
    for name, reader in readers.items():
        signal.alarm(SECONDS)
        try:
            answers[name] = reader(data)
        except ModelFileError as error:
            refused[name] = str(error)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
        finally:
            signal.alarm(0)
    all_users = [name for name in readers if name in ("numpy", "compiled")]
    if answers and not any(answers[name] for name in all_users if name in answers):
        if answers.keys() == set(all_users):
            return "accepted"
    elif not answers or not refused:
        first, *others = list(answers.values()) or [{}]
        for other in others:
            assert other["items"] == first["items"], answers
            assert np.allclose(other["scores"], first["scores"], 1e-5, 1e-6), answers
        return "accepted" if answers else "refused"
    raise AssertionError(f"accepted by {', '.join(answers)}, but {refused}")


def run(files: int, seed: int, readers: Mapping[str, Reader]) -> Counter[str]:
    """Try mutated files; count outcomes. Surprises are printed to stderr with their seed."""
    originals = samples()
    outcomes: Counter[str] = Counter()
    signal.signal(signal.SIGALRM, _alarm)
    for number in range(seed, seed + files):
        kind, data = mutant(originals, number)
        try:
            outcomes[f"{kind}: {judge(data, readers)}"] += 1
        except Exception as error:
            outcomes["surprises"] += 1
            print(f"surprise at --seed {number}: {kind}: {error!r}", file=sys.stderr)
    return outcomes


def mutant(originals: list[bytes], number: int) -> tuple[str, bytes]:
    """Make the mutant of a number: two of three are rebuilt, the others damaged anywhere."""
    original = originals[number % len(originals)]
    if number % 3:
        draw = random.Random(number)
        try:
            return "rebuilt", rebuild(original, draw)
        except (ValueError, KeyError, OverflowError):
            pass
    kind, data, _ = mutate(original, number)
    return kind, data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    script = JavaScript()
    readers = {
        "numpy": exercise,
        "compiled": compiled,
        "standard library": standard_library,
        "javascript": script,
    }
    for data in samples():
        compiled(data)  # before time and memory are limited
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + (512 << 20),) * 2)
    start = time.perf_counter()
    outcomes = run(args.files, args.seed, readers)
    script.close()
    seconds = round(time.perf_counter() - start, 1)
    surprises = outcomes.pop("surprises", 0)
    kinds = dict(sorted(outcomes.items()))
    print(json.dumps({"files": args.files, "surprises": surprises, "seconds": seconds, **kinds}))
    sys.exit(1 if surprises else 0)


if __name__ == "__main__":
    main()
