"""The state of a training between two epochs, what validation chose, and metrics of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from sparserec_np.training.parameters import Parameters


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of an epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    epochs: int
    """Epochs that the schedule is laid out for."""
    loss: float
    """Mean BPR loss of a triple."""
    ndcg: float | None
    """NDCG@20 on the validation part after the epoch, or None without one."""
    triples_per_second: float
    """Speed of the training alone, without validation."""
    moved: int
    """Weights that exploration pruned and grew elsewhere."""
    seconds: float
    """Seconds since the stage began, or was resumed."""
    stage: str
    """Purpose of the epoch: ``"choose"`` the number of epochs, ``"try 1"`` and so on for other
    hyperparameters, or ``"train"``."""


class Chosen(NamedTuple):
    """Choices made on a held-out part."""

    epochs: int
    """Number of the best epoch."""
    ndcg: float | None
    """NDCG@20 of it; None where nothing was held out."""
    recency: float
    """Recency of the histories; see :class:`sparserec_np.training.config.Config`."""
    neighbour_scale: float = 0.0
    """Factor of the neighbours, likewise; 0 where there are none."""
    changes: Mapping[str, Any] = MappingProxyType({})
    """Hyperparameters that differ from those of the formulas; see
    :mod:`sparserec_np.training.race`."""
    formula_ndcg: float | None = None
    """NDCG@20 with those of the formulas; None where there was no race."""
    popularity_ndcg: float | None = None
    """NDCG@20 of the ranking by popularity, likewise."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training between two epochs: all that it takes to go on, and never changed.

    Nothing random is in it, because each epoch draws what it needs from the seed and its number.
    """

    parameters: Parameters
    """The parameters after the last epoch."""
    epoch: int = 0
    """Epochs that are done."""
    rate: float = 1.0
    """Factor of the learning rate: 1, halved at each divergence."""
    best: Parameters | None = None
    """The parameters after the best epoch, without Adagrad's sums; None without validation, before
    the first epoch, and where only the number of the epoch is asked for."""
    best_epoch: int = 0
    """Number of that epoch."""
    best_quality: float = -math.inf
    """Its quality."""

    def after(
        self, parameters: Parameters, quality: float | None, *, keep_best: bool
    ) -> TrainingState:
        """Return the state after one more epoch.

        Args:
            parameters: The parameters after it; from now on the state's own.
            quality: What validation says of them, or None without one.
            keep_best: Whether the parameters of the best epoch are wanted, or only its number.
        """
        done = replace(self, parameters=parameters, epoch=self.epoch + 1)
        if quality is None or quality <= self.best_quality:
            return done
        best = parameters.snapshot() if keep_best else None
        return replace(done, best=best, best_epoch=done.epoch, best_quality=quality)

    def result(self) -> tuple[Parameters, int, float | None]:
        """Return the best parameters, their epoch and quality; without validation the last ones.

        Where the best parameters were not kept, the last ones stand in for them.
        """
        if self.best_epoch == 0:
            return self.parameters, self.epoch, None
        return self.best or self.parameters, self.best_epoch, self.best_quality
