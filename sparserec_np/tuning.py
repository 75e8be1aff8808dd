"""Search for hyperparameters: trials on a validation part, the first of them the defaults.

What comes out is as good as the defaults on that part or better. The search is centred on what
:func:`sparserec_np.defaults.config_for` makes of the data; trials that fall behind are given up.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from sparserec_np import atomic, modelfile, runtime
from sparserec_np.budget import Budget, plan_budget
from sparserec_np.checkpoint import differing, identity
from sparserec_np.config import MAX_DIM, Config
from sparserec_np.defaults import config_for
from sparserec_np.errors import InputError, missing_extra
from sparserec_np.interactions import Interactions, from_any
from sparserec_np.records import EpochRecord, Tables
from sparserec_np.sizes import parse_size
from sparserec_np.split import hold_out
from sparserec_np.stages import HELD_OUT
from sparserec_np.trainer import start, thread_count, train
from sparserec_np.validation import Validator

if TYPE_CHECKING:
    import optuna

_log = logging.getLogger(__name__)

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
_SQLITE = b"SQLite format 3\0"
_STARTUP = 5  # trials drawn at random, and never pruned, before there is something to learn from
_WARM_UP = 3  # epochs that every trial may have: the first ones say little


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters, and what became of it."""

    number: int
    """From 0, which are the defaults."""
    state: str
    """``"complete"``; ``"pruned"``: fell behind; ``"failed"``: diverged, or has no room."""
    params: dict[str, Any]
    """The hyperparameters that are searched."""
    ndcg: float | None
    """NDCG@20 on the validation part, of the model as its file holds it; None unless complete."""
    epochs: int | None
    """Number of its best epoch."""
    bytes: int | None
    """Size of its file."""
    weights: int | None
    """Weights stored in it."""
    seconds: float
    """How long it took."""


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
    on_epoch: Callable[[EpochRecord], None] | None = None,
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
    _optuna()
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
    with _quiet_optuna(), thread_count(threads):
        name = f"{size} bytes" if size else "no size"
        study = _study(storage, name, identity(named, interactions, held))
        interrupted = _search(study, job, space, points, trials, seed, on_trial)
        found = _finished(study)[:trials]
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
        on_epoch: Callable[[EpochRecord], None] | None,
    ) -> None:
        self._interactions = interactions
        self._learned = interactions
        if held is None:
            self._learned, held = hold_out(interactions, fraction=HELD_OUT, seed=config.seed)
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
        exponent = config.history_exponent if config.users == "history" else None
        return Validator(self._learned, self._held, exponent, config.seed)

    def __call__(self, trial: optuna.Trial) -> float:
        """Do a trial; return its NDCG, and keep the other facts with the trial.

        Raises:
            optuna.TrialPruned: It fell behind.
            InputError: It diverged, or its budget does not reach.
        """
        pruned, learned, last = _optuna().TrialPruned, self._learned, 0

        def report(record: EpochRecord) -> None:
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

        config = replace(self._config, **_rounded(trial.params))
        plan, validator = self._plan(config), self._validator(config)

        def begin() -> Tables:
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
        facts = plan.facts(self._interactions, epochs, ndcg)
        data = modelfile.encode(plan.arrays(tables, learned, self._texts, facts))
        for name, value in (("epochs", epochs), ("bytes", len(data)), ("weights", tables.weights)):
            trial.set_user_attr(name, value)
        return validator.of_file(runtime.load(data))


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


def _rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Round to six digits, which people can read; the defaults have no more."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def _search(
    study: optuna.Study,
    job: _Job,
    space: Mapping[str, optuna.distributions.BaseDistribution],
    points: Sequence[Mapping[str, Any]],
    trials: int,
    seed: int,
    on_trial: Callable[[Trial], None] | None,
) -> bool:
    """Do the trials that are missing; return whether Ctrl-C ended it before all were done."""
    import optuna

    failed = optuna.trial.TrialState.FAIL
    while (number := len(_finished(study))) < trials:
        # A sampler for each trial, from the number of the trial: so it does not matter whether the
        # trials before it were done now or by an earlier run.
        study.sampler = optuna.samplers.TPESampler(
            seed=int(np.random.default_rng([seed, number]).integers(1 << 31)),
            n_startup_trials=_STARTUP,
            multivariate=True,
            constant_liar=False,
        )
        if number < len(points) and not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
            study.enqueue_trial(dict(points[number]))
        trial = study.ask(dict(space))
        try:
            study.tell(trial, job(trial))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except InputError as error:
            if number == 0:
                study.tell(trial, state=failed)
                raise
            _log.info("trial %d failed: %s", number, error)
            trial.set_user_attr("failed", str(error))
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except KeyboardInterrupt:
            study.tell(trial, state=failed)
            if number == 0:
                raise
            return True
        if on_trial is not None:
            on_trial(_finished(study)[-1])
    return False


def _finished(study: optuna.Study) -> list[Trial]:
    """Trials that came to an end of their own, in order; what was interrupted does not count."""
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_as_trial(number, trial) for number, trial in enumerate(done)]


def _as_trial(number: int, trial: optuna.trial.FrozenTrial) -> Trial:
    complete = trial.state.name == "COMPLETE"
    attrs = trial.user_attrs
    return Trial(
        number,
        "complete" if complete else "failed" if "failed" in attrs else "pruned",
        _rounded(trial.params),
        trial.value if complete else None,
        attrs.get("epochs"),
        attrs.get("bytes"),
        attrs.get("weights"),
        0.0 if trial.duration is None else trial.duration.total_seconds(),
    )


def _study(storage: str | Path | None, name: str, what: dict[str, Any]) -> optuna.Study:
    """Open the study of a size, new or not.

    Raises:
        InputError: The storage is none, or it is of a search in other data or with other options.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=_WARM_UP)
    options: dict[str, Any] = {"direction": "maximize", "pruner": pruner}
    if storage is None:
        return optuna.create_study(**options)
    path = Path(storage)
    check_storage(path)
    try:
        opened = optuna.storages.RDBStorage(f"sqlite:///{quote(str(path))}")
        for there in opened.get_all_studies():
            if differences := differing(there.user_attrs.get("identity", {}), what):
                raise InputError(
                    f"{path}: holds a search of something else: {differences}. Give what was given "
                    "then, or name another storage"
                )
        study = optuna.create_study(storage=opened, study_name=name, load_if_exists=True, **options)
    except (SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be opened as a storage ({error})") from error
    study.set_user_attr("identity", what)
    if done := len(_finished(study)):
        _log.info("going on after %d trials, from %s", done, path)
    return study


def check_storage(path: str | Path) -> None:
    """Check that a file can be, or is, a storage of trials.

    Raises:
        InputError: It cannot be written, or holds something else.
    """
    atomic.check_writable(path)
    file = Path(path)
    if file.exists():
        with file.open("rb") as opened:
            head = opened.read(len(_SQLITE))
        if head not in (b"", _SQLITE):
            raise InputError(f"{file}: is no storage of trials; name another file")


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own log, and its remarks on what is new in it, off standard error."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise missing_extra("optuna", "tune", "tuning") from error
    return optuna


def _texts(labels: Mapping[Any, str] | None, interactions: Interactions) -> list[str] | None:
    if not labels:
        return None
    ids = interactions.item_ids
    return [labels.get(item, "") for item in ids.take(np.arange(len(ids)))]
