"""The standard-library runtime gives the answers of the NumPy runtime."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np import load, runtime_stdlib
from sparserec_np.modelfile import bitpacking
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import write

Make = Callable[..., ModelArrays]

kinds = st.fixed_dictionaries(
    {
        "n_items": st.integers(2, 300),
        "dim": st.sampled_from([1, 5, 40, 3000]),
        "ids": st.sampled_from(["range", "int", "str"]),
        "labels": st.booleans(),
        "weighted": st.booleans(),
        "power": st.integers(1, 8).map(lambda eighths: eighths / 8),
        "recency": st.integers(0, 8).map(lambda eighths: eighths / 8),
        "value_bits": st.integers(1, 8),
        "neighbours": st.sampled_from([0, 0, 1, 20]),
    }
)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), kind=kinds, data=st.data())
def test_same_items_and_scores(
    tmp_path_factory: pytest.TempPathFactory,
    random_model: Make,
    seed: int,
    kind: dict[str, object],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.getbasetemp() / "stdlib.srec"
    model = random_model(seed, **kind)
    write(path, encode(model))
    ours, reference = runtime_stdlib.load(path, verify=True), load(path)
    everything = model.item_ids.take(range(len(model.item_ids)))
    assert list(ours.item_ids) == everything
    assert ours.labels() == model.labels
    for _ in range(2):
        history = data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=20))
        k = data.draw(st.integers(1, 40))
        exclude = data.draw(st.none() | st.lists(st.sampled_from(everything), max_size=9))
        ids, scores = ours.recommend([*history, "unknown", -(10**9), True], k, exclude)
        expected, expected_scores = reference.recommend(history=history, k=k, exclude=exclude)
        assert ids == expected
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 56), st.data())
def test_bits_are_spread(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=50))
    packed = bitpacking.pack_bits(np.array(values, dtype=np.uint64), bits).tobytes()
    assert runtime_stdlib._unpack(packed, bits, len(values)).tolist() == values


@pytest.mark.parametrize("bits", [1, 7, 8, 13])
def test_bits_are_spread_over_several_pieces(bits: int) -> None:
    n = 8 * runtime_stdlib._GROUPS + 37
    values = np.random.default_rng(0).integers(0, 1 << bits, n).astype(np.uint64)
    packed = bitpacking.pack_bits(values, bits).tobytes()
    assert runtime_stdlib._unpack(packed, bits, n).tolist() == values.tolist()


def test_one_copied_file_is_enough(random_model: Make, tmp_path: Path) -> None:
    model = random_model(1, ids="range")
    write(tmp_path / "m.srec", encode(model))
    shutil.copy(runtime_stdlib.__file__, tmp_path / "recommender.py")
    code = (
        "import sys, recommender\n"
        "model = recommender.load('m.srec')\n"
        "print(model.recommend([model.item_ids[3]], k=3)[0])\n"
        "assert not {'numpy', 'sparserec_np'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-S", "-c", code]
    result = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    (third,) = model.item_ids.take([3])
    expected = load(tmp_path / "m.srec").recommend(history=[third], k=3)[0]
    assert result.stdout.strip() == str(expected)


def test_bad_requests_and_files_are_refused(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    model = random_model(1)
    write(path, encode(model))
    with pytest.raises(runtime_stdlib.UnknownIdError, match="knows none"):
        runtime_stdlib.load(path).recommend([-(10**9), "x", 1.5])
    write(path, encode(random_model(1, "embedding")))
    with pytest.raises(runtime_stdlib.ModelFileError, match="serves history models"):
        runtime_stdlib.load(path)
    with pytest.raises(runtime_stdlib.ModelFileError, match="cannot be opened"):
        runtime_stdlib.load(tmp_path / "absent")
    data = encode(replace(model, labels=["x"] * 60))
    for cut in (0, 5, 100, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(runtime_stdlib.ModelFileError):
            runtime_stdlib.load(path).recommend(model.item_ids.take([0]))
    broken = bytearray(data)
    broken[-1] ^= 1
    path.write_bytes(broken)
    with pytest.raises(runtime_stdlib.ModelFileError, match="checksum of the data"):
        runtime_stdlib.load(path, verify=True)
    assert all(map(math.isfinite, runtime_stdlib.load(path).recommend(model.item_ids.take([0]))[1]))
