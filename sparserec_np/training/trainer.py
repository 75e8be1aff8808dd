"""Training: epochs, schedule, exploration, validation by callback.

Everything random is drawn from ``(seed, purpose, epoch)``, never from a generator that is carried
along, so an epoch can be done again from the state before it: after a crash, after an interrupt, or
with a smaller step when it diverged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.config import Config
from sparserec_np.training.divergence import DivergedError, LastGood, slowed
from sparserec_np.training.initialization import (
    empty_rows,
    factor_width,
    history_weights,
    starting_rows,
)
from sparserec_np.training.kernels.arrays import (
    GradientAccumulator,
    ItemParameters,
    Step,
    Workspace,
    workspace,
)
from sparserec_np.training.kernels.bpr import (
    GROUP_POSITIVES,
    cut_groups,
    most_weights,
    run_batches,
    take_turns,
)
from sparserec_np.training.nmf import factorise
from sparserec_np.training.prune_and_grow import explore, growth_buffer, no_growth, sample_rows
from sparserec_np.training.sharded_batches import ShardedBatches
from sparserec_np.training.state import EpochMetrics, Parameters, TrainingState
from sparserec_np.utils.communicator import SINGLE_PROCESS, Communicator
from sparserec_np.utils.log import logger

__all__ = [
    "DivergedError",
    "EpochMetrics",
    "Parameters",
    "Run",
    "TrainingState",
    "start",
    "train",
]

_log = logger(__name__)

# Purposes of random numbers; each has streams of its own.
_SEEDS, _FILL, _ORDER, _NEGATIVES, _SAMPLE = range(5)

_SLICE = 32  # batches between two looks at the loss; compiled code cannot be interrupted within
# Healthy training begins near ln 2 and stays below 1.5: mean losses that no slice and no epoch has.
_EXPLODED, _SICK = 3.0, 1.5


def start(
    interactions: Interactions,
    config: Config,
    dim: int,
    budgets: tuple[int, int],
    comm: Communicator = SINGLE_PROCESS,
) -> Parameters:
    """Find the mask and the values that training starts from.

    Args:
        interactions: What to learn from.
        config: Hyperparameters.
        dim: Columns of the tables.
        budgets: Weights of the item and of the user table; the latter is 0 for the history model.
        comm: Who has the other users.

    Returns:
        The tables, with exactly the budgeted numbers of weights; that of the users has the rows of
        those that are here.
    """
    item_budget, user_budget = budgets
    history = config.users == "history"
    n_users = comm.all_reduce_count(interactions.n_users)
    item_width = factor_width(item_budget, interactions.n_items, dim)
    user_width = item_width if history else factor_width(user_budget, n_users, dim)
    factors = factorise(
        interactions,
        dim,
        user_width=user_width,
        item_width=item_width,
        sweeps=config.sweeps,
        rng=_generator(config.seed, _SEEDS),
        comm=comm,
    )
    left = [*reversed(factors)]  # each is handed over, and gone before the next table is there
    del factors
    fill = _bits(config.seed, _FILL)
    norm, square = config.initial_norm, config.initial_square
    users = empty_rows(interactions.n_users)
    if history:
        left.pop()
    else:
        users = starting_rows(left.pop(), dim, user_budget, norm, square, fill, comm)
    rows = starting_rows(left.pop(), dim, item_budget, norm, square, fill)
    degrees = comm.all_reduce(interactions.item_degrees())
    items = ItemParameters(
        rows,
        bias=np.zeros(interactions.n_items, np.float32),
        bias_squares=np.full(interactions.n_items, square, np.float32),
        weight=history_weights(degrees, config.degree_exponent),
    )
    return Parameters(items, users, dim)


def train(
    begin: Parameters | TrainingState,
    interactions: Interactions,
    config: Config,
    *,
    epochs: int,
    validate: Callable[[Parameters], float] | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
    stage: str = "train",
    afresh: Callable[[], Parameters] | None = None,
    keep_best: bool = True,
    make_run: Callable[[Parameters, Interactions, Config], Run] | None = None,
) -> tuple[Parameters, int, float | None]:
    """Train, and keep the best epoch if there is something to judge it by.

    An epoch that diverges is taken back and done again with half the learning rate. If it diverges
    once more, what it begins with is no good either: the training starts again.

    Args:
        begin: Where to start, or to go on; changed.
        interactions: What to learn from.
        config: Hyperparameters; ``config.epochs`` is what the schedule is laid out for.
        epochs: Epochs to do at most.
        validate: Gives the quality of the tables after an epoch, larger is better.
        on_epoch: Called after each epoch.
        on_state: Called with the state before the first epoch and after each one; what it is given
            never changes.
        stage: Name of what is done, for the records.
        afresh: Makes the tables to start again from; None: the last good ones have to do.
        keep_best: Whether the tables of the best epoch are wanted; False: its number is enough.
        make_run: Makes what does the epochs; None: :class:`Run`.

    Returns:
        The tables after the best epoch, its number and its quality; without ``validate``, after
        the last one, and None.

    Raises:
        InputError: The training diverged, again and again.
    """
    state = begin if isinstance(begin, TrainingState) else TrainingState(begin)
    del begin  # the state alone keeps the arrays, and lets go of them
    run = (make_run or Run)(state.tables, interactions, config)
    last_good, diverged = LastGood(), -1
    if on_state is not None:
        state = replace(state, tables=state.tables.copy())
        on_state(state)
    began = time.perf_counter()
    while state.epoch < epochs and not _out_of_patience(state, config):
        before = time.perf_counter()
        last_good.keep(run.tables)
        try:
            loss, triples, moved = run.epoch(state.epoch, state.rate)
        except DivergedError as error:
            rate = slowed(state, config, error)
            if afresh is not None and state.epoch == diverged:
                state = TrainingState(afresh(), rate=rate)
            else:
                diverged = state.epoch
                state = replace(state, tables=last_good.restore(), rate=rate)
            run.go_to(state.tables if on_state is None else state.tables.copy())
            continue
        seconds = time.perf_counter() - before
        quality = None if validate is None else validate(run.tables)
        tables = run.tables if on_state is None else run.tables.copy()
        state = state.after(tables, quality, keep_best=keep_best)
        del tables
        if on_epoch is not None:
            on_epoch(
                EpochMetrics(
                    state.epoch,
                    config.epochs,
                    loss / max(triples, 1),
                    quality,
                    triples / max(seconds, 1e-9),
                    moved,
                    time.perf_counter() - began,
                    stage,
                )
            )
        if on_state is not None:
            on_state(state)
    return state.result()


def _out_of_patience(state: TrainingState, config: Config) -> bool:
    return state.best_epoch > 0 and state.epoch - state.best_epoch >= config.patience


class Run:
    """A training on its way: the tables, their growth buffers and scratch memory."""

    def __init__(
        self,
        tables: Parameters,
        interactions: Interactions,
        config: Config,
        comm: Communicator = SINGLE_PROCESS,
    ) -> None:
        self._interactions = interactions
        self._config = config
        self._comm = comm
        self._history = config.users == "history"
        self._user_degrees = comm.all_gather_concat(interactions.user_degrees())
        self._item_degrees = comm.all_reduce(interactions.item_degrees())
        self._item_reg = _item_reg(self._item_degrees, config)
        self._sharded = None
        if comm.world_size > 1:
            self._sharded = ShardedBatches(comm, interactions, self._user_degrees)
        self._still = (
            no_growth(interactions.n_items, tables.dim),
            no_growth(self._user_degrees.size, tables.dim),
        )
        n_items = interactions.n_items
        n_users = 0 if self._history else self._user_degrees.size
        lines = min(config.buffer_rows, config.buffer_bytes // (4 * tables.dim))
        item_lines = -(-lines * n_items // (n_items + n_users))
        self._growing = (
            growth_buffer(n_items, tables.dim, item_lines),
            no_growth(self._user_degrees.size, tables.dim)
            if self._history
            else growth_buffer(n_users, tables.dim, lines - item_lines),
        )
        self.go_to(tables)

    def go_to(self, tables: Parameters) -> None:
        """Go on with other tables, whose rows may have other lengths."""
        self.tables = tables
        self._scratch: Workspace | None = None
        self._make_room()

    def epoch(self, epoch: int, rate: float) -> tuple[float, int, int]:
        """Do one epoch.

        Args:
            epoch: Its number, from 0.
            rate: What the learning rate is multiplied by.

        Returns:
            The summed loss, the triples and the weights moved.

        Raises:
            DivergedError: The tables are of no use any more.
        """
        config, seed = self._config, self._config.seed
        progress = epoch / config.epochs
        share = self._share(progress)
        growing = self._growing if share > 0 else self._still
        if share > 0:
            rng = _generator(seed, _SAMPLE, epoch)
            sample_rows(growing[0], self._item_degrees, rng)
            if not self._history:
                sample_rows(growing[1], self._user_degrees, rng)
        order = np.flatnonzero(self._user_degrees)
        _generator(seed, _ORDER, epoch).shuffle(order)
        step = Step(
            np.float32(config.learning_rate * rate * (1.0 - progress)),
            np.float32(config.reg),
            np.float32(config.history_exponent),
            np.int64(8 * config.history_power),
            np.int64(config.candidates),
            np.float32(config.choice_bias),
            _bits(seed, _NEGATIVES, epoch),
        )
        loss, triples = self._pass(order, step, growing)
        moved = self._explore(growing, share) if share > 0 else 0
        return loss, triples, moved

    def _pass(
        self,
        order: NDArray[np.int64],
        step: Step,
        growing: tuple[GradientAccumulator, GradientAccumulator],
    ) -> tuple[float, int]:
        """Visit all interactions once; return the summed loss and the triples."""
        starts = np.empty(order.size + 1, np.int64)
        starts = starts[: cut_groups(order, self._user_degrees, starts) + 1]
        turns = take_turns(starts, self._user_degrees[order])
        n_batches = len(turns)
        loss, triples = 0.0, 0
        for first in range(0, n_batches, _SLICE):
            batches = first, min(first + _SLICE, n_batches), starts, order
            if self._sharded is None:
                slice_loss, slice_triples = run_batches(
                    *batches,
                    turns,
                    self._interactions.indptr,
                    self._interactions.items,
                    *self.tables.items,
                    self.tables.users,
                    self._history,
                    step,
                    self._scratch,
                    *growing,
                )
            else:
                assert self._scratch is not None
                slice_loss, slice_triples = self._sharded.run_batches(
                    *batches, self.tables, self._history, step, self._scratch, *growing
                )
            if not slice_loss <= _EXPLODED * slice_triples:
                raise DivergedError(f"mean loss {slice_loss / max(slice_triples, 1):.3g}")
            loss += slice_loss
            triples += slice_triples
        if loss > _SICK * triples:
            raise DivergedError(f"mean loss {loss / triples:.3g}")
        if not self._is_finite():
            raise DivergedError("weights that are no finite numbers")
        return loss, triples

    def _is_finite(self) -> bool:
        items = self.tables.items
        changed = (items.rows.values, items.bias, self.tables.users.values)
        finite = all(np.isfinite(values).all() for values in changed)
        return self._comm.all_reduce_count(int(finite)) == self._comm.world_size

    def _explore(
        self, growing: tuple[GradientAccumulator, GradientAccumulator], share: float
    ) -> int:
        """Move weights of both tables; return how many moved."""
        tables, square = self.tables, self._config.initial_square
        rows, moved = explore(tables.items.rows, growing[0], share, square)
        tables.items = tables.items._replace(rows=rows)
        if not self._history:
            own = growing[1] if self._sharded is None else self._sharded.growth_here(growing[1])
            tables.users, moved_users = explore(tables.users, own, share, square, self._comm)
            moved += moved_users
        self._make_room()
        return moved

    def _share(self, progress: float) -> float:
        """Share of weights to move: a cosine from ``exploration`` to zero."""
        end = self._config.exploration_end
        if progress >= end:
            return 0.0
        return self._config.exploration * 0.5 * (1.0 + math.cos(math.pi * progress / end))

    def _make_room(self) -> None:
        """Have enough scratch memory for the tables as they are."""
        rows, data = self.tables.items.rows, self._interactions
        longest = int(np.diff(rows.indptr).max())
        group_positives = max(GROUP_POSITIVES, int(self._user_degrees.max()))
        group_weights = max(
            *self._comm.all_gather_count(
                most_weights(data.indptr, data.items, rows.indptr, GROUP_POSITIVES)
            ),
            GROUP_POSITIVES * longest,
        )
        needed = group_weights + group_positives * longest  # of positives, and of their negatives
        if self._scratch is not None and self._scratch.room >= needed:
            return
        self._scratch = None  # let go of it before there is a new one
        self._scratch = workspace(
            self._item_reg,
            self.tables.dim,
            self._history,
            self._config.candidates,
            self._config.pool,
            group_positives,
            needed + needed // 4,  # rows become longer
        )


def _item_reg(degrees: NDArray[np.int64], config: Config) -> NDArray[np.float32]:
    """``reg * degree^-reg_exponent``, scaled such that its mean over all interactions is reg."""
    penalty = np.maximum(degrees, 1).astype(np.float64) ** -config.reg_exponent
    mean = float((penalty * degrees).sum()) / max(int(degrees.sum()), 1)
    return np.asarray(config.reg / mean * penalty, np.float32)


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose])


def _bits(seed: int, *purpose: int) -> np.uint64:
    bits: np.uint64 = np.random.SeedSequence([seed, *purpose]).generate_state(1, np.uint64)[0]
    return bits
