"""Trials of a search: drawn and pruned by Optuna, kept in a file, resumed from it."""

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
_STARTUP = 5
"""Trials drawn at random and never pruned, for the sampler and the pruner to learn from."""
_WARM_UP = 3
"""Epochs of a trial before it may be pruned: the first ones say little."""


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters, and its result."""

    number: int
    """From 0, which is the trial of the defaults."""
    state: str
    """``"complete"``, ``"pruned"`` (fell behind), ``"failed"`` (diverged, or size too small)."""
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
    """Duration of the trial."""


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Round to six digits, to be read by people; defaults have no more."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def search(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    space: Mapping[str, optuna.distributions.BaseDistribution],
    points: Sequence[Mapping[str, Any]],
    trials: int,
    seed: int,
    on_trial: Callable[[Trial], None] | None,
) -> bool:
    """Run the missing trials.

    Args:
        study: Study that :func:`open_study` returned.
        objective: Runs a trial and returns its value. After an InputError the trial counts as
            failed; that of the first trial is raised.
        space: Range of each hyperparameter.
        points: Hyperparameters of the first trials.
        trials: Trials in all, with those that are finished.
        seed: Seed of the sampler.
        on_trial: Called after each trial.

    Returns:
        True if Ctrl-C ended the search before all trials were done.

    Raises:
        KeyboardInterrupt: Ctrl-C, where no trial was finished before.
    """
    import optuna

    try:
        while (number := len(finished(study))) < trials:
            # Each trial has its own sampler, seeded with its number: a resumed search then draws
            # the same trials as one that was never stopped.
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
                study.tell(trial, objective(trial))
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
    """Return the finished trials, in order, without those that were interrupted."""
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


def open_study(storage: str | Path | None, name: str, fingerprint: dict[str, Any]) -> optuna.Study:
    """Open the study of a size, or create it.

    Args:
        storage: SQLite file that keeps the trials; None for none.
        name: Name of the study in the storage, which has one for each size.
        fingerprint: Facts of data and options, which all studies of a storage share.

    Raises:
        InputError: The file is no storage, or holds a search with other data or options.
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
        database = optuna.storages.RDBStorage(f"sqlite:///{quote(str(path))}")
        for stored in database.get_all_studies():
            if changes := differences(stored.user_attrs.get("fingerprint", {}), fingerprint):
                raise InputError(
                    f"{path}: holds a search of something else: {changes}. Give what was given "
                    "then, or name another storage"
                )
        study = optuna.create_study(
            storage=database, study_name=name, load_if_exists=True, **options
        )
    except (SQLAlchemyError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be opened as a storage ({error})") from error
    study.set_user_attr("fingerprint", fingerprint)
    if done := len(finished(study)):
        _log.info("going on after %d trials, from %s", done, path)
    return study


def check_storage(path: str | Path) -> None:
    """Check that a file is a storage of trials, or can become one.

    Raises:
        InputError: The file cannot be written, or holds something else.
    """
    atomic_write.check_writable(path)
    file = Path(path)
    if file.exists():
        with file.open("rb") as stream:
            head = stream.read(len(_SQLITE))
        if head not in (b"", _SQLITE):
            raise InputError(f"{file}: is no storage of trials; name another file")


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log and its warnings about experimental features."""
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
