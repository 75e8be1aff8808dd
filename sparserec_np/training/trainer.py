"""The trainer: epochs with schedule, exploration, rollback after a divergence, and validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.modelfile.layout import EIGHTHS
from sparserec_np.retrieval.signed_power import steepest_slope
from sparserec_np.training.config import Config
from sparserec_np.training.divergence import DivergedError, LastGood, halved_rate
from sparserec_np.training.kernels.arrays import (
    GradientAccumulator,
    Histories,
    Step,
    Workspace,
    workspace,
)
from sparserec_np.training.kernels.batches import (
    GROUP_POSITIVES,
    cut_batches,
    most_weights,
    train_batches,
)
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.prune_and_grow import (
    empty_accumulator,
    explore,
    new_accumulator,
    sample_rows,
)
from sparserec_np.training.random_streams import Purpose, generator, random_bits
from sparserec_np.training.sharded_batches import ShardedBatches
from sparserec_np.training.state import EpochMetrics, TrainingState
from sparserec_np.utils.communicator import communicator
from sparserec_np.utils.parallel import run_parallel

_SLICE = 32  # batches between two looks at the loss; compiled code cannot be interrupted within
# Healthy training begins near ln 2 and stays below 1.5: mean losses that no slice and no epoch has.
_EXPLODED, _SICK = 3.0, 1.5


class EpochResult(NamedTuple):
    """Sums over an epoch."""

    loss: float
    triples: int
    moved: int
    """Weights that exploration pruned and grew elsewhere."""


class EpochTrainer(Protocol):
    """Trains epoch by epoch: :class:`Trainer`, or one that stands for the workers of a cluster."""

    config: Config
    parameters: Parameters

    def go_to(self, parameters: Parameters) -> None:
        """Go on with other parameters."""

    def epoch(self, epoch: int, rate: float) -> EpochResult:
        """Train for one epoch; see :meth:`Trainer.epoch`."""


class Observer:
    """Is told of the course of a training; does nothing by itself."""

    keeps_states = False
    """Whether states are kept, which then must never change: parameters are copied for it."""

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Take note of an epoch."""

    def on_state(self, state: TrainingState) -> None:
        """Take note of the state before the first epoch and after each one."""


def train(
    trainer: EpochTrainer,
    state: TrainingState,
    *,
    epochs: int,
    stage: str = "train",
    validate: Callable[[Parameters], float] | None = None,
    keep_best: bool = True,
    observer: Observer | None = None,
    restart: Callable[[], Parameters] | None = None,
) -> TrainingState:
    """Train up to a number of epochs, or until validation has run out of patience.

    An epoch that diverges is rolled back and done again with half the learning rate. If it diverges
    once more, the parameters that it begins with are no good either: the training restarts.

    Args:
        trainer: Trains an epoch; its parameters are those of ``state``.
        state: State to go on from.
        epochs: Epochs to do at most, those of ``state`` included; ``trainer.config.epochs`` is what
            the schedule is laid out for.
        stage: Purpose of the epochs, for their metrics.
        validate: Returns the quality of the parameters after an epoch, larger is better.
        keep_best: Whether the parameters of the best epoch are wanted; False: its number is enough.
        observer: Is told of each epoch and state.
        restart: Makes new parameters to start from; None: the last good ones have to do.

    Returns:
        The last state.

    Raises:
        InputError: The training diverged, again and again.
    """
    observer, config = observer or Observer(), trainer.config
    last_good, diverged = LastGood(), -1
    if observer.keeps_states:
        state = replace(state, parameters=state.parameters.copy())
    observer.on_state(state)
    began = time.perf_counter()
    while state.epoch < epochs and not _out_of_patience(state, config):
        before = time.perf_counter()
        last_good.keep(trainer.parameters)
        try:
            result = trainer.epoch(state.epoch, state.rate)
        except DivergedError as error:
            rate = halved_rate(state, config, error)
            if restart is not None and state.epoch == diverged:
                state = TrainingState(restart(), rate=rate)
            else:
                diverged = state.epoch
                state = replace(state, parameters=last_good.restore(), rate=rate)
            trainer.go_to(state.parameters.copy() if observer.keeps_states else state.parameters)
            continue
        seconds = time.perf_counter() - before
        quality = None if validate is None else validate(trainer.parameters)
        parameters = trainer.parameters
        if observer.keeps_states:
            parameters = parameters.copy()
        state = state.after(parameters, quality, keep_best=keep_best)
        del parameters
        observer.on_epoch(
            EpochMetrics(
                epoch=state.epoch,
                epochs=config.epochs,
                loss=result.loss / max(result.triples, 1),
                ndcg=quality,
                triples_per_second=result.triples / max(seconds, 1e-9),
                moved=result.moved,
                seconds=time.perf_counter() - began,
                stage=stage,
            )
        )
        observer.on_state(state)
    return state


def _out_of_patience(state: TrainingState, config: Config) -> bool:
    return state.best_epoch > 0 and state.epoch - state.best_epoch >= config.patience


class Trainer:
    """Trains parameters epoch by epoch, with their gradient accumulators and scratch memory.

    Args:
        parameters: Changed.
        interactions: Interactions to learn from, of the users of this worker.
        config: Hyperparameters.
    """

    def __init__(
        self,
        parameters: Parameters,
        interactions: Interactions,
        config: Config,
    ) -> None:
        self.config = config
        self._histories = Histories(interactions.indptr, interactions.items)
        self._comm = comm = communicator()
        self._history = config.users == "history"
        self._user_degrees = comm.all_gather_concat(interactions.user_degrees())
        self._item_degrees = comm.all_reduce(interactions.item_degrees())
        self._item_reg = _item_reg(self._item_degrees, config)
        self._sharded = None
        if comm.world_size > 1:
            degrees = self._user_degrees, self._item_degrees
            self._sharded = ShardedBatches(interactions, *degrees)
        n_items, dim = interactions.n_items, parameters.dim
        n_users = 0 if self._history else self._user_degrees.size
        lines = min(config.buffer_rows, config.buffer_bytes // (4 * dim))
        item_lines = -(-lines * n_items // (n_items + n_users))
        self._resting = _Accumulators(empty_accumulator(n_items, dim), None)
        self._exploring = _Accumulators(new_accumulator(n_items, dim, item_lines), None)
        if not self._history:
            self._resting = self._resting._replace(users=empty_accumulator(n_users, dim))
            users = new_accumulator(n_users, dim, lines - item_lines)
            self._exploring = self._exploring._replace(users=users)
        self.go_to(parameters)

    def go_to(self, parameters: Parameters) -> None:
        """Go on with other parameters, whose rows may have other lengths."""
        self.parameters = parameters
        self._workspace: Workspace | None = None

    def epoch(self, epoch: int, rate: float) -> EpochResult:
        """Train for one epoch.

        Args:
            epoch: Its number, from 0.
            rate: Factor of the learning rate.

        Raises:
            DivergedError: The parameters are of no use any more.
        """
        config, seed = self.config, self.config.seed
        progress = epoch / config.epochs
        share = self._exploring_share(progress)
        sums = self._exploring if share > 0 else self._resting
        if share > 0:
            rng = generator(seed, Purpose.SAMPLE, epoch)
            sample_rows(sums.items, self._item_degrees, rng)
            if sums.users is not None:
                sample_rows(sums.users, self._user_degrees, rng)
        order = np.flatnonzero(self._user_degrees)
        generator(seed, Purpose.ORDER, epoch).shuffle(order)
        eighths = int(EIGHTHS * config.history_power)
        step = Step(
            np.float32(config.learning_rate * rate * (1.0 - progress)),
            np.float32(config.reg),
            np.float32(config.history_exponent),
            np.int64(eighths),
            steepest_slope(eighths),
            np.int64(config.candidates),
            np.float32(config.choice_bias),
            random_bits(seed, Purpose.NEGATIVES, epoch),
        )
        loss, triples = self._pass(order, step, sums)
        return EpochResult(loss, triples, self._explore(sums, share) if share > 0 else 0)

    def _pass(self, order: NDArray[np.int64], step: Step, sums: _Accumulators) -> tuple[float, int]:
        """Visit all interactions once; return the summed loss and the triples."""
        batches, w = cut_batches(order, self._user_degrees), self.make_room()
        if self._sharded is not None:
            sums = sums._replace(items=self._sharded.own_lines(sums.items))
        loss, triples = 0.0, 0
        for first in range(0, len(batches.turns), _SLICE):
            last = min(first + _SLICE, len(batches.turns))
            if self._sharded is None:
                users = None if self._history else self.parameters.users
                data = batches, self._histories, self.parameters.items, users, step, w
                w.turns.arrivals[0] = 0
                run_parallel(train_batches, first, last, *data, *sums)
                slice_loss, slice_triples = (
                    float(w.turns.total_loss[0]),
                    int(w.turns.total_triples[0]),
                )
            else:
                slice_loss, slice_triples = self._sharded.train_batches(
                    first, last, batches, self.parameters, step, w, *sums
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
        items = self.parameters.items
        changed = (items.rows.values, items.bias, self.parameters.users.values)
        finite = all(np.isfinite(values).all() for values in changed)
        return self._comm.all_reduce_count(int(finite)) == self._comm.world_size

    def _explore(self, sums: _Accumulators, share: float) -> int:
        """Prune and grow weights of items and users; return how many moved."""
        parameters, square = self.parameters, self.config.initial_square
        own_rows = None if self._sharded is None else self._sharded.own_rows
        rows, moved = explore(parameters.items.rows, sums.items, share, square, own_rows)
        parameters.items = parameters.items._replace(rows=rows)
        if sums.users is not None:
            own = sums.users if self._sharded is None else self._sharded.own_part(sums.users)
            parameters.users, moved_users = explore(parameters.users, own, share, square)
            moved += moved_users
        return moved

    def _exploring_share(self, progress: float) -> float:
        """Return the share of weights to move: a cosine from ``exploration`` to zero."""
        end = self.config.exploration_end
        if progress >= end:
            return 0.0
        return self.config.exploration * 0.5 * (1.0 + math.cos(math.pi * progress / end))

    def make_room(self) -> Workspace:
        """Return scratch memory that is enough for the parameters as they are."""
        rows, config = self.parameters.items.rows, self.config
        longest = int(np.diff(rows.indptr).max())
        group_positives = max(GROUP_POSITIVES, int(self._user_degrees.max()))
        own_most = int(most_weights(self._histories, rows.indptr, GROUP_POSITIVES))
        group_weights = max(*self._comm.all_gather_count(own_most), GROUP_POSITIVES * longest)
        needed = group_weights + group_positives * longest  # of positives, and of their negatives
        if self._workspace is None or self._workspace.room < needed:
            self._workspace = None  # freed before there is a new one
            self._workspace = workspace(
                self._item_reg,
                self.parameters.dim,
                self._history,
                config.candidates,
                config.pool,
                group_positives,
                needed + needed // 4,  # rows become longer
            )
        return self._workspace


class _Accumulators(NamedTuple):
    """The gradient accumulators of both embeddings."""

    items: GradientAccumulator
    users: GradientAccumulator | None
    """Of the users of all workers; None in the history model."""


def _item_reg(degrees: NDArray[np.int64], config: Config) -> NDArray[np.float32]:
    """Return ``reg * degree^-reg_exponent``, scaled to a mean of ``reg`` over all interactions."""
    penalty = np.maximum(degrees, 1).astype(np.float64) ** -config.reg_exponent
    mean = float((penalty * degrees).sum()) / max(int(degrees.sum()), 1)
    return np.asarray(config.reg / mean * penalty, np.float32)
