"""Training: epochs, schedule, exploration, validation by callback.

Everything random is drawn from ``(seed, purpose, epoch)``, never from a generator that is carried
along, so an epoch can be done again from the state before it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from sparserec_np.config import Config
from sparserec_np.errors import InputError
from sparserec_np.explore import explore, growth_buffer, no_growth, sample_rows
from sparserec_np.interactions import Interactions
from sparserec_np.kernels import GROUP_POSITIVES, cut_groups, run_batches
from sparserec_np.nmf import factorise
from sparserec_np.start import empty_rows, starting_rows
from sparserec_np.state import GROUPS, Items, Rows, Step, Workspace, workspace

_log = logging.getLogger(__name__)

# Purposes of random numbers; each has streams of its own.
_SEEDS, _FILL, _ORDER, _NEGATIVES, _SAMPLE = range(5)

_NMF_ROOM = 2.0  # entries a row in the factors, in budgets a row: the best of them become the mask
_NMF_WIDTH = 64  # most entries a row in the factors, whatever the budget


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch was like."""

    epoch: int
    """Number of the epoch, from 1."""
    epochs: int
    """Epochs that the schedule is laid out for."""
    loss: float
    """Mean BPR loss of a triple."""
    ndcg: float | None
    """NDCG@20 on the validation part after the epoch, or None without one."""
    triples_per_second: float
    """Training alone, validation aside."""
    moved: int
    """Weights that exploration moved."""
    seconds: float
    """Seconds since the fit began."""
    stage: str
    """What the epoch was for: ``"choose"`` the epoch, or ``"train"``."""


@dataclass(eq=False)
class Tables:
    """What is learned. The arrays are changed in place by training."""

    items: Items
    users: Rows
    dim: int

    def copy(self) -> Tables:
        """Copy the arrays."""
        rows = Rows(*(array.copy() for array in self.items.rows))
        rest = (array.copy() for array in self.items[1:])
        return Tables(Items(rows, *rest), Rows(*(array.copy() for array in self.users)), self.dim)

    @property
    def weights(self) -> int:
        """Weights stored in all tables."""
        return self.items.rows.values.size + self.users.values.size


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Let compiled code use so many threads, and put the number back afterwards.

    Args:
        threads: Number of threads; None for all cores. More than there are cores are not used.

    Raises:
        InputError: ``threads`` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads or before, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def start(interactions: Interactions, config: Config, dim: int, budgets: tuple[int, int]) -> Tables:
    """Find the mask and the values that training starts from.

    Args:
        interactions: What to learn from.
        config: Hyperparameters.
        dim: Columns of the tables.
        budgets: Weights of the item and of the user table; the latter is 0 for the history model.

    Returns:
        The tables, with exactly the budgeted numbers of weights.
    """
    item_budget, user_budget = budgets
    history = config.users == "history"
    item_width = _width(item_budget, interactions.n_items, dim)
    user_width = item_width if history else _width(user_budget, interactions.n_users, dim)
    user_factor, item_factor = factorise(
        interactions,
        dim,
        user_width=user_width,
        item_width=item_width,
        sweeps=config.sweeps,
        rng=_generator(config.seed, _SEEDS),
    )
    fill = _bits(config.seed, _FILL)
    norm, square = config.initial_norm, config.initial_square
    users = empty_rows(interactions.n_users)
    if not history:
        users = starting_rows(user_factor, dim, user_budget, norm, square, fill)
    del user_factor
    rows = starting_rows(item_factor, dim, item_budget, norm, square, fill)
    degrees = interactions.item_degrees()
    items = Items(
        rows,
        bias=np.zeros(interactions.n_items, np.float32),
        bias_squares=np.full(interactions.n_items, square, np.float32),
        weight=_history_weights(degrees, config.degree_exponent),
    )
    return Tables(items, users, dim)


def train(
    tables: Tables,
    interactions: Interactions,
    config: Config,
    *,
    epochs: int,
    validate: Callable[[Tables], float] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    stage: str = "train",
) -> tuple[Tables, int, float | None]:
    """Train, and keep the best epoch if there is something to judge it by.

    Args:
        tables: Where to start; changed.
        interactions: What to learn from.
        config: Hyperparameters; ``config.epochs`` is what the schedule is laid out for.
        epochs: Epochs to do at most.
        validate: Gives the quality of the tables after an epoch, larger is better.
        on_epoch: Called after each epoch.
        stage: Name of what is done, for the records.

    Returns:
        The tables after the best epoch, its number and its quality; without ``validate``, after
        the last one, and None.

    Raises:
        InputError: The training diverged.
    """
    run = _Run(tables, interactions, config)
    best, best_epoch, best_quality = tables, 0, -math.inf
    began = time.perf_counter()
    for epoch in range(1, epochs + 1):
        before = time.perf_counter()
        loss, triples, moved = run.epoch(epoch - 1)
        seconds = time.perf_counter() - before
        if not math.isfinite(loss):
            raise InputError(
                f"the training diverged in epoch {epoch}: lower learning_rate "
                f"(now {config.learning_rate:g})"
            )
        quality = None if validate is None else validate(run.tables)
        if on_epoch is not None:
            on_epoch(
                EpochRecord(
                    epoch,
                    config.epochs,
                    loss / max(triples, 1),
                    quality,
                    triples / max(seconds, 1e-9),
                    moved,
                    time.perf_counter() - began,
                    stage,
                )
            )
        if quality is None:
            best, best_epoch = run.tables, epoch
        elif quality > best_quality:
            best, best_epoch, best_quality = run.tables.copy(), epoch, quality
        elif epoch - best_epoch >= config.patience:
            break
    return best, best_epoch, best_quality if validate is not None else None


class _Run:
    """A training on its way: the tables, their growth buffers and scratch memory."""

    def __init__(self, tables: Tables, interactions: Interactions, config: Config) -> None:
        self.tables = tables
        self._interactions = interactions
        self._config = config
        self._history = config.users == "history"
        self._user_degrees = interactions.user_degrees()
        self._item_degrees = interactions.item_degrees()
        self._still = (
            no_growth(interactions.n_items, tables.dim),
            no_growth(interactions.n_users, tables.dim),
        )
        user_bytes = 4 if self._history else config.buffer_bytes
        self._growing = (
            growth_buffer(interactions.n_items, tables.dim, config.buffer_bytes),
            growth_buffer(interactions.n_users, tables.dim, user_bytes),
        )
        self._scratch = self._workspace()

    def epoch(self, epoch: int) -> tuple[float, int, int]:
        """Do one epoch (from 0); return the summed loss, the triples and the weights moved."""
        config, tables = self._config, self.tables
        seed = config.seed
        progress = epoch / config.epochs
        share = self._share(progress)
        item_growth, user_growth = self._growing if share > 0 else self._still
        if share > 0:
            rng = _generator(seed, _SAMPLE, epoch)
            sample_rows(item_growth, self._item_degrees, rng)
            if not self._history:
                sample_rows(user_growth, self._user_degrees, rng)
        order = np.flatnonzero(self._user_degrees)
        _generator(seed, _ORDER, epoch).shuffle(order)
        starts = np.empty(order.size + 1, np.int64)
        n_groups = cut_groups(order, self._user_degrees, starts)
        step = Step(
            np.float32(config.learning_rate * (1.0 - progress)),
            np.float32(config.reg),
            np.float32(config.history_exponent),
            np.int64(config.candidates),
            _bits(seed, _NEGATIVES, epoch),
        )
        loss, triples = run_batches(
            0,
            -(-n_groups // GROUPS),
            starts[: n_groups + 1],
            order,
            self._interactions.indptr,
            self._interactions.items,
            *tables.items,
            tables.users,
            self._history,
            step,
            self._scratch,
            item_growth,
            user_growth,
        )
        moved = 0
        if share > 0 and math.isfinite(loss):
            rows, moved = explore(tables.items.rows, item_growth, share, config.initial_square)
            users = tables.users
            if not self._history:
                users, moved_users = explore(users, user_growth, share, config.initial_square)
                moved += moved_users
            self.tables = Tables(tables.items._replace(rows=rows), users, tables.dim)
            self._scratch = self._workspace()
        return loss, triples, moved

    def _share(self, progress: float) -> float:
        """Share of weights to move: a cosine from ``exploration`` to zero."""
        end = self._config.exploration_end
        if progress >= end:
            return 0.0
        return self._config.exploration * 0.5 * (1.0 + math.cos(math.pi * progress / end))

    def _workspace(self) -> Workspace:
        rows = self.tables.items.rows
        lengths = np.diff(rows.indptr)
        entries = self._interactions
        weights = np.add.reduceat(np.append(lengths[entries.items], 0), entries.indptr[:-1]) * (
            self._user_degrees > 0
        )
        group_positives = max(GROUP_POSITIVES, int(self._user_degrees.max()))
        group_weights = max(int(weights.max()), GROUP_POSITIVES * int(lengths.max()))
        return workspace(
            rows,
            self.tables.dim,
            self._config.candidates,
            self._config.pool,
            group_positives,
            group_weights,
        )


def _width(budget: int, n_rows: int, dim: int) -> int:
    return max(1, min(dim, _NMF_WIDTH, math.ceil(_NMF_ROOM * budget / n_rows)))


def _history_weights(degrees: NDArray[np.int64], exponent: float) -> NDArray[np.float32]:
    """``degree^-exponent``, scaled such that its mean square over all interactions is 1."""
    weight = np.maximum(degrees, 1).astype(np.float64) ** -exponent
    mean_square = float((weight * weight * degrees).sum()) / max(int(degrees.sum()), 1)
    return np.asarray(weight / math.sqrt(mean_square), np.float32)


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose])


def _bits(seed: int, *purpose: int) -> np.uint64:
    state = np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)
    return np.uint64(state[0])
