"""Fingerprints: they depend on data and hyperparameters, not on the words of messages."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reference import interactions

from sparserec_np.training import fingerprint as module
from sparserec_np.training.config import HYPERPARAMETERS, Config
from sparserec_np.training.fingerprint import checksum, differences, file_checksum, fingerprint


@pytest.fixture(scope="module")
def data():
    return interactions.random_interactions(1, n_users=20, n_items=15, mean=4)


def of(data, valid=None, config: Config | None = None, **more) -> dict:
    return fingerprint((config or Config()).to_dict(), data, valid, **more)


def test_it_comes_back_from_json_as_it_was(data):
    made = of(data, data, item_nnz=100, warm_start=None)
    assert json.loads(json.dumps(made)) == made
    assert made == of(data, data, item_nnz=100, warm_start=None)


def test_it_has_every_hyperparameter_by_its_name(data):
    assert set(HYPERPARAMETERS) <= set(of(data, config=Config(neighbours=0.5)))


def test_other_words_change_no_fingerprint(data, monkeypatch):
    before = of(data, data, item_nnz=100, user_nnz=0)
    monkeypatch.setattr(module, "WORDS", {name: f"{name}, told anew" for name in before})
    assert of(data, data, item_nnz=100, user_nnz=0) == before
    other = {**before, "item_nnz": 90}
    assert differences(other, before) == "item_nnz, told anew was 90 and is 100"
    monkeypatch.setattr(module, "WORDS", {})
    assert differences(other, before) == "item_nnz was 90 and is 100"


def test_differences_are_told_in_words(data):
    config = Config(dim=8)
    here, there = of(data, config=config, item_nnz=2), of(data, data, config=Config(), item_nnz=3)
    told = differences(there, here)
    assert "dim was 256 and is 8" in told
    assert "item weights was 3 and is 2" in told
    assert f"interactions of the validation data was {data.nnz} and is None" in told
    assert differences(here, dict(here)) == ""
    assert differences({"wings": 2, "seed": 1}, {"seed": 1}) == "wings was 2 and is None"
    assert differences({"seed": 1}, {"wings": 2, "seed": 1}) == "wings was None and is 2"


def test_data_of_the_same_size_has_another_checksum(data):
    histories = interactions.as_histories(data)
    swapped = interactions.as_interactions([histories[1], histories[0], *histories[2:]], 15)
    renamed = replace(data, item_ids=interactions.as_interactions([], 16).item_ids)
    for other in (swapped, renamed):
        assert of(other)["train_interactions"] == data.nnz
        assert of(other)["train_checksum"] != of(data)["train_checksum"]


def test_checksums_of_contents(tmp_path):
    contents = [b"", b"a", b"b", bytes(1000)]
    assert len({checksum(content) for content in contents}) == len(contents)
    for content in contents:
        (tmp_path / "file").write_bytes(content)
        assert file_checksum(tmp_path / "file") == checksum(content)
        assert len(checksum(content)) == 16
