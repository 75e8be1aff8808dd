"""Fits beside each other, and in processes forked after a fit."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sparserec_np
from sparserec_np.evaluation.evaluate import evaluate
from sparserec_np.retrieval.compiled_model import load_compiled

PAIRS = np.random.default_rng(0).integers(0, 40, (600, 2))


def fit(seed: int) -> bytes:
    model = sparserec_np.SparseRec(dim=8, epochs=2, seed=seed)
    return model.fit((PAIRS[:, 0], PAIRS[:, 1])).to_bytes()


def use(file: bytes) -> None:
    """Fit, evaluate and serve, as a child that was forked does."""
    assert fit(0) == file
    data = sparserec_np.data.from_pairs(PAIRS[:, 0], PAIRS[:, 1])
    assert evaluate(sparserec_np.load(file), data, data)["users"]
    load_compiled(file).recommend(history=[1, 2], k=3)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems spawn processes")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_can_do_all_that_its_parent_did():
    child = multiprocessing.get_context("fork").Process(target=use, args=(fit(0),))
    child.start()
    child.join(600)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0


def test_fits_in_two_threads_at_once():
    with ThreadPoolExecutor(2) as threads:
        files = list(threads.map(fit, [0, 1, 0, 1]))
    assert files == [fit(0), fit(1)] * 2
