"""The fit: interactions and hyperparameters in, the bytes of a model file out.

A fit has one stage or two. Where nothing says when to stop, the stage ``choose`` learns from all
but a held-out part and finds the best number of epochs (and the recency); the stage ``train`` then
learns from everything. A fit can be stopped and resumed anywhere. The estimator and the command
line are two faces of :func:`fit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from sparserec_np.data import Interactions, align, from_any
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import ClusterError, InputError
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.training import warm_start as warm
from sparserec_np.training.budget import Budget, SizeLimit, plan_budget
from sparserec_np.training.checkpoint import Checkpointing, Checkpoints, Progress
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.fingerprint import file_checksum, fingerprint
from sparserec_np.training.initialization import initialize, without_factors
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.neighbours import fit_neighbours
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import Chosen, EpochMetrics, TrainingState
from sparserec_np.training.trainer import EpochTrainer, Observer, Trainer, train
from sparserec_np.training.validation import Validator
from sparserec_np.utils.log import logger
from sparserec_np.utils.parallel import thread_count

_log = logger(__name__)

DEFAULT_SCALE = 4.0
"""Factor of the neighbours where nothing is held out to choose it by."""

HELD_OUT = 0.1
"""Share of each user's interactions held out to choose the epoch, where nothing else is given."""


class FitResult(NamedTuple):
    """A model file, and how it came about."""

    file: bytes
    """The bytes of the model file."""
    interactions: Interactions
    """What was learned from; with a cluster without the histories."""
    chosen: Chosen
    """Epochs that the model was trained for, their NDCG@20 on the held-out part, the recency."""
    metrics: list[EpochMetrics]
    """Of each epoch, of all stages."""


class EpochValidator(Protocol):
    """Scores parameters; see :class:`sparserec_np.training.validation.Validator`."""

    chooses_recency: bool

    def __call__(self, parameters: Parameters) -> float:
        """Score the parameters."""

    def choose_recency(self, parameters: Parameters) -> tuple[float, float]:
        """Find the recency that suits the parameters best, and the score with it."""


class Backend:
    """Runs the stages of a fit, here in this process; see :mod:`sparserec_np.distributed`."""

    runs_here = True

    def take(self, X: Any) -> Interactions:
        """Read or convert the interactions; see :func:`sparserec_np.data.from_any`."""
        return from_any(X)

    def initialize(self, data: Interactions, config: Config, budget: Budget) -> Parameters:
        """Find the parameters that training starts from."""
        return initialize(data, config, budget)

    def trainer(self, parameters: Parameters, data: Interactions, config: Config) -> EpochTrainer:
        """Make a trainer of some parameters."""
        return Trainer(parameters, data, config)

    def hold_out(
        self, data: Interactions, fraction: float, seed: int
    ) -> tuple[Interactions, Interactions]:
        """Hold out a part, the latest where times are known: that is what a model is for."""
        return hold_out(data, fraction=fraction, seed=seed, latest=None)

    def validator(self, data: Interactions, held: Interactions, config: Config) -> EpochValidator:
        """Make a validator on a held-out part."""
        return Validator(data, held, config)


def fit(
    X: Any,
    hyperparameters: Mapping[str, Any],
    *,
    limit: SizeLimit | None = None,
    valid: Any = None,
    labels: Mapping[Any, str] | None = None,
    warm_start: str | Path | None = None,
    checkpointing: Checkpointing | None = None,
    threads: int | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    backend: Backend | None = None,
) -> FitResult:
    """Learn from interactions.

    Args:
        X: Interactions, of any kind that :func:`sparserec_np.data.from_any` takes.
        hyperparameters: Fields of :class:`Config` that are given; the others follow from the data.
        limit: How large the model may be; None: the data decides.
        valid: Interactions to choose the best epoch by, of the same kinds as ``X``; without it and
            ``epochs``, a tenth of each user's is held out, the latest where times are known.
        labels: Titles or other texts to store with the items, by item id.
        warm_start: A model file to continue from. Its ids stay, its hyperparameters hold where
            nothing else is given, and few epochs do.
        checkpointing: Where and how often to write checkpoints, and whether to go on from one.
        threads: Number of threads; None for all cores. The file does not depend on it.
        on_epoch: Called after each epoch.
        backend: Runs the stages; None: this process.

    Raises:
        InputError: Data or arguments cannot be used, or the training diverged; the message says
            why.
        KeyboardInterrupt: As it came; the last state is in the folder of checkpoints.
        ClusterError: The cluster is lost; the last state is there as well.
    """
    backend, limit = backend or Backend(), limit or SizeLimit()
    given = dict(hyperparameters)
    old = None
    if warm_start is not None:
        old, given = _to_continue(warm_start, given, backend)
        if limit.sparsity is None and limit.max_bytes is None:
            sparsity = warm.sparsity_of(old)
            limit = SizeLimit.parse(sparsity=sparsity if sparsity < 1 else None)
    Config(**given)  # so that a value out of range is found before the data is read
    interactions = backend.take(X)
    if interactions.nnz == 0:
        raise InputError("nothing to learn from: there is no interaction in the data")
    _warn_if_nothing_to_learn(interactions)
    if old is not None:
        interactions = warm.widen(interactions, old)
    held = None if valid is None else from_any(valid)
    if held is not None:
        names = ("the validation data", "the training data")
        align(held, interactions.user_ids, interactions.item_ids, names)
    config = config_for(interactions, given)
    if config.neighbours > 0 and not backend.runs_here:
        raise InputError(
            "neighbours are fitted on one machine: leave out --dask (dask= in Python), or set "
            "their share (--neighbours, neighbours=) to 0"
        )
    texts = warm.texts_of(labels, interactions, old)
    if labels:
        _tell_titles(labels, interactions)
    budget = plan_budget(interactions, config, limit, texts)
    chooses = held is None and old is None and "epochs" not in given
    checkpoints = None
    if checkpointing is not None:
        checkpoints = Checkpoints(
            checkpointing,
            fingerprint(
                config.to_dict(),
                interactions,
                held,
                **budget._asdict(),
                chooses_epochs=chooses,
                warm_start=None if warm_start is None else file_checksum(warm_start),
            ),
        )
    stages = _Stages(
        config,
        budget,
        backend,
        (lambda data: backend.initialize(data, config, budget))
        if old is None
        else (lambda data: warm.continue_from(old, data, config, budget)),
        checkpoints,
        checkpoints.load() if checkpoints and checkpointing and checkpointing.resume else None,
        on_epoch,
    )
    with thread_count(threads):
        parameters, chosen = stages.run(interactions, held, chooses=chooses)
        neighbours = None
        if budget.neighbour_nnz:
            fitted = fit_neighbours(interactions, config, budget.neighbour_nnz)
            neighbours = fitted.scaled(chosen.neighbour_scale)
            if old is not None:
                neighbours = warm.complete_neighbours(
                    old, interactions, neighbours, budget.neighbour_nnz
                )
    arrays = model_arrays(parameters, interactions, config, chosen, texts, neighbours)
    del parameters  # and so Adagrad's sums, which the file does without
    return FitResult(encode(arrays), interactions, chosen, stages.metrics)


def _warn_if_nothing_to_learn(interactions: Interactions) -> None:
    """Warn if no training can tell items apart."""
    degrees = interactions.user_degrees()
    if degrees.max() < 2:
        problem = "no user has two items"
    elif interactions.n_items == 1:
        problem = "there is only one item"
    elif degrees.min() == interactions.n_items:
        problem = "every user has every item"
    else:
        return
    _log.warning(
        "nothing can be learned, as %s: are the columns of users and items the right ones?", problem
    )


def _tell_titles(labels: Mapping[Any, str], interactions: Interactions) -> None:
    """Log how many items have a title."""
    ids = interactions.item_ids.take(np.arange(interactions.n_items))
    found = sum(id_ in labels for id_ in ids)
    if found:
        _log.info("titles for %s of %s items", f"{found:,}", f"{len(ids):,}")
    else:
        _log.warning(
            "none of the titles belongs to an item: they are of ids such as %r, the items have ids "
            "such as %r",
            next(iter(labels)),
            ids[0],
        )


def _to_continue(
    path: str | Path, given: dict[str, Any], backend: Backend
) -> tuple[ModelArrays, dict[str, Any]]:
    """Read the model to continue from, and complete the hyperparameters by its own."""
    if not backend.runs_here:
        raise InputError(
            "a warm start runs on one machine, in a fraction of a fit's time: leave out --dask "
            "(dask= in Python), or leave out --warm-start (warm_start=) and fit anew"
        )
    old = warm.read_old(path, users=given.get("users"), dim=given.get("dim"))
    return old, {**warm.hyperparameters(old), **given}


@dataclass(eq=False)
class _Stages:
    """The stages of a fit."""

    config: Config
    budget: Budget
    backend: Backend
    initialize: Callable[[Interactions], Parameters]
    checkpoints: Checkpoints | None
    progress: Progress | None
    """Of an earlier run, until its stage is resumed."""
    on_epoch: Callable[[EpochMetrics], None] | None

    def __post_init__(self) -> None:
        self.metrics = [] if self.progress is None else list(self.progress.metrics)

    def run(
        self, interactions: Interactions, held: Interactions | None, *, chooses: bool
    ) -> tuple[Parameters, Chosen]:
        """Run all stages.

        Args:
            interactions: What to learn from.
            held: What to choose the best epoch by, or None.
            chooses: Without ``held``, whether to hold out a part, choose the number of epochs by
                it, and then train anew on everything.
        """
        try:
            return self._run(interactions, held, chooses)
        except (KeyboardInterrupt, ClusterError):
            if self.checkpoints is not None:
                self.checkpoints.interrupted()
            raise

    def _run(
        self, interactions: Interactions, held: Interactions | None, chooses: bool
    ) -> tuple[Parameters, Chosen]:
        if held is not None or not chooses:
            return self._stage("train", interactions, held)
        chosen = None if self.progress is None else self.progress.chosen
        if chosen is None:
            learned, held = self.backend.hold_out(interactions, HELD_OUT, self.config.seed)
            if held.nnz == 0:  # every user has a single item: nothing can be held out
                return self._stage("train", interactions, None)
            chosen = self._stage("choose", learned, held)[1]
            del learned, held
        return self._stage("train", interactions, None, chosen)[0], chosen

    def _stage(
        self,
        name: str,
        interactions: Interactions,
        held: Interactions | None,
        chosen: Chosen | None = None,
    ) -> tuple[Parameters, Chosen]:
        config = self.config
        _log.debug("stage '%s': %s interactions", name, f"{interactions.nnz:,}")
        began = time.perf_counter()
        validator = None
        if held is not None:
            validator = self.backend.validator(interactions, held, config)
        if config.neighbours == 1:
            parameters = without_factors(interactions, config)
            return parameters, self._with_neighbours(
                parameters,
                interactions,
                validator,
                chosen or Chosen(0, None, config.recency or 0.0),
            )
        chooses_recency = validator is not None and validator.chooses_recency
        state = self._resumed(name) or TrainingState(self.initialize(interactions))
        trainer = self.backend.trainer(state.parameters, interactions, config)
        left = [state]
        del state  # handed over: the training frees what it no longer needs
        parameters, epochs, ndcg = train(
            trainer,
            left.pop(),
            epochs=chosen.epochs if chosen else config.epochs,
            stage=name,
            validate=validator,
            keep_best=name == "train" or chooses_recency or config.neighbours > 0,
            observer=_StageObserver(self, name, chosen),
            restart=lambda: self.initialize(interactions),
        ).result()
        recency = config.recency or 0.0
        scale = chosen.neighbour_scale if chosen else 0.0
        if config.neighbours > 0:
            found_here = self._with_neighbours(
                parameters, interactions, validator, Chosen(epochs, ndcg, recency, scale)
            )
            _, ndcg, recency, scale = found_here
        elif validator is not None and chooses_recency:
            recency, ndcg = validator.choose_recency(parameters)
        found = f"{epochs} epochs" + ("" if ndcg is None else f", the best by NDCG@20 {ndcg:.4f}")
        found += f", recency {recency:g}" if chooses_recency else ""
        found += f", neighbours x {scale:g}" if config.neighbours > 0 else ""
        _log.debug("stage '%s' done: %s, %.1f s", name, found, time.perf_counter() - began)
        return parameters, Chosen(epochs, ndcg, recency, scale)

    def _with_neighbours(
        self,
        parameters: Parameters,
        interactions: Interactions,
        validator: EpochValidator | None,
        chosen: Chosen,
    ) -> Chosen:
        """Choose how much neighbours count beside the parameters, if it is not chosen yet."""
        if validator is not None:
            assert isinstance(validator, Validator)  # there is none on a cluster
            fitted = fit_neighbours(interactions, self.config, self.budget.neighbour_nnz)
            recency, scale, ndcg = validator.choose_scale(parameters, fitted)
            return chosen._replace(ndcg=ndcg, recency=recency, neighbour_scale=scale)
        if chosen.neighbour_scale:
            return chosen
        default = self.config.neighbour_scale or (DEFAULT_SCALE if parameters.nnz else 1.0)
        return chosen._replace(neighbour_scale=default)

    def _resumed(self, stage: str) -> TrainingState | None:
        """Return the state that an earlier run left in this stage, once; else None."""
        if self.progress is None or self.progress.stage != stage:
            return None
        state, self.progress = self.progress.state, None
        return state


class _StageObserver(Observer):
    """Collects the metrics of a stage, and hands its states to the checkpoints."""

    def __init__(self, stages: _Stages, name: str, chosen: Chosen | None) -> None:
        self._stages = stages
        self._name = name
        self._chosen = chosen
        self.keeps_states = stages.checkpoints is not None

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Collect metrics."""
        self._stages.metrics.append(metrics)
        if self._stages.on_epoch is not None:
            self._stages.on_epoch(metrics)

    def on_state(self, state: TrainingState) -> None:
        """Hand a state to the checkpoints."""
        stages = self._stages
        if stages.checkpoints is not None:
            metrics = tuple(stages.metrics)
            stages.checkpoints.note(Progress(self._name, self._chosen, state, metrics))
