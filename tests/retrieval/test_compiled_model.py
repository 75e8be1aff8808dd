"""Compiled requests give the runtime's answers, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparserec_np
from sparserec_np import InputError, UnknownIdError
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode

Make = Callable[..., ModelArrays]


def pair(arrays: ModelArrays):
    data = encode(arrays)
    return sparserec_np.load(data), sparserec_np.load_compiled(data)


def assert_same(one, other) -> None:
    assert one[0] == other[0]
    np.testing.assert_array_equal(one[1], other[1])
    assert one[1].dtype == other[1].dtype == np.float32


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    data=st.data(),
    k=st.integers(1, 90),
    ids=st.sampled_from(["range", "int", "str"]),
    power=st.sampled_from([0.125, 0.875, 1.0]),
    recency=st.sampled_from([0.0, 0.5, 0.875, 1.0]),
    neighbours=st.sampled_from([0, 1, 30]),
)
def test_histories_are_answered_alike(
    seed, data, k, ids, power, recency, neighbours, random_model: Make
):
    kind = {"n_items": 70, "ids": ids, "power": power, "recency": recency}
    kind |= {"neighbours": neighbours}
    plain, compiled = pair(random_model(seed, users="history", **kind))
    everything = plain.item_ids.take(np.arange(len(plain.item_ids)))
    some = st.lists(st.sampled_from(everything), max_size=30)
    history = data.draw(some.filter(bool))
    exclude, candidates = data.draw(st.none() | some), data.draw(st.none() | some)
    assert_same(
        plain.recommend(history=history, k=k, exclude=exclude, candidates=candidates),
        compiled.recommend(history=history, k=k, exclude=exclude, candidates=candidates),
    )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), k=st.integers(1, 20))
def test_users_are_answered_alike(seed, k, random_model: Make):
    plain, compiled = pair(random_model(seed, users="embedding", n_items=200))
    for user in plain.user_ids.take(np.arange(len(plain.user_ids))):
        assert_same(plain.recommend(user=user, k=k), compiled.recommend(user=user, k=k))


def test_all_else_is_inherited(random_model: Make):
    plain, compiled = pair(random_model(3, users="history", n_items=70, ids="int"))
    first = plain.item_ids.take([0])
    assert isinstance(compiled, sparserec_np.Model)
    assert_same(plain.similar_items(first[0]), compiled.similar_items(first[0]))
    with pytest.raises(InputError, match="history is empty"):
        compiled.recommend(history=[])
    with pytest.raises(UnknownIdError, match="knows none"):
        compiled.recommend(history=[-(2**40)])


def test_threads_share_one_model(random_model: Make):
    plain, compiled = pair(random_model(5, users="history", n_items=70, ids="int"))
    ids = plain.item_ids.take(np.arange(len(plain.item_ids)))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda item: compiled.recommend(history=[item]), ids * 20))
    for item, answer in zip(ids * 20, answers, strict=True):
        assert_same(plain.recommend(history=[item]), answer)
