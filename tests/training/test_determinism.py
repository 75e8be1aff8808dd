"""Same data, same arguments, same seed: same bytes of the file, whatever the number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import twins

from sparserec_np import SparseRec
from sparserec_np.data import from_pairs

USERS = ["history", "embedding"]
THREADS = [1, 2, 3]


def digest(path: Path, users: str, seed: int = 0, threads: int | None = None) -> str:
    """Of the file of a fit that does all there is: choosing the epoch, exploring, hard negatives.

    The data fills several batches, of groups cut by users and by positives.
    """
    data = twins.random_interactions(13, n_users=700, n_items=300, mean=22)
    model = SparseRec(
        users=users, dim=64, max_size="9KB" if users == "history" else "20KB", sweeps=2,
        exploration=0.4, seed=seed, threads=threads,
    )  # fmt: skip
    model.fit(data).save(path)
    assert any(record.moved for record in model.epoch_metrics_)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def digests(tmp_path_factory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("digests") / "model.srec"
    return {users: digest(path, users) for users in USERS}


@pytest.fixture(scope="module")
def of_another_process(tmp_path_factory) -> list[str]:
    """Digests for one, two and three threads of a process that has three, whatever the machine."""
    script = (
        "from pathlib import Path; from sys import argv; import numba, test_determinism as t\n"
        "assert numba.get_num_threads() == 3\n"
        "for users in t.USERS:\n"
        "    for threads in t.THREADS:\n"
        "        print(t.digest(Path(argv[1]), users, threads=threads))\n"
    )
    here = Path(__file__).parent
    paths = os.pathsep.join(str(folder) for folder in (here, *here.parents[:2]))
    path = tmp_path_factory.mktemp("threads") / "model.srec"
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        env={**os.environ, "PYTHONPATH": paths, "NUMBA_NUM_THREADS": "3"},
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize("users", USERS)
def test_one_two_and_three_threads_give_the_same_bytes(digests, of_another_process, users):
    first = USERS.index(users) * len(THREADS)
    assert of_another_process[first : first + 3] == [digests[users]] * 3


@pytest.mark.parametrize("users", USERS)
def test_another_seed_gives_other_bytes(tmp_path, digests, users):
    assert digest(tmp_path / "model.srec", users, seed=1) != digests[users]


def test_the_order_of_the_data_does_not_matter(tmp_path, rng):
    data = twins.random_interactions(14, n_users=50, n_items=40, mean=6)
    pairs = np.stack([data.user_of_entry(), data.items])
    files = []
    for name in ("a", "b"):
        model = SparseRec(dim=16, epochs=2).fit(from_pairs(*pairs))
        model.save(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
        pairs = pairs[:, rng.permutation(pairs.shape[1])]
    assert files[0] == files[1]
