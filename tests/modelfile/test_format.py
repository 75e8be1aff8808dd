"""The format's specification: a reader written from FORMAT.md, bit by bit, and frozen files."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparserec_np
from sparserec_np import runtime_stdlib
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.writer import encode

Make = Callable[..., ModelArrays]
DATA = Path(__file__).parent / "frozen"


class ByTheBook:
    """FORMAT.md, word by word; no speed, no library."""

    def __init__(self, data: bytes) -> None:
        n = int.from_bytes(data[:8], "little")
        assert (8 + n) % 8 == 0
        self.header = json.loads(data[8 : 8 + n])
        self.data = data[8 + n :]
        self.metadata = self.header.pop("__metadata__")
        self.model = json.loads(self.metadata["model"])
        assert self.metadata["data_crc32"] == f"{zlib.crc32(self.data):08x}"
        mark = self.metadata["header_crc32"].encode()
        blank = data[: 8 + n].replace(b'"header_crc32":"' + mark, b'"header_crc32":"00000000')
        assert mark == f"{zlib.crc32(blank):08x}".encode()

    def bytes(self, name: str) -> bytes:
        begin, end = self.header[name]["data_offsets"]
        return self.data[begin:end]

    def packed(self, name: str, n: int, bits: int) -> list[int]:
        whole = int.from_bytes(self.bytes(name), "little")
        return [whole >> i * bits & (1 << bits) - 1 for i in range(n)]

    def codes(self, prefix: str, n: int, bits: int) -> list[float]:
        levels = struct.unpack(f"<{1 << bits}f", self.bytes(f"{prefix}.levels"))
        return [levels[code] for code in self.packed(f"{prefix}.codes", n, bits)]

    def monotone(self, prefix: str, n: int, low_bits: int) -> list[int]:
        low = self.packed(f"{prefix}.low", n, low_bits)
        high = int.from_bytes(self.bytes(f"{prefix}.high"), "little")
        ones = [j for j in range(8 * len(self.bytes(f"{prefix}.high"))) if high >> j & 1]
        assert len(ones) == n
        return [(j - e << low_bits) + low[e] for e, j in enumerate(ones)]

    def table(self, prefix: str, field: str) -> list[tuple[int, float]]:
        fields = self.model[field]
        keys = self.monotone(prefix, fields["weights"], fields["low_bits"])
        values = self.codes(prefix, fields["weights"], fields["value_bits"])
        return list(zip(keys, values, strict=True))

    def texts(self, prefix: str, fields: dict, n: int) -> list[str]:
        raw = self.bytes(f"{prefix}.texts")
        raw = zlib.decompress(raw) if fields["deflated"] else raw
        width, texts, text = fields["width"], [], b""
        lengths = [int.from_bytes(raw[i * width : (i + 1) * width], "little") for i in range(2 * n)]
        place = 2 * n * width
        for shared, rest in zip(lengths[:n], lengths[n:], strict=True):
            text = text[:shared] + raw[place : place + rest]
            place += rest
            texts.append(text.decode())
        assert place == len(raw) == 2 * n * width + fields["bytes"]
        return texts

    def ids(self, prefix: str, n: int) -> list[object]:
        fields = self.model[prefix]
        if fields["kind"] == "str":
            return self.texts(prefix, fields, n)
        start = int(fields["start"])
        if fields["span"] == str(n):
            return list(range(start, start + n))
        return [start + key for key in self.monotone(prefix, n, fields["low_bits"])]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    users=st.sampled_from(["history", "embedding"]),
    ids=st.sampled_from(["range", "int", "str"]),
    dim=st.sampled_from([1, 9, 70]),
    n_users=st.sampled_from([1, 255, 256, 513]),
    power=st.sampled_from([0.125, 0.875, 1.0]),
    recency=st.sampled_from([0.0, 0.125, 1.0]),
    neighbours=st.sampled_from([0, 5]),
)
def test_a_reader_written_from_the_specification_agrees(
    random_model: Make,
    seed: int,
    users: str,
    ids: str,
    dim: int,
    n_users: int,
    power: float,
    recency: float,
    neighbours: int,
) -> None:
    kind = {"ids": ids, "dim": dim, "n_users": n_users, "power": power, "recency": recency}
    kind |= {"neighbours": neighbours if users == "history" else 0}
    model = random_model(seed, users, labels=True, **kind)
    data = encode(model)
    book, read = ByTheBook(data), open_model(data, verify=True).arrays()
    n = len(model.item_ids)
    table = {}
    for key, value in book.table("items", "items"):
        table[key % n, key // n] = value
    rows = np.repeat(np.arange(n), np.diff(read.items.indptr).astype(np.intp))
    pairs = zip(rows.tolist(), read.items.dims.tolist(), strict=True)
    assert table == dict(zip(pairs, read.items.values.tolist(), strict=True))
    assert book.codes("bias", n, book.model["bias_bits"]) == read.item_bias.tolist()
    assert book.ids("item_ids", n) == model.item_ids.take(range(n))
    assert book.texts("labels", book.model["labels"], n) == model.labels
    if users == "history":
        weights = book.codes("history", n, book.model["history_bits"])
        assert weights == read.history_weights.tolist()
        assert book.model["exponent"] == model.history_exponent
        assert book.model.get("eighths", 8) / 8 == read.history_power == power
        assert book.model.get("recency", 0) / 8 == read.history_recency == recency
        lowest = "3.0" if recency else "2.0" if power < 1 else "1.0"
        assert book.metadata["version"] == ("4.0" if neighbours else lowest)
        assert ("neighbours" in book.model) == (neighbours > 0)
        if neighbours:
            own = read.neighbours
            sources = np.repeat(np.arange(n), np.diff(own.indptr)).tolist()
            pairs = [source * n + item for source, item in zip(sources, own.items, strict=True)]
            entries = list(zip(pairs, own.values.tolist(), strict=True))
            assert book.table("neighbours", "neighbours") == entries
            np.testing.assert_array_equal(own.items, model.neighbours.items)
        return
    assert book.metadata["version"] == "1.0" and not {"eighths", "recency"} & set(book.model)
    assert book.ids("user_ids", n_users) == model.user_ids.take(range(n_users))
    by_key = dict(book.table("users", "user_table"))
    rows = np.repeat(np.arange(n_users), np.diff(read.user_rows.indptr).astype(np.intp)) * dim
    keys = (rows + read.user_rows.dims).tolist()
    assert by_key == dict(zip(keys, read.user_rows.values.tolist(), strict=True))
    blocks = struct.unpack(f"<{-(-n_users // 256) + 1}I", book.bytes("users.blocks"))
    assert list(blocks) == [
        sum(key < min(256 * b, n_users) * dim for key in by_key) for b in range(len(blocks))
    ]


@pytest.mark.parametrize(
    ("version", "best"),
    [("1.0", [4.349418, 2.211418, 1.299038]), ("2.0", [4.047444, 2.168259, 1.162277])],
)
def test_frozen_history_model(version: str, best: list[float]) -> None:
    path = DATA / f"history-{version}.srec"
    model = sparserec_np.load(path, verify=True)
    assert model.item_ids.take([0, 1, 2, 39]) == [-(2**63), 0, 38, 2**63 - 1]
    history = [0, 76, 2**63 - 1]
    ids, scores = model.recommend(history=history, k=6)
    assert ids == [722, 1254, 1026, 456, 988, 152]
    np.testing.assert_allclose(scores, [*best, 0.75, 0.75, 0.625], rtol=1e-6)
    assert model.info()["format_version"] == version
    assert model.history_power == (1 if version == "1.0" else 0.875)
    assert model.labels_of([38]) == ["Título 2"]
    assert model.info()["facts"] == {"note": "frozen"}
    assert runtime_stdlib.load(path, verify=True).recommend(history, k=6)[0] == ids


def test_frozen_history_model_with_recency() -> None:
    path = DATA / "history-3.0.srec"
    model = sparserec_np.load(path, verify=True)
    assert model.info()["format_version"] == "3.0"
    assert (model.history_power, model.history_recency) == (0.875, 0.75)
    for history, expected, best in [
        ([0, 76, 2**63 - 1], [722, 1254, 1026, 456], [3.876995, 1.587732, 1.345115, 0.75]),
        ([2**63 - 1, 76, 0], [722, 1254, 456, 988], [3.513777, 2.472725, 0.75, 0.75]),
    ]:
        ids, scores = model.recommend(history=history, k=4)
        assert ids == expected == runtime_stdlib.load(path, verify=True).recommend(history, 4)[0]
        np.testing.assert_allclose(scores, best, rtol=1e-6)


def test_frozen_history_model_with_neighbours() -> None:
    path = DATA / "history-4.0.srec"
    model = sparserec_np.load(path, verify=True)
    assert model.info()["format_version"] == "4.0"
    for history, expected, best in [
        ([0, 76, 2**63 - 1], [722, 1254, 114, 266], [3.8769946, 1.5877322, 1.4933002, 1.462858]),
        ([2**63 - 1, 76, 0], [722, 1254, 266, 114], [3.5137768, 2.4727252, 1.462858, 1.4433782]),
    ]:
        ids, scores = model.recommend(history=history, k=4)
        assert ids == expected == runtime_stdlib.load(path, verify=True).recommend(history, 4)[0]
        np.testing.assert_allclose(scores, best, rtol=1e-6)


def test_frozen_embedding_model() -> None:
    model = sparserec_np.load(DATA / "embedding-1.0.srec", verify=True)
    ids, scores = model.recommend("user 300", k=3)
    assert ids == [26, 12, 13]
    np.testing.assert_allclose(scores, [1.046875, 0.859375, 0.75], rtol=1e-6)
    assert model.recommend("user 599", k=6)[0] == [34, 13, 20, 27, 41, 19]


@pytest.mark.parametrize("name", ["history-1.0", "history-2.0", "embedding-1.0"])
def test_a_newer_minor_version_works(name: str) -> None:
    """Unknown fields, tensors and metadata are ignored, as section 7 promises."""
    data = (DATA / f"{name}.srec").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    metadata = header["__metadata__"]
    metadata |= {"version": f"{name[-3]}.7", "header_crc32": "00000000", "news": "x"}
    metadata["model"] = json.dumps(json.loads(metadata["model"]) | {"news": [1]})
    end = len(data) - 8 - n
    header["news"] = {"dtype": "BF16", "shape": [2, 1], "data_offsets": [end, end + 4]}
    body = data[8 + n :] + b"\x00" * 4
    metadata["data_crc32"] = f"{zlib.crc32(body):08x}"
    text = json.dumps(header, separators=(",", ":")).encode()
    start = len(text).to_bytes(8, "little") + text
    mark = b'"header_crc32":"'
    start = start.replace(mark + b"00000000", mark + f"{zlib.crc32(start):08x}".encode())
    old, new = sparserec_np.load(data), sparserec_np.load(start + body, verify=True)
    request = {"history": [38]} if old.users == "history" else {"user": "user 5"}
    assert new.recommend(**request)[0] == old.recommend(**request)[0]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_scores_are_summed_as_specified(version: str) -> None:
    """Float64 sums in the order of section 5, against exact fractions."""
    model = sparserec_np.load(DATA / f"history-{version}.srec")
    items, weights = model.items_table(), model.history_weights
    bounds = items.indptr.tolist()
    rows = [
        dict(zip(items.dims[a:b].tolist(), map(Fraction, items.values[a:b].tolist()), strict=True))
        for a, b in pairwise(bounds)
    ]
    known = [1, 3, 39]
    vector = [
        sum(Fraction(float(weights[j])) * rows[j].get(d, 0) for j in known) for d in range(11)
    ]
    if version == "2.0":
        roots = [math.sqrt(abs(y)) for y in vector]
        sizes = [r * math.sqrt(r) * math.sqrt(math.sqrt(r)) for r in roots]
        vector = [Fraction(math.copysign(z, y)) for z, y in zip(sizes, vector, strict=True)]
    history = model.item_ids.take(known)
    ids, scores = model.recommend(history=history, k=40, exclude=[])
    for item, score in zip(model.item_ids.locate(ids).tolist(), scores, strict=True):
        dot = float(sum(vector[d] * value for d, value in rows[item].items()))
        assert score == np.float32(dot * 3**-0.5 + float(model.item_bias[item]))
