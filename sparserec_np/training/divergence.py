"""Divergence: the last good parameters to roll back to, and the rate to go on with."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.training.config import Config
from sparserec_np.training.parameters import Parameters
from sparserec_np.training.state import TrainingState
from sparserec_np.utils.log import logger

_log = logger(__name__)

_HALVINGS = 10  # how often the learning rate is halved before giving up


class DivergedError(Exception):
    """An epoch diverged; the text says how."""


def halved_rate(state: TrainingState, config: Config, error: DivergedError) -> float:
    """Return half the factor of the learning rate, after a divergence.

    Raises:
        InputError: It was halved often enough.
    """
    epoch, rate = state.epoch + 1, 0.5 * state.rate
    if rate < 0.5**_HALVINGS:
        raise InputError(
            f"the training diverged in epoch {epoch} ({error}), and {_HALVINGS} times half the "
            f"learning rate did not help: lower learning_rate (now {config.learning_rate:g}) or "
            f"initial_norm (now {config.initial_norm:g})"
        ) from None
    _log.warning(
        "the training diverged in epoch %d (%s): going back, with half the learning rate (%g)",
        epoch,
        error,
        rate * config.learning_rate,
    )
    return rate


class LastGood:
    """A copy of parameters in an unnamed temporary file, so that it takes no memory.

    Where there is no room on the disk, the copy is in memory after all: O(weights).
    """

    def __init__(self) -> None:
        self._file: Any = None  # as tempfile.TemporaryFile gives it
        self._copy: Parameters | None = None

    def keep(self, parameters: Parameters) -> None:
        """Copy the parameters over what was kept before."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as this
            self._file.seek(0)
            for array in parameters.changing():
                self._file.write(array.data)
            self._file.flush()
            self._copy = parameters  # what does not change within an epoch is shared
        except OSError:
            self._file = None
            self._copy = parameters.copy()

    def restore(self) -> Parameters:
        """Return what was kept, as it was then; the caller's own."""
        assert self._copy is not None
        if self._file is None:
            return self._copy.copy()
        arrays = [np.empty_like(array) for array in self._copy.changing()]
        self._file.seek(0)
        for array in arrays:
            if self._file.readinto(array.data) < array.nbytes:
                raise OSError("the temporary file with the last good parameters was cut short")
        return self._copy.with_changing(arrays)
