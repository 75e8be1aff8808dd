"""Trials of a search: drawn by Optuna, pruned, kept in a file, and gone on from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from sparserec_np.errors import InputError, missing_extra
from sparserec_np.training.fingerprint import differences
from sparserec_np.utils import atomic_write
from sparserec_np.utils.log import logger

if TYPE_CHECKING:
    import optuna

_log = logger(__name__)

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


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Round to six digits, which people can read; the defaults have no more."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def search(
    study: optuna.Study,
    job: Callable[[optuna.Trial], float],
    space: Mapping[str, optuna.distributions.BaseDistribution],
    points: Sequence[Mapping[str, Any]],
    trials: int,
    seed: int,
    on_trial: Callable[[Trial], None] | None,
) -> bool:
    """Do the trials that are missing.

    Args:
        study: As :func:`open_study` gives it.
        job: Does a trial and returns its value. An InputError makes it a failed one, unless it is
            the first.
        space: Range of each hyperparameter.
        points: Hyperparameters of the first trials.
        trials: Trials in all.
        seed: Seed of what is drawn.
        on_trial: Called after each trial.

    Returns:
        Whether Ctrl-C ended it before all were done.

    Raises:
        KeyboardInterrupt: As it came, where no trial was finished before.
    """
    import optuna

    try:
        while (number := len(finished(study))) < trials:
            # A sampler for each trial, from the number of the trial: so it does not matter whether
            # the trials before it were done now or by an earlier run.
            study.sampler = optuna.samplers.TPESampler(
                seed=int(np.random.default_rng([seed, number]).integers(1 << 31)),
                n_startup_trials=_STARTUP,
                multivariate=True,
                constant_liar=False,
            )
            waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))
            if number < len(points) and not waiting:
                study.enqueue_trial(dict(points[number]))
            trial = study.ask(dict(space))
            try:
                study.tell(trial, job(trial))
            except optuna.TrialPruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            except InputError as error:
                if number == 0:
                    raise
                _log.info("trial %d failed: %s", number, error)
                trial.set_user_attr("failed", str(error))
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            if on_trial is not None:
                on_trial(finished(study)[-1])
    except KeyboardInterrupt:
        if not finished(study):
            raise
        return True
    return False


def finished(study: optuna.Study) -> list[Trial]:
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
        rounded(trial.params),
        trial.value if complete else None,
        attrs.get("epochs"),
        attrs.get("bytes"),
        attrs.get("weights"),
        0.0 if trial.duration is None else trial.duration.total_seconds(),
    )


def open_study(storage: str | Path | None, name: str, what: dict[str, Any]) -> optuna.Study:
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
            if other := differences(there.user_attrs.get("fingerprint", {}), what):
                raise InputError(
                    f"{path}: holds a search of something else: {other}. Give what was given "
                    "then, or name another storage"
                )
        study = optuna.create_study(storage=opened, study_name=name, load_if_exists=True, **options)
    except (SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be opened as a storage ({error})") from error
    study.set_user_attr("fingerprint", what)
    if done := len(finished(study)):
        _log.info("going on after %d trials, from %s", done, path)
    return study


def check_storage(path: str | Path) -> None:
    """Check that a file can be, or is, a storage of trials.

    Raises:
        InputError: It cannot be written, or holds something else.
    """
    atomic_write.check_writable(path)
    file = Path(path)
    if file.exists():
        with file.open("rb") as opened:
            head = opened.read(len(_SQLITE))
        if head not in (b"", _SQLITE):
            raise InputError(f"{file}: is no storage of trials; name another file")


@contextmanager
def quiet_optuna() -> Iterator[None]:
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


def import_optuna() -> Any:
    """Import Optuna, or say how to install it."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise missing_extra("optuna", "tune", "tuning") from error
    return optuna
