"""Results in notebooks and programs: pairs that show as tables; models that say what they are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sparserec_np import InputError, Model, load
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.results import Recommendation

Make = Callable[..., ModelArrays]


@pytest.fixture
def model(random_model: Make) -> Model:
    arrays = random_model(1, labels=True)
    return load(encode(replace(arrays, labels=["<b>", "", *arrays.labels[2:]])))


def test_a_result_is_a_pair_that_shows_titles(model: Model) -> None:
    history = model.item_ids.take([5, 9])
    result = model.recommend(history=history, k=60, exclude=[])
    ids, scores = result
    assert (ids, scores) == (result.ids, result.scores) and len(result) == 2
    assert result.titles() == model.labels_of(ids)
    lines = repr(result).splitlines()
    assert lines[0].split() == ["item", "score", "title"]
    assert len(lines) == 22 and lines[-1] == "... and 40 more"
    assert lines[1].startswith(f"{ids[0]}") and f"{scores[0]:.4f}" in lines[1]
    shown = model.recommend(history=history, candidates=model.item_ids.take([0, 1]))._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown and shown.count("<tr>") == 3
    again = pickle.loads(pickle.dumps(result))
    assert repr(again) == repr(result) and again.scores.tolist() == scores.tolist()
    empty = model.recommend(history=history, candidates=[])
    assert repr(empty).split() == ["item", "score"]


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_result_becomes_a_frame(
    model: Model, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pytest.importorskip(package)
    monkeypatch.setattr("sparserec_np.runtime.results._FRAMES", (package,))
    result = model.recommend(history=model.item_ids.take([5]), k=3)
    frame = result.to_frame()
    assert isinstance(frame, found.DataFrame) and list(frame.columns) == ["item", "score", "title"]
    assert list(frame["item"]) == result.ids
    assert list(frame["score"]) == result.scores.tolist()
    untitled = Recommendation([1], np.array([0.5], np.float32)).to_frame()
    assert list(untitled.columns) == ["item", "score"]


def test_a_model_says_what_it_is(model: Model, random_model: Make) -> None:
    assert len(model) == 60
    size = len(model.__getstate__())
    expected = f"history model, 60 items with titles, {size:,} bytes, 16 dimensions"
    assert repr(model) == f"<sparserec_np.Model: {expected}>"
    assert "history model" in model._repr_html_()
    assert "embedding model" in repr(load(encode(random_model(1, "embedding"))))


def test_a_history_may_stand_in_the_place_of_the_user(model: Model, random_model: Make) -> None:
    a, b = model.item_ids.take([3, 8])
    expected = model.recommend(history=[a, b])
    assert model.recommend([a, b]).ids == expected.ids
    assert model.recommend(np.array([a, b])).ids == expected.ids
    (one,) = model.recommend_batch([[a, b]])
    assert one.ids == expected.ids
    assert model.explain(expected.ids[0], [a, b]) == model.explain(expected.ids[0], history=[a, b])
    with pytest.raises(InputError, match="knows no users"):
        model.recommend(a)
    other = load(encode(random_model(1, "embedding")))
    with pytest.raises((InputError, TypeError)):
        other.recommend([a, b])
