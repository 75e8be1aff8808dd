"""Model files: what goes in comes out, the size is known beforehand, safetensors reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from sparserec_np.errors import InputError, ModelFileError
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.size_plan import SizePlan, text_bytes
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import check_writable, write
from sparserec_np.vocabulary import INT64_MAX, INT64_MIN, from_values

Make = Callable[..., ModelArrays]

kinds = st.fixed_dictionaries(
    {
        "users": st.sampled_from(["history", "embedding"]),
        "n_items": st.integers(1, 80),
        "n_users": st.integers(1, 600),
        "dim": st.sampled_from([1, 7, 300, 65_535]),
        "ids": st.sampled_from(["range", "int", "str"]),
        "labels": st.booleans(),
        "weighted": st.booleans(),
        "power": st.sampled_from([0.125, 0.875, 1.0]),
        "value_bits": st.integers(1, 8),
        "neighbours": st.sampled_from([0, 0, 7]),
    }
).map(lambda kind: kind | {"neighbours": kind["neighbours"] * (kind["users"] == "history")})


def ids_of(ids: object) -> list[object]:
    return ids.take(range(len(ids)))  # type: ignore[attr-defined,arg-type]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), kinds)
def test_everything_comes_back(random_model: Make, seed: int, kind: dict[str, object]) -> None:
    model = random_model(seed, **kind)
    back = open_model(encode(model), verify=True).arrays()
    same = ("users", "dim", "history_exponent", "history_power", "value_bits", "config", "facts")
    for name in (*same, "labels"):
        assert getattr(back, name) == getattr(model, name)
    assert ids_of(back.item_ids) == ids_of(model.item_ids)
    tables = [(back.items, model.items)]
    if kind["users"] == "embedding":
        assert ids_of(back.user_ids) == ids_of(model.user_ids)
        tables.append((back.user_rows, model.user_rows))
    for table, original in tables:
        np.testing.assert_array_equal(table.indptr, original.indptr)
        np.testing.assert_array_equal(table.dims, original.dims)
        assert table.dims.dtype == np.uint16 and table.values.dtype == np.float32
        close = np.abs(table.values - original.values) if len(original.values) else np.zeros(1)
        assert close.mean() < 3.0 / 2 ** kind["value_bits"]
    assert np.abs(back.item_bias - model.item_bias).mean() < 0.05
    assert (back.neighbours is None) == (model.neighbours is None)
    if model.neighbours is not None:
        np.testing.assert_array_equal(back.neighbours.indptr, model.neighbours.indptr)
        np.testing.assert_array_equal(back.neighbours.items, model.neighbours.items)
        far = np.abs(back.neighbours.values - model.neighbours.values)
        assert far.size == 0 or far.mean() < 0.1
    assert (back.history_weights is None) == (model.history_weights is None)
    assert encode(back) == encode(open_model(encode(back)).arrays())  # nothing drifts


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), kinds)
def test_size_is_known_beforehand(random_model: Make, seed: int, kind: dict[str, object]) -> None:
    model = random_model(seed, **kind)
    plan = SizePlan(
        users=model.users,
        dim=model.dim,
        item_ids=model.item_ids,
        user_ids=model.user_ids,
        labels=model.labels,
        history_exponent=model.history_exponent,
        history_power=model.history_power,
        has_history_weights=model.history_weights is not None,
        value_bits=model.value_bits,
        text_room=text_bytes(model.config, model.facts),
    )
    counts = [len(model.items.dims), len(model.user_rows.dims) if model.user_rows else 0]
    neighbours = None if model.neighbours is None else len(model.neighbours.items)
    size = plan.encoded_size(*counts, neighbours)
    assert size == len(encode(model))


def test_budget_is_the_largest_that_fits(random_model: Make) -> None:
    for users in ("history", "embedding"):
        model = random_model(1, users, n_items=300, n_users=400, dim=512)
        plan = SizePlan(users=users, dim=512, item_ids=model.item_ids, user_ids=model.user_ids)
        split = None if users == "embedding" else lambda weights: (weights, 0)
        for limit in (6_000, 9_999, 30_000):
            budget = plan.budget_for(limit, split)
            part = budget if users == "history" else -(-budget * 300 // 700)
            assert plan.encoded_size(part, budget - part) <= limit
            part = budget + 1 if users == "history" else -(-(budget + 1) * 300 // 700)
            assert limit < plan.encoded_size(part, budget + 1 - part) <= limit + 16
        assert plan.budget_for(10**9, split) == 512 * (300 + (400 if users == "embedding" else 0))
        with pytest.raises(InputError, match=r"cannot hold the model.*alone take \d"):
            plan.budget_for(1000, split)


def test_neighbours_are_the_most_that_fit(random_model: Make) -> None:
    plan = SizePlan(users="history", dim=64, item_ids=random_model(1, n_items=300).item_ids)
    for limit in (8_000, 20_000):
        n = plan.neighbours_for(limit, 1000, 90_000)
        assert plan.encoded_size(1000, neighbours=n) <= limit
        assert plan.encoded_size(1000, neighbours=n + 1) > limit
    assert plan.neighbours_for(10**9, 1000, 500) == 500
    assert plan.neighbours_for(5_000, 1000, 500) is None


def test_safetensors_reads_the_file(random_model: Make, tmp_path: Path) -> None:
    model = random_model(3, "embedding", labels=True, ids="str")
    write(tmp_path / "m.srec", encode(model))
    tensors = safetensors.numpy.load_file(tmp_path / "m.srec")
    file = open_model(tmp_path / "m.srec")
    assert set(tensors) == set(file.layout.tensors())
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, file._container.mapped(name))
    with safetensors.safe_open(tmp_path / "m.srec", "numpy") as opened:
        metadata = opened.metadata()
    assert metadata["format"] == "sparserec-np" and metadata["version"] == "1.0"
    assert json.loads(metadata["facts"]) == model.facts


def test_same_model_same_bytes(random_model: Make) -> None:
    assert encode(random_model(5, labels=True)) == encode(random_model(5, labels=True))


integers = st.sets(st.integers(INT64_MIN, INT64_MAX), min_size=1, max_size=20)
texts = st.sets(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20), min_size=1, max_size=20
)


@settings(deadline=None, max_examples=1000)
@given(integers | texts)
def test_ids_come_back_exactly(values: set[object]) -> None:
    ids = from_values(values)
    n = len(ids)
    empty = Table(np.zeros(n + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32), 1)
    model = ModelArrays("history", 1, ids, empty, np.zeros(n, np.float32))
    back = open_model(encode(model), verify=True).item_ids()
    assert ids_of(back) == sorted(values)  # type: ignore[type-var]
    assert back.locate(sorted(values)).tolist() == list(range(n))  # type: ignore[type-var]


def test_long_texts_and_repetitive_texts_come_back(random_model: Make) -> None:
    labels = ["x" * 70_000, "", "y" * 300]
    model = replace(random_model(1, n_items=3), labels=labels)
    assert open_model(encode(model)).arrays().labels == labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_bias": np.full(60, np.nan, np.float32)}, "item bias array holds NaN"),
        ({"item_bias": np.zeros(59, np.float32)}, r"shape \(59,\), not \(60,\)"),
        ({"history_weights": np.zeros(60, np.float32)}, "above 0"),
        ({"history_exponent": -1.0}, "exponent must be 0 to 2"),
        ({"history_power": 0.0}, "power must be a multiple of 1/8 from 1/8 to 1, but is 0"),
        ({"history_power": 0.9}, "power must be a multiple of 1/8"),
        ({"history_power": 1.125}, "power must be a multiple of 1/8"),
        ({"history_power": float("nan")}, "power must be a multiple of 1/8"),
        ({"labels": ["a"]}, "1 labels for 60 items"),
        ({"labels": ["\ud800"] * 60}, "no valid Unicode"),
        ({"config": {"x": float("nan")}}, "config cannot be stored as JSON"),
        ({"facts": {"x": object()}}, "facts cannot be stored as JSON"),
        ({"facts": {"x": "y" * 2_000_000}}, "too long"),
        ({"dim": 17}, "item table is 60 x 16, but the model 60 x 17"),
        ({"value_bits": 9}, "value_bits must be 1 to 8"),
        ({"users": "embedding"}, "needs user ids"),
        ({"item_ids": from_values([])}, "items, not 0"),
    ],
)
def test_unusable_models_are_refused(
    random_model: Make, change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        encode(replace(random_model(1), **change))


@pytest.mark.parametrize(
    ("indptr", "dims", "message"),
    [
        ([0, 2, 1, 2], [0, 1], "out of range"),
        ([0, 1, 1, 1], [0, 1], "out of range"),
        ([0, 0, 1, 2], [0, 4], "out of range"),
        ([0, 2, 2, 2], [1, 1], "do not rise"),
        ([0, 0, 2, 2], [2, 1], "do not rise"),
    ],
)
def test_tables_that_are_none_are_refused(indptr: list[int], dims: list[int], message: str) -> None:
    table = Table(np.array(indptr), np.array(dims, np.uint16), np.ones(2, np.float32), 4)
    model = ModelArrays("history", 4, from_values([1, 2, 3]), table, np.zeros(3, np.float32))
    with pytest.raises(InputError, match=message):
        encode(model)


def test_writing_replaces_whole_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    write(path, b"old")
    write(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["m.srec"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_write_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.srec"
    write(path, b"old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.srec"]


def test_unwritable_paths_are_found_beforehand(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match=r"absent does not exist; make it first"):
        check_writable(tmp_path / "absent" / "m.srec")
    check_writable(tmp_path / "m.srec")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_beforehand(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="no permission"):
        check_writable(tmp_path / "m.srec")


def test_another_file_is_called_no_model(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("userId,movieId,rating\n1,2,3\n")
    with pytest.raises(ModelFileError, match=r"ratings.csv is no model of sparserec-np: give"):
        open_model(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent.srec: cannot be opened \(No such file"):
        open_model(tmp_path / "absent.srec")
    with pytest.raises(ModelFileError, match=r"cannot be opened \(Is a directory"):
        open_model(tmp_path)


def test_a_file_that_shrinks_while_open_is_named(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    write(path, encode(random_model(1)))
    file = open_model(path)
    os.truncate(path, file.size // 2)
    with pytest.raises(ModelFileError, match=r"m.srec: has been cut to \d+ bytes while it was"):
        file.arrays()


def test_files_are_closed(random_model: Make, tmp_path: Path) -> None:
    path = tmp_path / "m.srec"
    write(path, encode(random_model(1)))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        open_model(path).arrays()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2
