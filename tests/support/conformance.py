"""Write the table of conformance files: what every reader must take, and what it must refuse.

    python tests/support/conformance.py

`tests/modelfile/conformance.zip` holds small files, each in the folder of its verdict: `accept`,
`refuse`, or `embedding` (accepted by readers that serve embedding models, refused by those that do
not). The names say which rule of FORMAT.md a file breaks, or what is odd about a good one.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS / "modelfile" / "conformance.zip"


def load_fuzz() -> Any:
    """Load `bench/fuzz.py` as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", TESTS.parent / "bench" / "fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> Iterator[tuple[str, str, bytes]]:
    """Yield name, verdict and bytes of each file."""
    sys.path.insert(0, str(TESTS))
    from conftest import make_random_model

    from sparserec_np.modelfile.arrays import Neighbours
    from sparserec_np.modelfile.bitpacking import encode_monotone
    from sparserec_np.modelfile.writer import encode
    from sparserec_np.vocabulary import from_values

    fuzz = load_fuzz()

    def small(seed: int = 1, users: str = "history", **more: Any) -> Any:
        return make_random_model(seed, users, n_items=12, n_users=300, dim=4, **more)

    def changed(data: bytes, change: Callable[[Any], object], *, mend: bool = True) -> bytes:
        parts = fuzz.Parts(data)
        change(parts)
        if mend:
            parts.mend()
        return parts.join()

    def layout(data: bytes, *, within: str | None = None, **fields: Any) -> bytes:
        def change(parts: Any) -> None:
            model = parts.model
            (model[within] if within else model).update(fields)
            parts.model = model

        return changed(data, change)

    def without(data: bytes, key: str) -> bytes:
        def change(parts: Any) -> None:
            model = parts.model
            del model[key]
            parts.model = model

        return changed(data, change, mend=False)

    def part(data: bytes, name: str, change: Callable[[bytearray], object]) -> bytes:
        def apply(parts: Any) -> None:
            content = bytearray(parts.bytes[name])
            change(content)
            parts.bytes[name] = bytes(content)

        return changed(data, apply, mend=False)

    def header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
        def apply(value: dict[str, Any]) -> str | None:
            result = change(value)
            return result if isinstance(result, str) else None

        return fuzz.with_header(data, apply)

    def texts(data: bytes, raw: bytes, *, extra: bytes = b"", deflated: bool = True) -> bytes:
        """Give other texts to the ids, as they are before deflating; widths of one byte."""
        stored = (zlib.compress(raw) if deflated else raw) + extra

        def change(parts: Any) -> None:
            model = parts.model
            model["item_ids"] |= {
                "bytes": len(raw) - 24, "width": 1, "stored": len(stored), "deflated": deflated,
            }  # fmt: skip
            parts.model = model
            parts.bytes["item_ids.texts"] = stored

        return changed(data, change, mend=False)

    def ids_of(values: list[bytes], shared: list[int] | None = None) -> bytes:
        shared = shared or [0] * 12
        rests = [value[begin:] for value, begin in zip(values, shared, strict=True)]
        return bytes(shared) + bytes(map(len, rests)) + b"".join(rests)

    good = encode(small())
    words = encode(small(ids="str", labels=True))
    whole = encode(small(ids="range"))
    everyone = encode(small(users="embedding", ids="str", labels=True))
    letters = [bytes([97 + i]) for i in range(12)]

    yield "integers", "accept", good
    yield "texts and labels", "accept", words
    yield "range", "accept", whole
    yield "power and recency", "accept", encode(small(power=0.875, recency=0.5))
    yield "no history weights", "accept", encode(small(weighted=False))
    yield "embedding", "embedding", everyone
    for name, ids in {
        "of 16 digits": [10**15 * 3 + 7 * i for i in range(12)],
        "across 2^53": [2**53 - 6 + i * 2 for i in range(12)],
        "at both ends of int64": [-(2**63), *range(10), 2**63 - 1],
        "far apart": [i * 2**55 for i in range(12)],
        "negative": list(range(-2000, -800, 100)),
        "range beyond 2^53": list(range(2**60, 2**60 + 12)),
    }.items():
        yield f"ids {name}", "accept", encode(replace(small(), item_ids=from_values(ids)))
    for bits in (0, 45, 46, 50, 56):
        keys = from_values([i * 1000 for i in range(12)])

        def low_bits(parts: Any, bits: int = bits) -> None:
            steps = np.arange(12) * 1000
            low, high = encode_monotone(steps, 11_001, bits)
            parts.bytes |= {"item_ids.low": low.tobytes(), "item_ids.high": high.tobytes()}
            model = parts.model
            model["item_ids"]["low_bits"] = bits
            parts.model = model

        data = encode(replace(small(), item_ids=from_values(keys.take(range(12)))))
        yield f"{bits} low bits", "accept", changed(data, low_bits, mend=False)
    yield "empty and odd ids", "accept", texts(
        words, ids_of(sorted([b"", b" ", b"\0", "\ufeff".encode(), "\U0001f3ac".encode(),
                              "\uffff".encode(), "\ufffd".encode(), *letters[:5]]))
    )  # fmt: skip
    yield "whole numbers written as floats", "accept", layout(good, dim=4.0, bias_bits=6.0)
    yield "fields that nobody knows", "accept", layout(good, later={"a": [1, 2.5, None]})
    yield (
        "a later minor version",
        "accept",
        changed(good, lambda parts: parts.texts.update(version="3.17")),
    )
    yield (
        "a tensor that nobody knows",
        "accept",
        changed(good, lambda p: (p.bytes.update(extra=b"123"), p.dtypes.update(extra="BF16"))),
    )

    # The container.
    for cut in (0, 7, 8, 100, len(good) - 1):
        yield f"cut to {cut}", "refuse", good[:cut]
    yield "bytes after the end", "refuse", good + b"\0"
    yield "a wrong checksum of the header", "refuse", good.replace(b'"dim', b'"dIm', 1)
    yield "a wrong checksum of the data", "refuse", good[:-1] + bytes([good[-1] ^ 1])
    yield "no JSON", "refuse", header(good, lambda h: json.dumps(h)[:-1])
    yield "a list", "refuse", header(good, lambda h: "[]")
    yield "a byte order mark", "refuse", header(good, lambda h: "\ufeff" + json.dumps(h))
    yield (
        "a key twice",
        "refuse",
        header(good, lambda h: '{"a":1,' + json.dumps(h)[1:-1] + ',"a":1}'),
    )
    yield "NaN", "refuse", header(good, lambda h: json.dumps(h)[:-1] + ',"a":NaN}')
    yield "a lone surrogate", "refuse", header(good, lambda h: h["__metadata__"].update(a="\ud800"))
    yield (
        "metadata that is no text",
        "refuse",
        header(good, lambda h: h["__metadata__"].update(a=1)),
    )
    for key in ("format", "version", "model", "config", "facts"):
        yield f"no {key}", "refuse", header(good, lambda h, k=key: h["__metadata__"].__delitem__(k))
    for version in ("0.9", "5.0", "1", "1.x", "01.0", "1.0.0", "1.٣", ""):
        yield (
            f"version {version}",
            "refuse",
            changed(good, lambda parts, v=version: parts.texts.update(version=v)),
        )
    deepest = '{"a":' * 33 + "1" + "}" * 33
    large = '{"a":' + "9" * 21 + "}"
    surrogate = '{"a":"\\ud800"}'
    for text in ("[]", "{", '{"a":1e999}', surrogate, '{"a":1,"a":2}', large, deepest):
        for key in ("config", "facts"):
            yield (
                f"{key} {text[:20]}",
                "refuse",
                changed(good, lambda parts, k=key, t=text: parts.texts.update({k: t})),
            )
    deep = '{"a":' * 32 + '"\\u001b[2J"' + "}" * 32
    yield (
        "config nested as deeply as may be",
        "accept",
        changed(good, lambda parts: parts.texts.update(config=deep)),
    )
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    for name, change in {
        "a field more": {"more": 1},
        "a shape of text": {"shape": "0"},
        "a negative size": {"shape": [-1]},
        "half a size": {"shape": [0.5]},
        "33 dimensions": {"shape": [0] * 33},
        "three offsets": {"data_offsets": [0, 0, 0]},
        "offsets beyond 2^53": {"data_offsets": [2**53, 2**53]},
        "a hole": {"data_offsets": [3, 3]},
        "another size": {"shape": [2]},
        "dtype null": {"dtype": None},
    }.items():
        bad = entry | change
        yield f"a tensor with {name}", "refuse", header(good, lambda h, b=bad: h.update(extra=b))
    yield "an empty tensor more", "accept", header(good, lambda h: h.update(extra=entry))
    yield "an entry that is no object", "refuse", header(good, lambda h: h.update(extra=[]))
    yield (
        "a tensor of another dtype",
        "refuse",
        header(good, lambda h: h["items.low"].update(dtype="I8")),
    )
    yield (
        "a tensor of two dimensions",
        "refuse",
        header(good, lambda h: h["items.codes"].update(shape=[1, *h["items.codes"]["shape"]])),
    )
    yield (
        "a tensor missing",
        "refuse",
        changed(good, lambda parts: parts.bytes.pop("bias.levels"), mend=False),
    )

    # The layout.
    for key in (
        "users",
        "dim",
        "n_items",
        "items",
        "bias_bits",
        "item_ids",
        "exponent",
        "history_bits",
    ):
        yield f"no field {key}", "refuse", without(good, key)
    for fields in (
        {"users": "both"}, {"users": None}, {"dim": 0}, {"dim": 65_536}, {"dim": True},
        {"dim": "4"}, {"dim": 3.5}, {"n_items": 2**31}, {"n_items": 2**31 - 1}, {"bias_bits": 0},
        {"bias_bits": 9}, {"history_bits": 9}, {"history_bits": -1}, {"exponent": 2.5},
        {"exponent": "1"}, {"exponent": True}, {"exponent": -0.5}, {"eighths": 0}, {"eighths": 9},
        {"eighths": None}, {"recency": 9}, {"recency": 0.5}, {"labels": None}, {"labels": 0},
        {"items": None},
        {"items": {"weights": 1}}, {"item_ids": []}, {"item_ids": {"kind": "float"}},
    ):  # fmt: skip
        yield f"field {json.dumps(fields)}", "refuse", layout(good, **fields)
    for within, fields in (
        ("items", {"weights": 49}), ("items", {"weights": -1}), ("items", {"low_bits": 57}),
        ("items", {"value_bits": 0}), ("items", {"value_bits": 9}), ("item_ids", {"start": 5}),
        ("item_ids", {"start": "0x5"}), ("item_ids", {"start": ""}), ("item_ids", {"start": " 5"}),
        ("item_ids", {"start": "1_0"}), ("item_ids", {"start": str(2**63)}),
        ("item_ids", {"span": "11"}), ("item_ids", {"span": str(2**64)}),
        ("item_ids", {"span": "-1"}),
        ("item_ids", {"start": str(2**63 - 5)}), ("item_ids", {"low_bits": None}),
    ):  # fmt: skip
        yield f"{within} {json.dumps(fields)}", "refuse", layout(good, within=within, **fields)
    for fields in ({"width": 3}, {"width": 0}, {"deflated": 1}, {"deflated": None}, {"bytes": -1},
                   {"bytes": 2**30}, {"stored": 2**40}):  # fmt: skip
        yield f"texts {json.dumps(fields)}", "refuse", layout(words, within="item_ids", **fields)
    yield (
        "a range of 2^31 - 1 items",
        "refuse",
        layout(layout(whole, n_items=2**31 - 1), within="item_ids", span=str(2**31 - 1)),
    )
    yield "2^31 - 1 items with texts", "refuse", layout(words, n_items=2**31 - 1)

    # The data.
    for name, level in (("NaN", np.nan), ("infinite", np.inf), ("2e6", 2e6), ("falling", -1e6)):
        for tensor in ("items", "bias", "history"):

            def last(content: bytearray, level: float = level) -> None:
                content[-4:] = np.float32(level).tobytes()

            yield f"a level of {tensor}: {name}", "refuse", part(good, f"{tensor}.levels", last)
    yield (
        "a history weight of 0",
        "refuse",
        part(good, "history.levels", lambda c: c.__setitem__(slice(0, 4), bytes(4))),
    )

    def steps(values: list[int], span: int, bits: int) -> bytes:
        """Give the ids a monotone sequence; the span is the sequence's universe."""

        def change(parts: Any) -> None:
            low, high = encode_monotone(np.array(values, np.uint64), span, bits)
            model = parts.model
            model["item_ids"] |= {"start": str(-(2**63)), "span": str(span), "low_bits": bits}
            parts.model = model
            parts.bytes |= {"item_ids.low": low.tobytes(), "item_ids.high": high.tobytes()}

        return changed(good, change, mend=False)

    yield "keys up to 2^64", "accept", steps([*range(11), 2**64 - 1], 2**64, 56)
    yield "equal keys", "refuse", steps([*range(11), 10], 5000, 3)
    yield "falling keys", "refuse", steps([*range(10), 15, 14], 5000, 4)
    yield "a key of the universe", "refuse", steps([*range(11), 5000], 5000, 8)
    yield (
        "too few keys",
        "refuse",
        part(steps(list(range(12)), 5000, 8), "item_ids.high", lambda c: c.__setitem__(0, 1)),
    )
    yield "too many keys", "refuse", part(
        steps(list(range(12)), 5000, 8), "item_ids.high", lambda c: c.__setitem__(0, 255) or
        c.__setitem__(1, 255)
    )  # fmt: skip
    # Bit 267 of 268 rounded up to 272: a key of 2^64 and more, which would wrap to a small one.
    yield "a key beyond 64 bits", "refuse", part(
        steps([*range(11), 2**64 - 1], 2**64, 56), "item_ids.high",
        lambda c: c.__setitem__(33, 1 << 7),
    )  # fmt: skip

    yield (
        "shared prefixes",
        "accept",
        texts(words, ids_of(sorted(b"aa" + letter for letter in letters), [0] + [2] * 11)),
    )
    yield "texts as they are", "accept", texts(words, ids_of(letters), deflated=False)
    yield "a first text that shares", "refuse", texts(words, ids_of(letters, [1] + [0] * 11))
    yield (
        "a text that shares too much",
        "refuse",
        texts(words, bytes([0, 2, *[0] * 10]) + bytes([1] * 12) + b"".join(letters)),
    )
    yield "equal ids", "refuse", texts(words, ids_of([*letters[:11], letters[10]]))
    yield "falling ids", "refuse", texts(words, ids_of([*letters[:10], letters[11], letters[10]]))
    yield (
        "ids in the order of UTF-16",
        "refuse",
        texts(words, ids_of([*letters[:10], "\U0001f3ac".encode(), "\uffff".encode()])),
    )
    yield "no UTF-8", "refuse", texts(words, ids_of([*letters[:11], b"\xff"]))
    yield "a surrogate in UTF-8", "refuse", texts(words, ids_of([*letters[:11], b"\xed\xa0\x80"]))
    yield (
        "a text that begins within a character",
        "refuse",
        texts(words, ids_of([*letters[:10], b"\xc3", b"\xa9"])),
    )
    yield "rests that are too short", "refuse", texts(words, ids_of(letters)[:-1])
    yield "rests that are too long", "refuse", texts(words, ids_of(letters) + b"x")
    yield "bytes after the zlib stream", "refuse", texts(words, ids_of(letters), extra=b"x")
    packed = texts(words, ids_of(letters))
    yield "half a zlib stream", "refuse", layout(packed, within="item_ids", stored=20)
    yield "no zlib stream", "refuse", part(packed, "item_ids.texts", lambda c: c.__setitem__(0, 0))
    yield (
        "a wrong checksum of the zlib stream",
        "refuse",
        part(packed, "item_ids.texts", lambda c: c.__setitem__(-1, c[-1] ^ 1)),
    )

    # Neighbours.
    added = encode(small(neighbours=4, recency=0.5))
    yield "neighbours", "accept", added
    none = Neighbours(np.zeros(13, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    yield "neighbours without an entry", "accept", encode(replace(small(), neighbours=none))
    yield "neighbours that are null", "refuse", layout(added, neighbours=None)
    for name, value in (("weights", 145), ("weights", 1), ("value_bits", 9), ("low_bits", 57)):
        yield (
            f"neighbours of {name} {value}",
            "refuse",
            layout(added, within="neighbours", **{name: value}),
        )
    yield (
        "a neighbour too many",
        "refuse",
        part(added, "neighbours.high", lambda c: c.__setitem__(-1, c[-1] | 128)),
    )
    yield (
        "levels of neighbours that fall",
        "refuse",
        part(added, "neighbours.levels", lambda c: c.__setitem__(slice(0, 4), b"\0\0\x80\x49")),
    )

    # The user side of an embedding model.
    yield (
        "user blocks that fall",
        "refuse",
        part(everyone, "users.blocks", lambda c: c.__setitem__(slice(4, 8), b"\xff\xff\0\0")),
    )
    yield (
        "user blocks that miscount",
        "refuse",
        part(everyone, "users.blocks", lambda c: c.__setitem__(4, c[4] ^ 1)),
    )
    yield (
        "user blocks that begin late",
        "refuse",
        part(everyone, "users.blocks", lambda c: c.__setitem__(0, 1)),
    )
    yield "no users", "refuse", layout(everyone, n_users=0)
    yield "2^31 - 1 users", "refuse", layout(everyone, n_users=2**31 - 1)


def main() -> None:
    with zipfile.ZipFile(TABLE, "w", zipfile.ZIP_DEFLATED) as table:
        for name, verdict, data in cases():
            entry = zipfile.ZipInfo(f"{verdict}/{name.replace('/', '|')}.srec")
            entry.compress_type = zipfile.ZIP_DEFLATED
            table.writestr(entry, data)
        print(f"{TABLE}: {len(table.namelist())} files")


if __name__ == "__main__":
    main()
