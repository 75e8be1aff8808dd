"""Fixtures that several test modules share."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.utils import parallel
from sparserec_np.vocabulary import Ids, from_values

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    """Root folder of the project."""
    return PROJECT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; without it the test is skipped."""
    folder = Path(os.environ.get("SPARSEREC_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder (SPARSEREC_DATA names another)")
    return folder


@pytest.fixture
def log_as_it_was() -> Iterator[None]:
    """Restore the package's log, which a command sets up for its whole process."""
    logger = logging.getLogger("sparserec_np")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator, the same for every test."""
    return np.random.default_rng(20241122)


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three threads run on any machine; else there are no more than it has cores."""
    monkeypatch.setattr(parallel, "usable_cores", lambda: 3)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    for name in ("sparserec_np", "cli"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", out, copy], check=True, timeout=120)
    (built,) = out.glob("*.whl")
    return built


def _random_table(rng: np.random.Generator, rows: int, dim: int) -> Table:
    lengths = rng.integers(0, min(dim, 9) + 1, rows)
    dims = [np.sort(rng.choice(dim, n, replace=False)) for n in lengths]
    indptr = np.r_[0, np.cumsum(lengths)]
    values = rng.standard_normal(indptr[-1]).astype(np.float32)
    return Table(indptr, np.concatenate(dims).astype(np.uint16), values, dim)


def _random_ids(rng: np.random.Generator, n: int, kind: str) -> Ids:
    if kind == "range":
        return from_values(np.arange(n) + int(rng.integers(-5, 1000)))
    numbers = rng.choice(50 * n, n, replace=False)
    if kind == "int":
        return from_values(numbers - 17)
    return from_values([f"ïd {number:x}" for number in numbers])


def make_random_model(
    seed: int,
    users: str = "history",
    *,
    n_items: int = 60,
    n_users: int = 30,
    dim: int = 16,
    ids: str = "int",
    labels: bool = False,
    weighted: bool = True,
    power: float = 1.0,
    recency: float = 0.0,
    value_bits: int = 6,
    neighbours: int = 0,
    alone: bool = False,
) -> ModelArrays:
    """A model of random weights, some of its rows empty.

    `ids` is range, int or str; `neighbours` is how many others an item adds to at most; where these
    are `alone`, no item has a weight.
    """
    rng = np.random.default_rng(seed)
    embedding = users == "embedding"
    arrays = ModelArrays(
        users="embedding" if embedding else "history",
        dim=dim,
        item_ids=_random_ids(rng, n_items, ids),
        items=_random_table(rng, n_items, dim),
        item_bias=rng.standard_normal(n_items).astype(np.float32),
        history_weights=(
            rng.uniform(0.2, 2.0, n_items).astype(np.float32)
            if weighted and not embedding
            else None
        ),
        history_exponent=0.0 if embedding else 0.4,
        history_power=1.0 if embedding else power,
        history_recency=0.0 if embedding else recency,
        user_ids=_random_ids(rng, n_users, ids) if embedding else None,
        user_rows=_random_table(rng, n_users, dim) if embedding else None,
        labels=[f"Film Nº {n} \N{CLAPPER BOARD}" for n in range(n_items)] if labels else None,
        value_bits=value_bits,
        config={"dim": dim, "seed": seed},
        facts={"users": n_users, "note": 'says "hello"'},
    )
    if alone:
        no_values = np.zeros(0, np.float32)
        empty = Table(np.zeros(n_items + 1, np.int64), np.zeros(0, np.uint16), no_values, dim)
        arrays = replace(arrays, items=empty)
    if not neighbours:
        return arrays
    return replace(arrays, neighbours=_random_neighbours(rng, n_items, neighbours))


def _random_neighbours(rng: np.random.Generator, n_items: int, most: int) -> Neighbours:
    lengths = rng.integers(0, min(n_items, most) + 1, n_items)
    items = [np.sort(rng.choice(n_items, n, replace=False)) for n in lengths]
    indptr = np.r_[0, np.cumsum(lengths)]
    values = rng.standard_normal(indptr[-1]).astype(np.float32)
    return Neighbours(indptr, np.concatenate(items).astype(np.int32), values)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., ModelArrays]:
    """The function `make_random_model`."""
    return make_random_model
