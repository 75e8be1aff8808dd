"""Search for hyperparameters: trials on a validation part, the first of them the defaults.

The result is as good as the defaults of a ``fast`` fit on that part or better. The search is
centred on these; trials that fall behind are given up. Neighbours are not searched: a fit with what
was found tries them beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.data import Interactions, from_any
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime import load
from sparserec_np.training.budget import SizeLimit, plan_budget
from sparserec_np.training.config import MAX_DIM, Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.fingerprint import checksum, fingerprint
from sparserec_np.training.fit import HELD_OUT
from sparserec_np.training.initialization import initialize
from sparserec_np.training.model_arrays import model_arrays
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import Chosen, EpochMetrics, TrainingState
from sparserec_np.training.trainer import Observer, Trainer, train
from sparserec_np.training.validation import Validator
from sparserec_np.tuning.trials import (
    Trial,
    finished,
    import_optuna,
    open_study,
    quiet_optuna,
    rounded,
    search,
)
from sparserec_np.utils.parallel import thread_count

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Tuned:
    """Result of a search."""

    trials: tuple[Trial, ...]
    """All finished trials, in order; the first is that of the defaults."""
    fixed: dict[str, Any]
    """Arguments that were not searched."""
    interrupted: bool
    """True if Ctrl-C ended the search early."""

    @property
    def default(self) -> Trial:
        """The trial of the defaults."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The trial with the largest NDCG, the first of equals."""
        complete = [trial for trial in self.trials if trial.ndcg is not None]
        return max(complete, key=lambda trial: trial.ndcg or 0.0)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of :class:`sparserec_np.SparseRec` for the best trial, in types of JSON."""
        return {**self.fixed, **self.best.params}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        best = self.best
        return {
            "config": self.config,
            "ndcg": best.ndcg,
            "default_ndcg": self.default.ndcg,
            "bytes": best.bytes,
            "weights": best.weights,
            "epochs": best.epochs,
            "interrupted": self.interrupted,
            "trials": [asdict(trial) for trial in self.trials],
        }


def tune(
    X: Any,
    *,
    trials: int = 30,
    valid: Any = None,
    max_size: int | str | None = None,
    sparsity: float | None = None,
    labels: Mapping[Any, str] | None = None,
    storage: str | Path | None = None,
    try_first: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    **fixed: Any,
) -> Tuned:
    """Search for the hyperparameters that rank best on a validation part.

    Memory is that of a single fit. The same data, arguments and seed give the same trials, also
    where the search was stopped and resumed. Needs the extra ``[tune]``.

    Args:
        X: Interactions, as :meth:`sparserec_np.SparseRec.fit` takes them.
        trials: Trials in all, those in ``storage`` included; at least 1.
        valid: Interactions to score trials by; None: a tenth of each user's, as in a fit.
        max_size: Bytes of the file at most: a number, or a text like ``"300KB"``.
        sparsity: Share of entries not stored; at most one of this and ``max_size`` is given.
        labels: Texts that the file will hold, by item id: they take some of its bytes.
        storage: SQLite file that keeps the trials, to resume from; None for none.
        try_first: Hyperparameters to try after the defaults, as ``params`` of a trial.
        seed: Seed of the trials, of the split and of the training.
        threads: Number of threads; None for all cores. The result does not depend on it.
        on_epoch: Called after each epoch of each trial.
        on_trial: Called after each trial.
        **fixed: Values of hyperparameters that are then not searched, or of ``users``.

    Returns:
        The finished trials and the best config; after a KeyboardInterrupt those up to then.

    Raises:
        InputError: Data or arguments cannot be used, or ``storage`` holds another search.
        MissingExtraError: Optuna is not installed.
        KeyboardInterrupt: Ctrl-C, where no trial was finished before.
    """
    import_optuna()
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials must be a whole number of at least 1, not {trials!r}")
    limit = SizeLimit.parse(sparsity=sparsity, max_size=max_size)
    searched = _search_space(Config(), {}, sized=True)
    if unknown := sorted(fixed.keys() - {"users", *searched}):
        raise InputError(
            f"tune cannot set {unknown[0]!r}; it can set: users, {', '.join(searched)}"
        )
    Config(**fixed, seed=seed)  # so that a value out of range is found before the data is read
    interactions = from_any(X)
    held = None if valid is None else from_any(valid)
    config = config_for(interactions, {**fixed, "seed": seed})
    label_texts = _label_texts(labels, interactions)
    objective = _Objective(interactions, held, config, limit, label_texts, on_epoch)
    space = _search_space(config, fixed, sized=limit.max_bytes is not None)
    search_fingerprint = fingerprint(
        config.to_dict(),
        interactions,
        held,
        fixed=sorted(fixed),
        sparsity=sparsity,
        labels=label_texts and checksum("\0".join(label_texts).encode()),
    )
    points = [{name: getattr(config, name) for name in space}]
    if try_first is not None:
        points.append({name: value for name, value in try_first.items() if name in space})
    with quiet_optuna(), thread_count(threads):
        name = f"{limit.max_bytes} bytes" if limit.max_bytes else "no size"
        study = open_study(storage, name, search_fingerprint)
        interrupted = search(study, objective, space, points, trials, seed, on_trial)
        found = finished(study)[:trials]
    given = {**fixed, "max_size": max_size, "sparsity": sparsity, "seed": seed}
    kept = {name: value for name, value in given.items() if value is not None}
    return Tuned(tuple(found), {"users": config.users, **kept}, interrupted)


class _Objective:
    """The NDCG of a trial, as a function of its hyperparameters; holds the data of all trials."""

    def __init__(
        self,
        interactions: Interactions,
        held: Interactions | None,
        config: Config,
        limit: SizeLimit,
        label_texts: list[str] | None,
        on_epoch: Callable[[EpochMetrics], None] | None,
    ) -> None:
        self._interactions = interactions
        self._learned = interactions
        if held is None:
            self._learned, held = hold_out(
                interactions, fraction=HELD_OUT, seed=config.seed, latest=None
            )
        self._held = held
        self._config = config
        self._limit, self._label_texts = limit, label_texts
        self._on_epoch = on_epoch
        plan_budget(interactions, config, limit, label_texts)  # raises before the first trial
        self._validator(config)

    def _validator(self, config: Config) -> Validator:
        return Validator(self._learned, self._held, config)

    def __call__(self, trial: optuna.Trial) -> float:
        """Run a trial; return its NDCG, and keep the other facts with the trial.

        Raises:
            optuna.TrialPruned: The trial fell behind.
            InputError: The training diverged, or the size is too small for any weights.
        """
        config = replace(self._config, **rounded(trial.params))
        budget = plan_budget(self._interactions, config, self._limit, self._label_texts)
        validator = self._validator(config)

        def begin() -> Parameters:
            return initialize(self._learned, config, budget)

        state = TrainingState(begin())
        parameters, epochs, ndcg = train(
            Trainer(state.parameters, self._learned, config),
            state,
            epochs=config.epochs,
            validate=validator,
            observer=_TrialObserver(trial, self._on_epoch),
            restart=begin,
        ).result()
        recency, _ = validator.choose_recency(parameters)
        chosen = Chosen(epochs, ndcg, recency)
        file = encode(
            model_arrays(parameters, self._interactions, config, chosen, self._label_texts)
        )
        for name, value in (("epochs", epochs), ("bytes", len(file)), ("weights", parameters.nnz)):
            trial.set_user_attr(name, value)
        return validator.of_file(load(file))


class _TrialObserver(Observer):
    """Reports each epoch of a trial to Optuna, and ends the trial when it falls behind."""

    def __init__(
        self, trial: optuna.Trial, on_epoch: Callable[[EpochMetrics], None] | None
    ) -> None:
        self._trial = trial
        self._on_epoch = on_epoch
        self._last = 0

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Report an epoch."""
        # After a divergence epochs are counted anew, with a lower learning rate.
        if metrics.ndcg is not None and metrics.epoch > self._last:
            self._trial.report(metrics.ndcg, metrics.epoch)
            self._last = metrics.epoch
        if self._on_epoch is not None:
            self._on_epoch(metrics)
        if self._trial.should_prune():
            raise import_optuna().TrialPruned


def _search_space(
    config: Config, fixed: Mapping[str, Any], *, sized: bool
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return the range of each hyperparameter, around its default.

    The bits of a weight are searched only where a size sets the budget: else more are better.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    dims = (config.dim // 4, config.dim // 2, config.dim, 2 * config.dim)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "dim": CategoricalDistribution([dim for dim in dims if 8 <= dim <= MAX_DIM]),
        "learning_rate": _log_range(config.learning_rate, 2.5),
        "reg": _log_range(config.reg, 5.0),
        "candidates": IntDistribution(
            max(1, config.candidates // 3), 3 * config.candidates, log=True
        ),
        "initial_norm": _log_range(config.initial_norm, 2.0),
        "exploration": FloatDistribution(0.2, 0.8),
    }
    if config.users == "history":
        exponent = config.history_exponent
        space["history_exponent"] = FloatDistribution(exponent - 0.2, exponent + 0.2)
        space["degree_exponent"] = FloatDistribution(0.0, 0.5)
    if sized:
        space["value_bits"] = IntDistribution(4, 8)
    return {name: range_ for name, range_ in space.items() if name not in fixed}


def _log_range(value: float, factor: float) -> optuna.distributions.FloatDistribution:
    """Return the range of a factor around a value, on a logarithmic scale."""
    from optuna.distributions import FloatDistribution

    return FloatDistribution(value / factor, value * factor, log=True)


def _label_texts(labels: Mapping[Any, str] | None, interactions: Interactions) -> list[str] | None:
    """Return the label of each item, in the order of the items, or None without labels."""
    if not labels:
        return None
    ids = interactions.item_ids
    return [labels.get(item, "") for item in ids.take(np.arange(len(ids)))]
