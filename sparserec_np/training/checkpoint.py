"""Checkpoints: the state of a fit on disk, so that a crash or an interrupt costs little.

A checkpoint is an ``.npz`` file without pickles, whose parts carry checksums. It holds the
parameters between two epochs, the best ones so far, and the fingerprint of the fit: a fit of
anything else is not continued from it. Written beside and renamed, the last two are kept. A fit
that is resumed ends in the same bytes as one that never stopped.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.errors import InputError
from sparserec_np.modelfile.arrays import Table, check_table
from sparserec_np.modelfile.container import strict_json
from sparserec_np.training.config import Config
from sparserec_np.training.epoch_log import metrics_of
from sparserec_np.training.fingerprint import Fingerprint, differences
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import Chosen, EpochMetrics, TrainingState
from sparserec_np.utils import atomic_write
from sparserec_np.utils.log import logger

_log = logger(__name__)

KEPT = 2
"""Checkpoints in a folder: should the last one be damaged, there is one before it."""

_NAME = "checkpoint-{}.npz"
_FORMAT = 4
_STAGE = re.compile(r"choose|try [1-9][0-9]?|train")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Progress:
    """The progress of a fit."""

    stage: str
    """The stage that is running; see :attr:`EpochMetrics.stage`."""
    chosen: Chosen | None
    """Choices of an earlier stage, or None."""
    state: TrainingState
    """State of the stage."""
    metrics: tuple[EpochMetrics, ...]
    """Of the epochs up to here, of all stages."""
    tried: tuple[Chosen, ...] = ()
    """Results of the race so far."""

    @property
    def place(self) -> tuple[str, int, float]:
        """Stage, epochs of it, and factor of the learning rate: they tell two states apart."""
        return self.stage, self.state.epoch, self.state.rate

    def __str__(self) -> str:
        return f"epoch {self.state.epoch} of the stage '{self.stage}'"


@dataclass(frozen=True)
class Checkpointing:
    """Options of writing checkpoints, checked."""

    folder: Path
    """Folder of the checkpoints."""
    every_epochs: int | None
    """Write after so many epochs, or None: by time."""
    every_seconds: float | None
    """Write after so many seconds, or None: by epochs."""
    resume: bool
    """Whether to go on from the last checkpoint, if there is one."""

    @classmethod
    def parse(
        cls, folder: str | os.PathLike[str] | None, *, every: str | int = 1, resume: bool = False
    ) -> Checkpointing | None:
        """Check, before the work, that checkpoints can be kept as a person asks for it.

        The folder is made if need be; temporary files that a killed fit left in it are removed.

        Args:
            folder: Folder of the checkpoints, or None for none at all.
            every: A number of epochs, like ``2``, or a time, like ``"30s"``, ``"5min"``, ``"1h"``.
            resume: Go on from the last checkpoint, if there is one.

        Raises:
            InputError: The folder cannot be written to, or holds the checkpoints of an earlier fit
                that is not to be resumed; ``every`` is neither; ``resume`` without a folder.
        """
        epochs, seconds = _parse_every(every)
        if folder is not None:
            return cls(_checked_folder(folder, resume=resume), epochs, seconds, resume)
        if resume:
            raise InputError(
                "resume needs the folder of the checkpoints: give --checkpoint DIR as well "
                "(checkpoint= in Python)"
            )
        return None


def _parse_every(text: str | int) -> tuple[int | None, float | None]:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)?\s*", str(text))
    if found:
        number, unit = float(found[1]), found[2]
        if unit:
            return None, number * _UNITS[unit]
        if number >= 1 and number.is_integer():
            return int(number), None
    raise InputError(
        f"checkpoints every {str(text)!r}: give a number of epochs, like 2, or a time, like 30s, "
        "5min or 1h"
    )


def _checked_folder(folder: str | os.PathLike[str], *, resume: bool) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: no folder for checkpoints ({error.strerror or error})"
        ) from error
    atomic_write.check_writable(path / _NAME.format(""))
    for left_over in path.glob("." + _NAME.format("*") + ".*"):
        left_over.unlink(missing_ok=True)
    if not resume and _existing(path):
        raise InputError(
            f"{path}: holds checkpoints of an earlier fit: continue it with --resume "
            "(resume=True), or remove them to start anew"
        )
    return path


def clear(folder: str | os.PathLike[str]) -> None:
    """Remove the checkpoints of a folder, once the model is written."""
    for path in _existing(Path(folder)):
        path.unlink(missing_ok=True)


class Checkpoints:
    """The checkpoints of one fit.

    Args:
        options: Where and how often :meth:`note` writes.
        fingerprint: Of the fit; a checkpoint must match it to be resumed.
    """

    def __init__(self, options: Checkpointing, fingerprint: Fingerprint) -> None:
        self._options = options
        self._folder = options.folder
        self._fingerprint = fingerprint
        self._latest: Progress | None = None
        self._written: tuple[str, int, float] | None = None
        self._written_at = time.monotonic()

    def load(self) -> Progress | None:
        """Load the last checkpoint that is whole; None if there is none at all.

        Raises:
            InputError: It belongs to another fit, or every one is damaged.
        """
        paths = _existing(self._folder)
        for path in reversed(paths):
            try:
                stored = _read(path)
                meta = strict_json(stored["meta"].tobytes().decode())
                self._check(path, meta)
                progress = _progress(meta, stored)
            except _OtherFit as error:
                raise InputError(str(error)) from None
            except (ValueError, KeyError) as error:
                _log.warning("%s: damaged, so it is passed over (%s)", path, error)
                continue
            self._latest, self._written = progress, progress.place
            _log.info("going on after %s, from %s", progress, path)
            return progress
        if paths:
            raise InputError(
                f"{self._folder}: all checkpoints are damaged: remove them to start anew"
            )
        _log.info("no checkpoint in %s yet: starting from the beginning", self._folder)
        return None

    def note(self, progress: Progress) -> None:
        """Remember the progress of the fit, and write a checkpoint if it is time.

        If it cannot be written, that is logged, and the fit goes on.
        """
        self._latest = progress
        if progress.place == self._written or not self._is_due(progress):
            return
        try:
            self._write(progress)
        except InputError as error:
            _log.warning("%s; the fit goes on without this checkpoint", error)

    def interrupted(self) -> None:
        """Write a checkpoint of the last state between two epochs, and log how to go on.

        Raises:
            InputError: It cannot be written.
        """
        if self._latest is None:
            return
        if self._latest.place != self._written:
            self._write(self._latest)
        _log.warning(
            "stopped: the state after %s is in %s; the same command with --resume (resume=True) "
            "goes on from there",
            self._latest,
            self._folder,
        )

    def _is_due(self, progress: Progress) -> bool:
        if self._options.every_epochs is not None:
            return progress.state.epoch % self._options.every_epochs == 0
        return time.monotonic() - self._written_at >= (self._options.every_seconds or 0.0)

    def _write(self, progress: Progress) -> None:
        name = _NAME.format(f"{len(progress.metrics):06d}")
        with atomic_write.replacing(self._folder / name) as file:
            np.savez(file, **_arrays(progress, self._fingerprint))
        self._written, self._written_at = progress.place, time.monotonic()
        for path in _existing(self._folder)[:-KEPT]:
            path.unlink(missing_ok=True)

    def _check(self, path: Path, meta: dict[str, Any]) -> None:
        if meta["format"] != _FORMAT:
            raise _OtherFit(f"{path}: of a format that this version does not know")
        if not isinstance(meta["fingerprint"], dict):
            raise ValueError("the fingerprint is no JSON object")
        if other := differences(meta["fingerprint"], self._fingerprint):
            raise _OtherFit(
                f"{path}: a checkpoint of another fit: {other}. Give what was "
                "given then, or start anew in another folder"
            )


def _existing(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, the last one last."""
    return sorted(folder.glob(_NAME.format("*")))


def _arrays(progress: Progress, fingerprint: Fingerprint) -> dict[str, Any]:
    state = progress.state
    best = state.best
    meta = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "stage": progress.stage,
        "chosen": progress.chosen and _plain(progress.chosen),
        "tried": [_plain(one) for one in progress.tried],
        "metrics": [asdict(one) for one in progress.metrics],
        "epoch": state.epoch,
        "rate": state.rate,
        "keeps_best": best is not None,
        "best_epoch": state.best_epoch,
        "best_quality": None if state.best_epoch == 0 else state.best_quality,
    }
    text = json.dumps(meta, allow_nan=False)
    arrays: dict[str, Any] = {"meta": np.frombuffer(text.encode(), np.uint8)}
    arrays.update(_parameter_arrays("last", state.parameters))
    if best is not None:
        arrays.update(_parameter_arrays("best", best))
    return arrays


def _parameter_arrays(prefix: str, parameters: Parameters) -> dict[str, NDArray[Any]]:
    named = {
        **{f"rows.{name}": array for name, array in parameters.items.rows._asdict().items()},
        **{
            name: getattr(parameters.items, name)
            for name in ItemParameters._fields
            if name != "rows"
        },
        **{f"users.{name}": array for name, array in parameters.users._asdict().items()},
    }
    return {f"{prefix}.{name}": array for name, array in named.items()}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a checkpoint, as they were stored: neither deflated nor encrypted.

    Raises:
        ValueError: It is no such file.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            for part in packed.infolist():
                if part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1:
                    raise ValueError(f"the part {part.filename!r:.40} is not stored as it is")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile and NumPy raise many kinds for bytes that are damaged
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _progress(meta: dict[str, Any], stored: dict[str, NDArray[Any]]) -> Progress:
    """Make the progress of what a checkpoint of this fit stores, after checking all of it.

    Raises:
        ValueError: A part is of another type, shape or range than a fit has.
        KeyError: A part is missing.
    """
    stage, chosen, quality = meta["stage"], meta["chosen"], meta["best_quality"]
    keeps_best, metrics = meta["keeps_best"], meta["metrics"]
    if not isinstance(stage, str) or not _STAGE.fullmatch(stage) or type(keeps_best) is not bool:
        raise ValueError("no stage of a fit")
    if not isinstance(metrics, list) or not isinstance(meta["tried"], list):
        raise ValueError("no list of metrics, or none of trials")
    if (quality is None) != (meta["best_epoch"] == 0) or (quality is None and keeps_best):
        raise ValueError("a best epoch without its quality, or the other way round")
    state = TrainingState(
        _parameters("last", meta["fingerprint"], stored),
        _count(meta["epoch"]),
        _number(meta["rate"], 0, 1),
        _parameters("best", meta["fingerprint"], stored) if keeps_best else None,
        _count(meta["best_epoch"]),
        -math.inf if quality is None else _number(quality, 0, 1),
    )
    return Progress(
        stage,
        None if chosen is None else _chosen(chosen),
        state,
        tuple(map(metrics_of, metrics)),
        tuple(map(_chosen, meta["tried"])),
    )


def _plain(chosen: Chosen) -> list[Any]:
    return list(chosen._replace(changes=dict(chosen.changes)))


def _chosen(stored: object) -> Chosen:
    """Make choices of what :func:`_plain` returned.

    Raises:
        ValueError: They are no choices of a fit.
    """
    if not isinstance(stored, list) or len(stored) != len(Chosen._fields):
        raise ValueError("no choices of a fit")
    epochs, ndcg, recency, scale, changes, *ndcgs = stored
    if not isinstance(changes, dict):
        raise ValueError("changes that are no JSON object")
    try:
        Config(**changes)
    except (InputError, TypeError) as error:
        raise ValueError(f"changes of a fit: {error}") from error
    ndcg, *ndcgs = (None if one is None else _number(one, 0, 1) for one in (ndcg, *ndcgs))
    return Chosen(
        _count(epochs), ndcg, _number(recency, 0, 1), _number(scale, 0, 1e6), changes, *ndcgs
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 10_000:
        raise ValueError(f"{value!r:.40} is no number of epochs")
    return value


def _number(value: object, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{value!r:.40} is no number from {least} to {most}")
    return float(value)  # type: ignore[arg-type]


def _parameters(prefix: str, fit: Fingerprint, stored: dict[str, NDArray[Any]]) -> Parameters:
    """Take parameters, checked as a model file is: compiled code trusts their indices."""
    dim = fit["dim"]

    def array(name: str, dtype: type, size: int | None = None) -> NDArray[Any]:
        found = stored[f"{prefix}.{name}"]
        if found.dtype != dtype or found.ndim != 1 or size not in (None, found.size):
            raise ValueError(f"the array {prefix}.{name} is {found.dtype} of shape {found.shape}")
        if dtype is np.float32 and not np.isfinite(found).all():
            raise ValueError(f"the array {prefix}.{name} holds numbers that are not finite")
        return found

    def squares(name: str, size: int) -> NDArray[np.float32]:
        found = array(name, np.float32, size if prefix == "last" else 0)
        if not (found >= 0).all():
            raise ValueError(f"the array {prefix}.{name} holds negative sums of squares")
        return found

    def embeddings(name: str, n_rows: int, most: int) -> Embeddings:
        indptr = array(f"{name}.indptr", np.int64, n_rows + 1)
        dims = array(f"{name}.dims", np.uint16)
        if dims.size > most:
            raise ValueError(f"{dims.size} weights, more than the {most} of the fit")
        values = array(f"{name}.values", np.float32, dims.size)
        check_table(Table(indptr, dims, values, dim), dim, n_rows, name)
        return Embeddings(indptr, dims, values, squares(f"{name}.squares", dims.size))

    n_items = fit["train_items"]
    items = ItemParameters(
        embeddings("rows", n_items, n_items * dim),
        array("bias", np.float32, n_items),
        squares("bias_squares", n_items),
        array("weight", np.float32, n_items),
    )
    return Parameters(items, embeddings("users", fit["train_users"], fit["train_users"] * dim), dim)


class _OtherFit(Exception):
    """A checkpoint that is whole, but not of this fit."""
