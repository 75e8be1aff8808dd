"""What a training hands on: the tables, its state between two epochs, and how an epoch went."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters


@dataclass(frozen=True)
class EpochMetrics:
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
    """Seconds since the stage began, or was resumed."""
    stage: str
    """What the epoch was for: ``"choose"`` the epoch, or ``"train"``."""


class Chosen(NamedTuple):
    """What was chosen by a part that was held out."""

    epochs: int
    """Number of the best epoch."""
    ndcg: float | None
    """NDCG@20 of it; None where nothing was held out."""
    recency: float
    """Recency of the histories; see :class:`sparserec_np.training.config.Config`."""


@dataclass(eq=False)
class Parameters:
    """What is learned. The arrays are changed in place by training."""

    items: ItemParameters
    users: Embeddings
    dim: int

    def copy(self) -> Parameters:
        """Copy what an epoch changes in place: values, biases, and Adagrad's sums.

        Positions are shared: exploration makes new arrays of them.
        """
        items = self.items
        return Parameters(
            items._replace(
                rows=_copy_rows(items.rows),
                bias=items.bias.copy(),
                bias_squares=items.bias_squares.copy(),
            ),
            _copy_rows(self.users),
            self.dim,
        )

    def snapshot(self) -> Parameters:
        """Copy what a model is made of: as :meth:`copy`, but without Adagrad's sums."""
        none = np.zeros(0, np.float32)
        items = self.items
        return Parameters(
            items._replace(
                rows=items.rows._replace(values=items.rows.values.copy(), squares=none),
                bias=items.bias.copy(),
                bias_squares=none,
            ),
            self.users._replace(values=self.users.values.copy(), squares=none),
            self.dim,
        )

    @property
    def weights(self) -> int:
        """Weights stored in all tables."""
        return self.items.rows.values.size + self.users.values.size


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training between two epochs: all that it takes to go on, and never changed.

    Nothing random is in it, because each epoch draws what it needs from the seed and its number.
    """

    tables: Parameters
    """The tables after the last epoch."""
    epoch: int = 0
    """Epochs that are done."""
    rate: float = 1.0
    """What the learning rate is multiplied by: 1, halved at each divergence."""
    best: Parameters | None = None
    """The tables after the best epoch, without Adagrad's sums; None without validation, before the
    first epoch, and where only the number of the epoch is asked for."""
    best_epoch: int = 0
    """Number of that epoch."""
    best_quality: float = -math.inf
    """Its quality."""

    def after(self, tables: Parameters, quality: float | None, *, keep_best: bool) -> TrainingState:
        """Return the state after one more epoch.

        Args:
            tables: The tables after it; from now on the state's own.
            quality: What validation says of them, or None without one.
            keep_best: Whether the tables of the best epoch are wanted, or only its number.
        """
        done = replace(self, tables=tables, epoch=self.epoch + 1)
        if quality is None or quality <= self.best_quality:
            return done
        best = tables.snapshot() if keep_best else None
        return replace(done, best=best, best_epoch=done.epoch, best_quality=quality)

    def result(self) -> tuple[Parameters, int, float | None]:
        """Return the best tables, their epoch and quality; without validation the last ones.

        Where the best tables were not kept, the last ones stand in for them.
        """
        if self.best_epoch == 0:
            return self.tables, self.epoch, None
        return self.best or self.tables, self.best_epoch, self.best_quality


def _copy_rows(rows: Embeddings) -> Embeddings:
    return rows._replace(values=rows.values.copy(), squares=rows.squares.copy())
