"""Same data, same arguments, same seed: same bytes of the file, whatever the number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import interactions

from sparserec_np import SparseRec
from sparserec_np.data import from_pairs

USERS = ["history", "embedding"]


def digest(users: str, seed: int = 0, threads: int | None = None) -> str:
    """Digest of the file of a fit that chooses the epoch, explores and draws hard negatives.

    The data fills several batches, of groups cut by users and by positives.
    """
    data = interactions.random_interactions(13, n_users=700, n_items=300, mean=22)
    model = SparseRec(
        users=users, dim=64, max_size="9KB" if users == "history" else "20KB", sweeps=2,
        exploration=0.4, seed=seed, threads=threads,
    )  # fmt: skip
    model.fit(data)
    assert any(metrics.moved for metrics in model.epoch_metrics_)
    return hashlib.sha256(model.to_bytes()).hexdigest()


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return {users: digest(users) for users in USERS}


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_two_and_three_threads_give_the_same_bytes(digests, users, threads, three_cores):
    assert digest(users, threads=threads) == digests[users]


@pytest.mark.parametrize("users", USERS)
def test_another_process_gives_the_same_bytes(digests, users):
    """Its hashes of texts, and so the order of sets, are others."""
    script = f"import test_determinism as t; print(t.digest({users!r}))"
    here = Path(__file__).parent
    path = os.pathsep.join(str(folder) for folder in (here, *here.parents[:2]))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "20241122"},
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.split() == [digests[users]]


@pytest.mark.parametrize("users", USERS)
def test_another_seed_gives_other_bytes(digests, users):
    assert digest(users, seed=1) != digests[users]


def test_the_order_of_the_data_does_not_matter(rng):
    data = interactions.random_interactions(14, n_users=50, n_items=40, mean=6)
    pairs = np.stack([data.user_of_entry(), data.items])
    files = []
    for _ in range(2):
        files.append(SparseRec(dim=16, epochs=2).fit(from_pairs(*pairs)).to_bytes())
        pairs = pairs[:, rng.permutation(pairs.shape[1])]
    assert files[0] == files[1]
