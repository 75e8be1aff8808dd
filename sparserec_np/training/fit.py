"""The fit: interactions and hyperparameters in, the bytes of a model file out.

A fit has one stage or several. Where nothing says when to stop, the stage ``choose`` learns from
all but a held-out part and finds the best number of epochs (and the recency); the stages ``try 1``
and so on do so with other hyperparameters (:mod:`sparserec_np.training.race`); the stage ``train``
then learns from everything. A fit can be stopped and resumed anywhere. The estimator and the
command line are two faces of :func:`fit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sparserec_np.data import Interactions, align, from_any
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import ClusterError, InputError
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours
from sparserec_np.modelfile.writer import encode
from sparserec_np.training import warm_start as warm
from sparserec_np.training.budget import Budget, SizeLimit, limit_in_bytes, plan_budget
from sparserec_np.training.checkpoint import Checkpointing, Checkpoints, Progress
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.epoch_log import EPOCHS, epoch_line
from sparserec_np.training.fingerprint import file_checksum, fingerprint
from sparserec_np.training.initialization import initialize, without_factors
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.neighbours import fit_neighbours, prune_neighbours
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.race import (
    MOST_INTERACTIONS,
    NEIGHBOUR_FITS,
    SHARE,
    Trial,
    best_of,
    is_estimate,
    next_trial,
    races_neighbours,
)
from sparserec_np.training.state import Chosen, EpochMetrics, TrainingState
from sparserec_np.training.trainer import EpochTrainer, Observer, Trainer, train
from sparserec_np.training.validation import Validator
from sparserec_np.utils.log import logger
from sparserec_np.utils.parallel import thread_count

if TYPE_CHECKING:
    from sparserec_np.features.extend import Extension

_log = logger(__name__)
_epoch_log = logger(EPOCHS)

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
    extension: Extension | None = None
    """How items without interactions were added, if they were."""


class EpochValidator(Protocol):
    """Scores parameters; see :class:`sparserec_np.training.validation.Validator`."""

    chooses_recency: bool

    def __call__(self, parameters: Parameters) -> float:
        """Score the parameters."""

    def choose_recency(self, parameters: Parameters) -> tuple[float, float]:
        """Find the recency that suits the parameters best, and the score with it."""

    def with_neighbours(
        self, parameters: Parameters, *several: Neighbours
    ) -> list[tuple[float, float]]:
        """Find the factor and the score of each of several neighbours."""

    def choose_scale(
        self, parameters: Parameters, neighbours: Neighbours
    ) -> tuple[float, float, float]:
        """Find recency and factor of the neighbours that suit best, and the score."""


class Backend:
    """Runs the stages of a fit, here in this process; see :mod:`sparserec_np.distributed`.

    Args:
        threads: Number of threads; None for all cores. The file does not depend on it.
    """

    runs_here = True

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

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

    def fit_neighbours(self, data: Interactions, config: Config, most: int) -> Neighbours:
        """Fit the neighbours of all items, at most so many."""
        return fit_neighbours(data, config, most)


def fit(
    X: Any,
    hyperparameters: Mapping[str, Any],
    *,
    limit: SizeLimit | None = None,
    valid: Any = None,
    labels: Mapping[Any, str] | None = None,
    item_features: Any = None,
    warm_start: str | Path | None = None,
    fast: bool = False,
    checkpointing: Checkpointing | None = None,
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
        item_features: What the items are, a frame or a file as :func:`sparserec_np.extend` takes:
            items of it without interactions are added. The limit counts them.
        warm_start: A model file to continue from. Its ids stay, its hyperparameters hold where
            nothing else is given, and few epochs do.
        fast: Leave it at the formulas: choose the epoch alone by what is held out, in a third of
            the time.
        checkpointing: Where and how often to write checkpoints, and whether to go on from one.
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
    texts = warm.texts_of(labels, interactions, old)
    if labels:
        _tell_titles(labels, interactions)
    new_items, whole, whole_texts = None, interactions, texts  # whole: with new items
    if item_features is not None:
        from sparserec_np.training.new_items import NewItems  # needs SciPy, which takes a while

        new_items = NewItems(item_features, interactions, texts, labels)
        whole, whole_texts = new_items.interactions, new_items.texts
        limit = new_items.limit(limit)

    seeks = old is None and "epochs" not in given
    races = seeks and not fast and interactions.nnz <= MOST_INTERACTIONS
    sized = limit.sparsity is not None or limit.max_bytes is not None
    if races and not sized and races_neighbours(config, given):
        limit = limit_in_bytes(whole, config, whole_texts)

    def plan(config: Config) -> Budget:
        budget = plan_budget(whole, config, limit, whole_texts, races=races)
        return budget if new_items is None else new_items.share(budget)

    try:
        budget = plan(config)
    except InputError:
        if not (races and races_neighbours(config, given)):
            raise
        config = replace(config, neighbours=1.0)  # which need no weight for each row
        budget = plan(config)
    checkpoints = None
    if checkpointing is not None:
        checkpoints = Checkpoints(
            checkpointing,
            fingerprint(
                config.to_dict(),
                interactions,
                held,
                **budget._asdict(),
                chooses_epochs=seeks and held is None,
                races=races,
                warm_start=None if warm_start is None else file_checksum(warm_start),
            ),
        )
    stages = _Stages(
        config,
        plan,
        frozenset(given) if races else None,
        backend,
        backend.initialize
        if old is None
        else (lambda data, config, budget: warm.continue_from(old, data, config, budget)),
        checkpoints,
        checkpoints.load() if checkpoints and checkpointing and checkpointing.resume else None,
        on_epoch,
    )
    with thread_count(backend.threads):
        parameters, chosen = stages.run(interactions, held, chooses=seeks and held is None)
        config = replace(config, **chosen.changes)
        most, neighbours = plan(config).neighbour_nnz, None
        if most:
            fitted = backend.fit_neighbours(interactions, config, most)
            neighbours = fitted.scaled(chosen.neighbour_scale)
            if old is not None:
                neighbours = warm.complete_neighbours(old, interactions, neighbours, most)
    arrays = model_arrays(parameters, interactions, config, chosen, texts, neighbours)
    del parameters  # and so Adagrad's sums, which the file does without
    file, extension = encode(arrays), None
    if new_items is not None:
        extension = new_items.add(file)
        file = extension.file
    return FitResult(file, interactions, chosen, stages.metrics, extension)


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
    """What formulas say and what is given."""
    plan: Callable[[Config], Budget]
    given: frozenset[str] | None
    """Names of the hyperparameters that the race leaves alone; None: there is no race."""
    backend: Backend
    initialize: Callable[[Interactions, Config, Budget], Parameters]
    checkpoints: Checkpoints | None
    progress: Progress | None
    """Of an earlier run, until its stage is resumed."""
    on_epoch: Callable[[EpochMetrics], None] | None

    def __post_init__(self) -> None:
        self.metrics = [] if self.progress is None else list(self.progress.metrics)
        self.tried = [] if self.progress is None else list(self.progress.tried)

    def run(
        self, interactions: Interactions, held: Interactions | None, *, chooses: bool
    ) -> tuple[Parameters, Chosen]:
        """Run all stages.

        Args:
            interactions: What to learn from.
            held: What to choose by, or None.
            chooses: Without ``held``, whether to hold out a part, choose by it, and then train anew
                on everything.
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
        if not chooses and self.given is None:
            return self._stage("train", interactions, held)
        chosen = None if self.progress is None else self.progress.chosen
        if chosen is None:
            learned, part = interactions, held
            if part is None:
                learned, part = self.backend.hold_out(interactions, HELD_OUT, self.config.seed)
                if part.nnz == 0:  # every user has a single item: nothing can be held out
                    return self._stage("train", interactions, None)
            chosen = self._race(learned, part)
            del learned, part
        parameters, found = self._stage("train", interactions, held, chosen=chosen)
        return parameters, chosen if held is None else found

    def _race(self, learned: Interactions, held: Interactions) -> Chosen:
        """Choose the epoch and, in a race, other hyperparameters on a held-out part."""
        if self.given is None:
            return self._stage("choose", learned, held)[1]
        tried = self.tried
        while (trial := next_trial(self.config, self.given, tried)) is not None:
            trained = sum(one.epochs > 0 for one in tried)
            name = f"try {trained}" if trained else "choose"
            parameters, found = self._stage(name, learned, held, trial)
            if not tried and races_neighbours(self.config, self.given):
                tried += [found, *self._neighbours_beside(parameters, learned, held, found)]
            else:
                tried.append(found)
        best = best_of(tried)
        for one in tried:
            _log.debug("tried %s", _in_words(one))
        popularity = self.backend.validator(learned, held, self.config)(
            without_factors(learned, self.config)
        )
        if (best.ndcg or 0.0) <= popularity:
            _log.warning(
                "on what was held out the model is no better than a ranking by popularity (NDCG@20 "
                "%.4f against %.4f): there may be too little to learn from, or the columns of "
                "users and items are not the right ones",
                best.ndcg or 0.0,
                popularity,
            )
        _log.info("chosen on what was held out: %s", _for_people(best, tried[0]))
        return best._replace(formula_ndcg=tried[0].ndcg, popularity_ndcg=popularity)

    def _neighbours_beside(
        self, parameters: Parameters, learned: Interactions, held: Interactions, first: Chosen
    ) -> list[Chosen]:
        """Fit neighbours in a few ways; return the best of them alone and beside parameters."""
        configs = [replace(self.config, **one) for one in NEIGHBOUR_FITS]
        several: list[Neighbours] = []
        validator, found = self.backend.validator(learned, held, configs[0]), []
        for share in (1.0, SHARE):
            try:
                most = self.plan(replace(configs[0], neighbours=share)).neighbour_nnz
            except InputError:  # there is no room for them
                break
            if share == 1:
                several = [self.backend.fit_neighbours(learned, one, most) for one in configs]
                here, fitted = without_factors(learned, self.config), several
            else:
                degrees = learned.item_degrees()
                fitted = [prune_neighbours(one, degrees, most) for one in several]
                here = parameters
            scored = validator.with_neighbours(here, *fitted)
            best = max(range(len(scored)), key=lambda n: scored[n][1])
            recency, scale, ndcg = validator.choose_scale(here, fitted[best])
            changes = {**NEIGHBOUR_FITS[best], "neighbours": share}
            found.append(Chosen(0, ndcg, recency, scale, changes))
        return found

    def _stage(
        self,
        name: str,
        interactions: Interactions,
        held: Interactions | None,
        trial: Trial | None = None,
        *,
        chosen: Chosen | None = None,
    ) -> tuple[Parameters, Chosen]:
        """Train once.

        Args:
            name: Of the stage.
            interactions: What to learn from.
            held: What to choose the best epoch by, or None.
            trial: What to try; None: what is chosen.
            chosen: What an earlier stage has chosen.
        """
        start = chosen or Chosen(0, None, self.config.recency or 0.0)
        if trial is not None:
            start = start._replace(changes=trial.changes)
        config = replace(self.config, **start.changes)
        most = config.epochs if trial is None else min(trial.epochs, config.epochs)
        if chosen is not None and held is None:
            most = chosen.epochs
        budget = self.plan(config)
        _log.debug("stage '%s': %s interactions", name, f"{interactions.nnz:,}")
        began = time.perf_counter()
        validator = None
        if held is not None:
            validator = self.backend.validator(interactions, held, config)
        if config.neighbours == 1:
            parameters = without_factors(interactions, config)
            return parameters, self._with_neighbours(
                parameters, interactions, validator, config, budget, start
            )
        chooses_recency = validator is not None and validator.chooses_recency
        state = self._resumed(name) or TrainingState(self.initialize(interactions, config, budget))
        trainer = self.backend.trainer(state.parameters, interactions, config)
        left = [state]
        del state  # handed over: the training frees what it no longer needs
        parameters, epochs, ndcg = train(
            trainer,
            left.pop(),
            epochs=most,
            stage=name,
            validate=validator,
            keep_best=name == "train"
            or self.given is not None
            or chooses_recency
            or config.neighbours > 0,
            observer=_StageObserver(self, name, chosen),
            restart=lambda: self.initialize(interactions, config, budget),
        ).result()
        found = start._replace(epochs=epochs, ndcg=ndcg)
        if config.neighbours > 0:
            found = self._with_neighbours(
                parameters, interactions, validator, config, budget, found
            )
        elif validator is not None and chooses_recency:
            recency, ndcg = validator.choose_recency(parameters)
            found = found._replace(recency=recency, ndcg=ndcg)
        text = f"{epochs} epochs" + ("" if ndcg is None else f", the best by NDCG@20 {ndcg:.4f}")
        text += f", recency {found.recency:g}" if chooses_recency else ""
        text += f", neighbours x {found.neighbour_scale:g}" if config.neighbours > 0 else ""
        _log.debug("stage '%s' done: %s, %.1f s", name, text, time.perf_counter() - began)
        return parameters, found

    def _with_neighbours(
        self,
        parameters: Parameters,
        interactions: Interactions,
        validator: EpochValidator | None,
        config: Config,
        budget: Budget,
        chosen: Chosen,
    ) -> Chosen:
        """Choose how much neighbours count beside the parameters, if it is not chosen yet."""
        if validator is not None:
            fitted = self.backend.fit_neighbours(interactions, config, budget.neighbour_nnz)
            recency, scale, ndcg = validator.choose_scale(parameters, fitted)
            return chosen._replace(ndcg=ndcg, recency=recency, neighbour_scale=scale)
        if chosen.neighbour_scale:
            return chosen
        default = config.neighbour_scale or (DEFAULT_SCALE if parameters.nnz else 1.0)
        return chosen._replace(neighbour_scale=default)

    def _resumed(self, stage: str) -> TrainingState | None:
        """Return the state that an earlier run left in this stage, once; else None."""
        if self.progress is None or self.progress.stage != stage:
            return None
        state, self.progress = self.progress.state, None
        return state


def _in_words(trial: Chosen) -> str:
    """Say what a trial had and how it scored."""
    changes = ", ".join(f"{name} {value:g}" for name, value in trial.changes.items())
    epochs = f", {trial.epochs} epochs" if trial.epochs else ""
    ndcg = "" if trial.ndcg is None else f": NDCG@20 {trial.ndcg:.4f}"
    return f"{changes or 'the formulas'}{epochs}{' (estimated)' * is_estimate(trial)}{ndcg}"


def _for_people(best: Chosen, formulas: Chosen) -> str:
    """Say what is not as the formulas say, and what it is worth."""
    changes = best.changes
    share = changes.get("neighbours", 0.0)
    some = "alone" if share == 1 else f"in {share:.0%} of the size"
    words = {
        "neighbours": f"neighbours {some}",
        "degree_exponent": "no weights by popularity",
        "reg": f"an L2 penalty of {changes.get('reg', 0.0):g}",
        "epochs": f"a schedule of {changes.get('epochs', 0)} epochs",
    }
    told = [text for name, text in words.items() if name in changes]
    before = f", by the formulas {formulas.ndcg or 0.0:.4f}" if told else ""
    return f"{', '.join(told) or 'the formulas'}: NDCG@20 {best.ndcg or 0.0:.4f}{before}"


class _StageObserver(Observer):
    """Collects the metrics of a stage, and hands its states to the checkpoints."""

    def __init__(self, stages: _Stages, name: str, chosen: Chosen | None) -> None:
        self._stages = stages
        self._name = name
        self._chosen = chosen
        self.keeps_states = stages.checkpoints is not None

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Collect and log metrics."""
        self._stages.metrics.append(metrics)
        _epoch_log.info("%s", epoch_line(metrics))
        if self._stages.on_epoch is not None:
            self._stages.on_epoch(metrics)

    def on_state(self, state: TrainingState) -> None:
        """Hand a state to the checkpoints."""
        stages = self._stages
        if stages.checkpoints is not None:
            metrics = tuple(stages.metrics)
            tried = tuple(stages.tried)
            stages.checkpoints.note(Progress(self._name, self._chosen, state, metrics, tried))
