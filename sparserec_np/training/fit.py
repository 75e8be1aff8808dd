"""The stages of a fit: choose the number of epochs, then train; stopped and resumed anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sparserec_np.data import Interactions, from_any
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import ClusterError
from sparserec_np.training.checkpoint import Checkpoints, Progress
from sparserec_np.training.config import Config
from sparserec_np.training.state import Chosen, EpochMetrics, Parameters, TrainingState
from sparserec_np.training.trainer import Run, start, train
from sparserec_np.training.validation import Validator
from sparserec_np.utils.log import logger

_log = logger(__name__)

HELD_OUT = 0.1
"""Share of each user's interactions held out to choose the epoch, where nothing else is given."""


class Result(NamedTuple):
    """What a stage, or all of them, ends with."""

    tables: Parameters
    chosen: Chosen


class EpochValidator(Protocol):
    """What says how good tables are; see :class:`sparserec_np.training.validation.Validator`."""

    chooses_recency: bool

    def __call__(self, tables: Parameters) -> float:
        """Score the tables."""

    def choose_recency(self, tables: Parameters) -> tuple[float, float]:
        """Find the recency that suits the tables best, and the score with it."""


class Backend:
    """Who does the work of the stages: here this process; see :mod:`sparserec_np.distributed`."""

    make_run: Callable[[Parameters, Interactions, Config], Run] = Run

    def take(self, X: Any) -> Interactions:
        """Take over what is to be learned from; see :func:`from_any`."""
        return from_any(X)

    def start(
        self, data: Interactions, config: Config, dim: int, weights: tuple[int, int]
    ) -> Parameters:
        """Make the tables that training starts from; see :func:`sparserec_np.training.trainer.start`."""
        return start(data, config, dim, weights)

    def hold_out(
        self, data: Interactions, fraction: float, seed: int
    ) -> tuple[Interactions, Interactions]:
        """Hold out a part, the latest where times are known: that is what a model is for."""
        return hold_out(data, fraction=fraction, seed=seed, latest=None)

    def validator(self, data: Interactions, held: Interactions, config: Config) -> EpochValidator:
        """Make what says how good tables are."""
        return Validator(data, held, config)


@dataclass(eq=False)
class Fit:
    """A fit on its way.

    Attributes:
        config: Hyperparameters.
        begin: Makes the tables that training on some interactions starts from.
        on_epoch: Called after each epoch.
        checkpoints: Where to write how far it is, or None.
        progress: How far an earlier run came, or None.
        engine: Who does the work.
        records: One for each epoch up to now.
    """

    config: Config
    begin: Callable[[Interactions], Parameters]
    on_epoch: Callable[[EpochMetrics], None] | None = None
    checkpoints: Checkpoints | None = None
    progress: Progress | None = None
    engine: Backend = field(default_factory=Backend)
    records: list[EpochMetrics] = field(init=False)

    def __post_init__(self) -> None:
        self.records = [] if self.progress is None else list(self.progress.records)

    def run(self, interactions: Interactions, held: Interactions | None, *, choose: bool) -> Result:
        """Do all stages.

        Args:
            interactions: What to learn from.
            held: What to choose the best epoch by, or None.
            choose: Without ``held``, whether to hold out a part, choose the number of epochs by it,
                and then train anew on everything.

        Raises:
            InputError: The training diverged, or there is nothing to validate on.
            KeyboardInterrupt: As it came; the last state is written to ``checkpoints`` before.
            ClusterError: The same.
        """
        try:
            return self._stages(interactions, held, choose)
        except (KeyboardInterrupt, ClusterError):
            if self.checkpoints is not None:
                self.checkpoints.interrupted()
            raise

    def _stages(
        self, interactions: Interactions, held: Interactions | None, choose: bool
    ) -> Result:
        if held is not None or not choose:
            return self._stage("train", interactions, held)
        chosen = None if self.progress is None else self.progress.chosen
        if chosen is None:
            learned, held = self.engine.hold_out(interactions, HELD_OUT, self.config.seed)
            if held.nnz == 0:  # every user has a single item: nothing can be held out
                return self._stage("train", interactions, None)
            chosen = self._stage("choose", learned, held).chosen
            del learned, held
        return Result(self._stage("train", interactions, None, chosen).tables, chosen)

    def _stage(
        self,
        name: str,
        interactions: Interactions,
        held: Interactions | None,
        chosen: Chosen | None = None,
    ) -> Result:
        config = self.config
        _log.debug("stage '%s': %s interactions", name, f"{interactions.nnz:,}")
        began = time.perf_counter()
        validate = None
        if held is not None:
            validate = self.engine.validator(interactions, held, config)
        recent = validate is not None and validate.chooses_recency
        tables, epochs, ndcg = train(
            self._state(name) or self.begin(interactions),
            interactions,
            config,
            epochs=chosen.epochs if chosen else config.epochs,
            validate=validate,
            on_epoch=self._record,
            on_state=self._noting(name, chosen),
            keep_best=name == "train" or recent,
            stage=name,
            afresh=lambda: self.begin(interactions),
            make_run=self.engine.make_run,
        )
        recency = config.recency or 0.0
        if validate is not None and recent:
            recency, ndcg = validate.choose_recency(tables)
        kept = f"{epochs} epochs" + ("" if ndcg is None else f", the best by NDCG@20 {ndcg:.4f}")
        kept += f", recency {recency:g}" if recent else ""
        _log.debug("stage '%s' done: %s, %.1f s", name, kept, time.perf_counter() - began)
        return Result(tables, Chosen(epochs, ndcg, recency))

    def _state(self, stage: str) -> TrainingState | None:
        """Take over the state that an earlier run left in this stage, once."""
        if self.progress is None or self.progress.stage != stage:
            return None
        state, self.progress = self.progress.state, None
        return state

    def _record(self, record: EpochMetrics) -> None:
        self.records.append(record)
        if self.on_epoch is not None:
            self.on_epoch(record)

    def _noting(self, stage: str, chosen: Chosen | None) -> Callable[[TrainingState], None] | None:
        """Make what hands states to the checkpoints; None without checkpoints."""
        checkpoints = self.checkpoints
        if checkpoints is None:
            return None
        return lambda state: checkpoints.note(Progress(stage, chosen, state, tuple(self.records)))
