"""Checkpoints: the state of a fit on disk, so that a crash or an interrupt costs little.

A checkpoint is an ``.npz`` file without pickles, whose parts carry checksums. It holds the tables
between two epochs, the best ones so far, and what the fit was given: a fit of anything else is not
continued from it. Written beside and renamed, the last two are kept. What continues from it ends in
the same bytes as a fit that never stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np._version import __version__
from sparserec_np.data import Interactions
from sparserec_np.errors import InputError
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.state import Chosen, EpochMetrics, Parameters, TrainingState
from sparserec_np.utils import atomic_write
from sparserec_np.utils.log import logger

_log = logger(__name__)

KEPT = 2
"""Checkpoints in a folder: should the last one be damaged, there is one before it."""

_NAME = "checkpoint-{}.npz"
_FORMAT = 2
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Progress:
    """How far a fit is."""

    stage: str
    """The stage that is on its way; see :attr:`EpochMetrics.stage`."""
    chosen: Chosen | None
    """What an earlier stage found, or None."""
    state: TrainingState
    """Where the stage is."""
    records: tuple[EpochMetrics, ...]
    """The epochs up to here, of all stages."""

    @property
    def place(self) -> tuple[str, int, float]:
        """What tells two states of a fit apart: stage, epochs of it, and learning rate."""
        return self.stage, self.state.epoch, self.state.rate

    def __str__(self) -> str:
        return f"epoch {self.state.epoch} of the stage '{self.stage}'"


@dataclass(frozen=True)
class Every:
    """How often to write: exactly one of the two is given."""

    epochs: int | None = None
    seconds: float | None = None


def parse_every(text: str | int) -> Every:
    """Read how often to write a checkpoint.

    Args:
        text: A number of epochs, like ``2``, or a time, like ``"30s"``, ``"5min"`` or ``"1h"``.

    Raises:
        InputError: It is neither.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)?\s*", str(text))
    if found:
        number, unit = float(found[1]), found[2]
        if unit:
            return Every(seconds=number * _UNITS[unit])
        if number >= 1 and number.is_integer():
            return Every(epochs=int(number))
    raise InputError(
        f"checkpoints every {str(text)!r}: give a number of epochs, like 2, or a time, like 30s, "
        "5min or 1h"
    )


def check_folder(folder: str | os.PathLike[str], *, resume: bool) -> Path:
    """Check, before the work, that checkpoints can be kept in a folder; make it if need be.

    Temporary files that a killed fit left in it are removed.

    Raises:
        InputError: The folder cannot be written to, or it holds the checkpoints of an earlier fit
            that is not to be resumed.
    """
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
    """Remove the checkpoints of a folder, as when the model is written."""
    for path in _existing(Path(folder)):
        path.unlink(missing_ok=True)


def identity(
    config: Mapping[str, Any],
    interactions: Interactions,
    held: Interactions | None,
    **more: Any,
) -> dict[str, Any]:
    """Describe all that the result of a fit depends on, by names that a message can use.

    Args:
        config: Hyperparameters by name, as JSON can hold them.
        interactions: What is learned from.
        held: What is validated on, or None.
        more: Anything else, as JSON can hold it.
    """
    named: dict[str, Any] = {"version of sparserec-np": __version__, **config, **more}
    for data, what in ((interactions, "training data"), (held, "validation data")):
        if data is None:
            named[f"interactions of the {what}"] = None
            continue
        named[f"users of the {what}"] = data.n_users
        named[f"items of the {what}"] = data.n_items
        named[f"interactions of the {what}"] = data.nnz
        named[f"checksum of the {what}"] = _checksum(data)
    return named


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name what two identities do not have in common; nothing where they are the same."""
    return ", ".join(
        f"{name} was {there.get(name)} and is {here.get(name)}"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    )


def file_checksum(path: str | os.PathLike[str]) -> str:
    """Describe a file of any content in 16 characters."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()


class Checkpoints:
    """The checkpoints of one fit.

    Args:
        folder: As :func:`check_folder` gives it.
        every: How often :meth:`note` writes.
        identity: What the fit is given; see :func:`identity`.
    """

    def __init__(self, folder: Path, every: Every, identity: dict[str, Any]) -> None:
        self._folder = folder
        self._every = every
        self._identity = identity
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
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                _log.warning("%s: damaged, so it is passed over (%s)", path, error)
                continue
            meta = json.loads(stored["meta"].tobytes())
            self._check(path, meta)
            progress = _progress(meta, stored)
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
        """Remember how far the fit is, and write it down if it is time.

        What cannot be written is said, and the fit goes on.
        """
        self._latest = progress
        if progress.place == self._written or not self._is_due(progress):
            return
        try:
            self._write(progress)
        except InputError as error:
            _log.warning("%s; the fit goes on without this checkpoint", error)

    def interrupted(self) -> None:
        """Write down the last state between two epochs, and say how to go on.

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
        if self._every.epochs is not None:
            return progress.state.epoch % self._every.epochs == 0
        return time.monotonic() - self._written_at >= (self._every.seconds or 0.0)

    def _write(self, progress: Progress) -> None:
        name = _NAME.format(f"{len(progress.records):06d}")
        with atomic_write.replacing(self._folder / name) as file:
            np.savez(file, **_arrays(progress, self._identity))
        self._written, self._written_at = progress.place, time.monotonic()
        for path in _existing(self._folder)[:-KEPT]:
            path.unlink(missing_ok=True)

    def _check(self, path: Path, meta: dict[str, Any]) -> None:
        if meta["format"] != _FORMAT:
            raise InputError(f"{path}: of a format that this version does not know")
        differences = differing(meta["identity"], self._identity)
        if differences:
            raise InputError(
                f"{path}: a checkpoint of another fit: {differences}. Give what was "
                "given then, or start anew in another folder"
            )


def _existing(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the last one last."""
    return sorted(folder.glob(_NAME.format("*")))


def _checksum(data: Interactions) -> str:
    digest = hashlib.blake2b(digest_size=8)
    pairs = np.array([data.fingerprint()], np.uint64)
    parts = (pairs, *data.user_ids.arrays, *data.item_ids.arrays)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _arrays(progress: Progress, identity: dict[str, Any]) -> dict[str, Any]:
    state = progress.state
    best = state.best
    meta = {
        "format": _FORMAT,
        "identity": identity,
        "stage": progress.stage,
        "chosen": progress.chosen,
        "records": [asdict(record) for record in progress.records],
        "dim": state.tables.dim,
        "epoch": state.epoch,
        "rate": state.rate,
        "keeps_best": best is not None,
        "best_epoch": state.best_epoch,
        "best_quality": None if state.best_epoch == 0 else state.best_quality,
    }
    text = json.dumps(meta, allow_nan=False)
    arrays: dict[str, Any] = {"meta": np.frombuffer(text.encode(), np.uint8)}
    arrays.update(_table_arrays("last", state.tables))
    if best is not None:
        arrays.update(_table_arrays("best", best))
    return arrays


def _table_arrays(prefix: str, tables: Parameters) -> dict[str, NDArray[Any]]:
    named = {
        **{f"rows.{name}": array for name, array in tables.items.rows._asdict().items()},
        **{name: getattr(tables.items, name) for name in ItemParameters._fields if name != "rows"},
        **{f"users.{name}": array for name, array in tables.users._asdict().items()},
    }
    return {f"{prefix}.{name}": array for name, array in named.items()}


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _progress(meta: dict[str, Any], stored: dict[str, NDArray[Any]]) -> Progress:
    best = _tables("best", meta["dim"], stored) if meta["keeps_best"] else None
    quality = meta["best_quality"]
    state = TrainingState(
        _tables("last", meta["dim"], stored),
        meta["epoch"],
        meta["rate"],
        best,
        meta["best_epoch"],
        -math.inf if quality is None else quality,
    )
    chosen = meta["chosen"]
    return Progress(
        meta["stage"],
        None if chosen is None else Chosen(*chosen),
        state,
        tuple(EpochMetrics(**record) for record in meta["records"]),
    )


def _tables(prefix: str, dim: int, stored: dict[str, NDArray[Any]]) -> Parameters:
    def rows(what: str) -> Embeddings:
        return Embeddings(*(stored[f"{prefix}.{what}.{name}"] for name in Embeddings._fields))

    rest = {name: stored[f"{prefix}.{name}"] for name in ItemParameters._fields if name != "rows"}
    return Parameters(ItemParameters(rows=rows("rows"), **rest), rows("users"), dim)
