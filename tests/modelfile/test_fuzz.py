"""Hostile files: refused with ModelFileError, or harmless; never anything else.

The mutations are those of `bench/fuzz.py`, which runs for as long as it is told; here is a short
run, the table of conformance files that `tests/support/conformance.py` writes, and hypothesis for
bytes that are no model at all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conformance import TABLE, load_fuzz

from sparserec_np import ModelFileError, load, runtime_stdlib
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode

Make = Callable[..., ModelArrays]


@pytest.fixture(scope="module")
def fuzz() -> Any:
    return load_fuzz()


@pytest.fixture(scope="module")
def readers(fuzz: Any) -> Iterator[dict[str, Any]]:
    """All four; without Node.js the one in JavaScript is left out."""
    found = {
        "numpy": fuzz.exercise,
        "compiled": fuzz.compiled,
        "standard library": fuzz.standard_library,
    }
    if shutil.which("node") is None:
        yield found
        return
    script = fuzz.JavaScript()
    yield found | {"javascript": script}
    script.close()


@pytest.fixture(autouse=True, scope="module")
def compiled_beforehand(readers: dict[str, Any], fuzz: Any) -> None:
    """Compile before anything is timed."""
    for data in fuzz.samples():
        readers["compiled"](data)


def test_mutated_files_bring_no_surprise(
    fuzz: Any, readers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = fuzz.run(1500, 10**6, readers)
    assert not outcomes["surprises"], capsys.readouterr().err
    for verdict in ("refused", "accepted"):
        assert sum(n for what, n in outcomes.items() if what.endswith(verdict)) > 200


with zipfile.ZipFile(TABLE) as table:
    CONFORMANCE = {name.removesuffix(".srec"): table.read(name) for name in table.namelist()}


@pytest.mark.parametrize("name", CONFORMANCE)
def test_all_readers_give_the_verdict_of_the_table(readers: dict[str, Any], name: str) -> None:
    verdict = name.partition("/")[0]
    for reader, read in readers.items():
        serves = reader in ("numpy", "compiled")
        if verdict == "accept" or (verdict == "embedding" and serves):
            read(CONFORMANCE[name])
        else:
            with pytest.raises(ModelFileError):
                read(CONFORMANCE[name])


def test_ids_come_back_in_javascript(readers: dict[str, Any]) -> None:
    if "javascript" not in readers:
        pytest.skip("needs node")
    for name, data in CONFORMANCE.items():
        if name.startswith("accept/"):
            model = load(data)
            ids = model.item_ids.take(range(len(model.item_ids)))
            answer = readers["javascript"](data)
            assert answer["ids"] == [str(id_) for id_ in ids], name
            labels = zip(model.labels_of(ids), answer["ids"], strict=True)
            assert answer["labels"] == [label or id_ for label, id_ in labels], name


def test_a_header_cut_anywhere_is_refused(random_model: Make) -> None:
    data = encode(random_model(1, labels=True))
    end = 8 + int.from_bytes(data[:8], "little")
    for cut in [*range(end + 1), *range(end, len(data), 97)]:
        with pytest.raises(ModelFileError):
            load(data[:cut])


def test_every_flipped_bit_is_found(random_model: Make) -> None:
    data = encode(random_model(1, n_items=12, dim=4))
    end = 8 + int.from_bytes(data[:8], "little")
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        with pytest.raises(ModelFileError):  # the header always, the data on demand
            load(bytes(broken), verify=place >= end)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, fit: bool):
    if fit:
        data = len(data).to_bytes(8, "little") + data
    with pytest.raises(ModelFileError):
        load(data)
    path = tmp_path_factory.getbasetemp() / "any.srec"
    path.write_bytes(data)
    with pytest.raises(runtime_stdlib.ModelFileError):
        runtime_stdlib.load(path)


LIES = [
    (lambda h: h.__setitem__("items.low", dict(h["items.low"], shape=[2**40])), "is not"),
    (lambda h: h.__setitem__("items.low", dict(h["items.low"], data_offsets=[8, 4])), "is not"),
    (lambda h: h.pop("items.codes"), "should begin at"),
    (lambda h: h["__metadata__"].__setitem__("version", "5.0"), "knows 1.x to 4.x: upgrade"),
    (lambda h: h["__metadata__"].__setitem__("version", "x"), "is none"),
    (lambda h: h["__metadata__"].__setitem__("format", "other"), "does not say"),
    (lambda h: h["__metadata__"].__delitem__("model"), "has no text 'model'"),
    (lambda h: h.pop("__metadata__"), "no '__metadata__'"),
    (lambda h: '{"a":1,"a":2}', "'a' occurs twice"),
    (lambda h: '{"a":' + "[" * 100_000, "nested too deeply|no valid JSON"),
    (lambda h: '{"a":NaN}', "NaN is no number"),
    (lambda h: '{"a":' + "9" * 5000 + "}", "an integer of 5000 digits"),
    (lambda h: "[]", "no JSON object"),
    (lambda h: '"\ud800"'.encode("utf-8", "surrogatepass").decode("latin-1"), "JSON"),
]


@pytest.mark.parametrize(("lie", "message"), LIES)
def test_lies_in_the_header_are_named(
    fuzz: Any, random_model: Make, lie: Callable[[dict], object], message: str
) -> None:
    def change(header: dict) -> str | None:
        result = lie(header)
        return result if isinstance(result, str) else None

    with pytest.raises(ModelFileError, match=message):
        load(fuzz.with_header(encode(random_model(1)), change))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_items", 2**31, "'model.n_items' is no integer from 1 to 2147483647"),
        ("n_items", 2**30, "span' is no integer from 1073741824"),
        ("bias_bits", 7, "'bias.levels' is F32 of shape .64., but the header asks for"),
        ("dim", 0, "'model.dim' is no integer from 1 to 65535"),
        ("dim", True, "'model.dim' is no integer"),
        ("users", "other", "is neither 'embedding' nor 'history'"),
        ("exponent", 2.5, "is no number from 0 to 2"),
        ("eighths", 0, "'model.eighths' is no integer from 1 to 8"),
        ("eighths", 9, "'model.eighths' is no integer from 1 to 8"),
        ("eighths", 7.5, "'model.eighths' is no integer"),
        ("eighths", None, "'model.eighths' is no integer"),
        ("recency", -1, "'model.recency' is no integer from 0 to 8"),
        ("recency", 9, "'model.recency' is no integer from 0 to 8"),
        ("recency", 0.5, "'model.recency' is no integer"),
        ("neighbours", None, "'model.neighbours' is no JSON object"),
        (
            "neighbours",
            {"weights": 3601, "low_bits": 0, "value_bits": 5},
            "'model.neighbours.weights' is no integer from 0 to 3600",
        ),
        (
            "neighbours",
            {"weights": 9, "low_bits": 57, "value_bits": 5},
            "'model.neighbours.low_bits' is no integer from 0 to 56",
        ),
        (
            "neighbours",
            {"weights": 9, "low_bits": 8, "value_bits": 5},
            "neighbours.levels",
        ),
        ("items", None, "'model.items' is no JSON object"),
        ("items", {"weights": 1}, "'model.items.low_bits' is missing"),
        ("item_ids", {"kind": "int", "start": 1, "span": "60"}, "start' is no text"),
        ("item_ids", {"kind": "int", "start": str(2**63 - 5), "span": "60"}, "span' is no integer"),
    ],
)
def test_lies_in_the_model_are_named(
    fuzz: Any, random_model: Make, tmp_path: Path, field: str, value: object, message: str
) -> None:
    def change(header: dict) -> None:
        model = json.loads(header["__metadata__"]["model"])
        header["__metadata__"]["model"] = json.dumps(model | {field: value})

    data = fuzz.with_header(encode(random_model(1, power=0.875)), change)
    with pytest.raises(ModelFileError, match=message):
        load(data)
    if field in ("eighths", "recency"):
        (tmp_path / "lie.srec").write_bytes(data)
        with pytest.raises(runtime_stdlib.ModelFileError, match=r"no integer from [01] to 8"):
            runtime_stdlib.load(tmp_path / "lie.srec")


@pytest.mark.parametrize("level", [np.nan, np.inf, 2e6])
@pytest.mark.parametrize("tensor", ["items.levels", "bias.levels", "history.levels"])
def test_levels_that_are_no_numbers_are_refused(
    fuzz: Any, random_model: Make, tensor: str, level: float
) -> None:
    data = encode(random_model(1))
    container = load(data)._file._container
    end = container.data_start + container.tensors[tensor].end
    broken = fuzz.seal(data[: end - 4] + np.float32(level).tobytes() + data[end:])
    with pytest.raises(ModelFileError, match=rf"'{tensor}' is not ascending"):
        load(broken, verify=True)
    model = load(broken)
    with pytest.raises(ModelFileError, match=rf"'{tensor}' is not ascending"):
        model.recommend(history=model.item_ids.take([0, 1]))


def test_memory_is_bounded_by_the_file(fuzz: Any) -> None:
    originals = fuzz.samples()
    tracemalloc.start()
    try:
        for seed in range(300):
            _, data, _ = fuzz.mutate(originals[seed % 4], seed)
            with contextlib.suppress(ModelFileError):
                fuzz.exercise(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20, "20 MB for files of some kilobytes"
