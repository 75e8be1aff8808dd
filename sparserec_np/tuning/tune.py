"""Search for hyperparameters: trials on a validation part, the first of them the defaults.

What comes out is as good as the defaults on that part or better. The search is centred on what
:func:`sparserec_np.training.defaults.config_for` makes of the data; trials that fall behind are given up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparserec_np.data import Interactions, from_any
from sparserec_np.data.splitting import hold_out
from sparserec_np.errors import InputError
from sparserec_np.modelfile import writer
from sparserec_np.runtime import load
from sparserec_np.training.budget import Budget, plan_budget
from sparserec_np.training.checkpoint import identity
from sparserec_np.training.config import MAX_DIM, Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.fit import HELD_OUT
from sparserec_np.training.state import EpochMetrics, Parameters
from sparserec_np.training.trainer import start, train
from sparserec_np.training.validation import Validator
from sparserec_np.tuning.trials import (
    Trial,
    check_storage,
    finished,
    import_optuna,
    open_study,
    quiet_optuna,
    rounded,
    search,
)
from sparserec_np.utils.parallel import thread_count
from sparserec_np.utils.sizes import parse_size

if TYPE_CHECKING:
    import optuna

__all__ = ["Trial", "Tuned", "check_storage", "tune"]

_SEARCHED = (
    "dim",
    "learning_rate",
    "reg",
    "candidates",
    "initial_norm",
    "exploration",
    "history_exponent",
    "degree_exponent",
    "value_bits",
)


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    trials: tuple[Trial, ...]
    """All that were finished, in order; the first are the defaults."""
    fixed: dict[str, Any]
    """Arguments that were not searched."""
    interrupted: bool
    """Whether Ctrl-C ended it early."""

    @property
    def default(self) -> Trial:
        """The trial of the defaults."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The trial with the largest NDCG; of equals the first."""
        complete = [trial for trial in self.trials if trial.ndcg is not None]
        return max(complete, key=lambda trial: trial.ndcg or 0.0)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of :class:`sparserec_np.SparseRec` for the best trial, fit for JSON."""
        return {**self.fixed, **self.best.params}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
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

    Memory is that of one fit at a time. Same data, arguments and seed: same trials, also where
    the search was stopped and went on. Needs the extra ``[tune]``.

    Args:
        X: Interactions, as :meth:`sparserec_np.SparseRec.fit` takes them.
        trials: Trials in all, those in ``storage`` included; at least 1.
        valid: Interactions to score trials by; None: a tenth of each user's, as in a fit.
        max_size: Bytes of the file at most: a number, or a text like ``"300KB"``.
        sparsity: Share of entries not stored; at most one of this and ``max_size`` is given.
        labels: Texts that the file will hold, by item id: they take some of its bytes.
        storage: SQLite file that keeps the trials, to go on from; None: none.
        try_first: Hyperparameters to try after the defaults, as ``params`` of a trial.
        seed: Seed of the trials, of the split and of the training.
        threads: Number of threads; None for all cores. The result does not depend on it.
        on_epoch: Called after each epoch of each trial.
        on_trial: Called after each trial.
        **fixed: Hyperparameters that are not searched but set: ``users``, or any searched one.

    Returns:
        What was found. After a KeyboardInterrupt what was found by then, if anything was.

    Raises:
        InputError: Data or arguments cannot be used, or ``storage`` holds another search.
        MissingExtraError: Optuna is not installed.
        KeyboardInterrupt: As it came, where no trial was finished before.
    """
    import_optuna()
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials must be a whole number of at least 1, not {trials!r}")
    size = None if max_size is None else parse_size(max_size)
    if unknown := sorted(fixed.keys() - {"users", *_SEARCHED}):
        raise InputError(
            f"tune cannot set {unknown[0]!r}; it can set: users, {', '.join(_SEARCHED)}"
        )
    Config(**fixed, seed=seed)  # so that a value out of range is found before the data is read
    interactions = from_any(X)
    held = None if valid is None else from_any(valid)
    config = config_for(interactions, {**fixed, "seed": seed})
    texts = _texts(labels, interactions)
    job = _Job(interactions, held, config, sparsity, max_size, texts, on_epoch)
    space = _space(config, fixed, sized=size is not None)
    named = {
        **config.to_dict(),
        "set hyperparameters": ", ".join(sorted(fixed)),
        "sparsity": sparsity,
        "checksum of the labels": texts and hashlib.blake2b("\0".join(texts).encode()).hexdigest(),
    }
    points = [{name: getattr(config, name) for name in space}]
    if try_first is not None:
        points.append({name: value for name, value in try_first.items() if name in space})
    with quiet_optuna(), thread_count(threads):
        name = f"{size} bytes" if size else "no size"
        study = open_study(storage, name, identity(named, interactions, held))
        interrupted = search(study, job, space, points, trials, seed, on_trial)
        found = finished(study)[:trials]
    given = {**fixed, "max_size": max_size, "sparsity": sparsity, "seed": seed}
    kept = {name: value for name, value in given.items() if value is not None}
    return Tuned(tuple(found), {"users": config.users, **kept}, interrupted)


class _Job:
    """What all trials have in common."""

    def __init__(
        self,
        interactions: Interactions,
        held: Interactions | None,
        config: Config,
        sparsity: float | None,
        max_size: int | str | None,
        texts: list[str] | None,
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
        self._sparsity, self._max_size, self._texts = sparsity, max_size, texts
        self._on_epoch = on_epoch
        self._plan(config)  # so that what cannot be is found before the first trial
        self._validator(config)

    def _plan(self, config: Config) -> Budget:
        return plan_budget(
            self._interactions,
            config,
            sparsity=self._sparsity,
            max_size=self._max_size,
            labels=self._texts,
        )

    def _validator(self, config: Config) -> Validator:
        return Validator(self._learned, self._held, config)

    def __call__(self, trial: optuna.Trial) -> float:
        """Do a trial; return its NDCG, and keep the other facts with the trial.

        Raises:
            optuna.TrialPruned: It fell behind.
            InputError: It diverged, or its budget does not reach.
        """
        pruned, learned, last = import_optuna().TrialPruned, self._learned, 0

        def report(record: EpochMetrics) -> None:
            nonlocal last
            if (
                record.ndcg is not None and record.epoch > last
            ):  # else it diverged, and started again with a lower rate
                trial.report(record.ndcg, record.epoch)
                last = record.epoch
            if self._on_epoch is not None:
                self._on_epoch(record)
            if trial.should_prune():
                raise pruned

        config = replace(self._config, **rounded(trial.params))
        plan, validator = self._plan(config), self._validator(config)

        def begin() -> Parameters:
            return start(learned, config, plan.dim, plan.weights)

        tables, epochs, ndcg = train(
            begin(),
            learned,
            config,
            epochs=config.epochs,
            validate=validator,
            on_epoch=report,
            afresh=begin,
        )
        recency, _ = validator.choose_recency(tables)
        facts = plan.facts(self._interactions, epochs, ndcg)
        data = writer.encode(plan.arrays(tables, learned, self._texts, facts, recency))
        for name, value in (("epochs", epochs), ("bytes", len(data)), ("weights", tables.weights)):
            trial.set_user_attr(name, value)
        return validator.of_file(load(data))


def _space(
    config: Config, fixed: Mapping[str, Any], *, sized: bool
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Ranges around the defaults.

    Bits of a weight are searched where a size sets the budget: elsewhere more are always better.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    dims = (config.dim // 4, config.dim // 2, config.dim, 2 * config.dim)
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "dim": CategoricalDistribution([dim for dim in dims if 8 <= dim <= MAX_DIM]),
        "learning_rate": _times(config.learning_rate, 2.5),
        "reg": _times(config.reg, 5.0),
        "candidates": IntDistribution(
            max(1, config.candidates // 3), 3 * config.candidates, log=True
        ),
        "initial_norm": _times(config.initial_norm, 2.0),
        "exploration": FloatDistribution(0.2, 0.8),
    }
    if config.users == "history":
        exponent = config.history_exponent
        space["history_exponent"] = FloatDistribution(exponent - 0.2, exponent + 0.2)
        space["degree_exponent"] = FloatDistribution(0.0, 0.5)
    if sized:
        space["value_bits"] = IntDistribution(4, 8)
    return {name: range_ for name, range_ in space.items() if name not in fixed}


def _times(value: float, factor: float) -> optuna.distributions.FloatDistribution:
    from optuna.distributions import FloatDistribution

    return FloatDistribution(value / factor, value * factor, log=True)


def _texts(labels: Mapping[Any, str] | None, interactions: Interactions) -> list[str] | None:
    if not labels:
        return None
    ids = interactions.item_ids
    return [labels.get(item, "") for item in ids.take(np.arange(len(ids)))]
