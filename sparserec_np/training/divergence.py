"""When a training diverges: the last good tables to go back to, and the rate to go on with."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.errors import InputError
from sparserec_np.training.config import Config
from sparserec_np.training.state import Parameters, TrainingState
from sparserec_np.utils.log import logger

_log = logger(__name__)

_HALVINGS = 10  # how often the learning rate is halved before giving up


class DivergedError(Exception):
    """An epoch went wrong; its text says how."""


def slowed(state: TrainingState, config: Config, error: DivergedError) -> float:
    """Halve the learning rate: return what it is multiplied by from now on.

    Raises:
        InputError: That was done often enough.
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
    """Keeps a copy of tables in an unnamed temporary file, so that it takes no memory.

    Where there is no room on the disk, the copy is in memory after all: O(weights).
    """

    def __init__(self) -> None:
        self._file: Any = None  # as tempfile.TemporaryFile gives it
        self._copy: Parameters | None = None

    def keep(self, tables: Parameters) -> None:
        """Copy the tables over what was kept before."""
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as this
            self._file.seek(0)
            for array in _changing(tables):
                self._file.write(array.data)
            self._file.flush()
            # What does not change within an epoch is shared.
            self._copy = tables
        except OSError:
            self._file = None
            self._copy = tables.copy()

    def restore(self) -> Parameters:
        """Return what was kept, as it was then; the caller's own."""
        assert self._copy is not None
        if self._file is None:
            return self._copy.copy()
        arrays = [np.empty_like(array) for array in _changing(self._copy)]
        self._file.seek(0)
        for array in arrays:
            if self._file.readinto(array.data) < array.nbytes:
                raise OSError("the temporary file with the last good tables was cut short")
        return _with(self._copy, arrays)


def _changing(tables: Parameters) -> list[NDArray[np.float32]]:
    """Arrays that an epoch changes in place; exploration makes new ones of the others."""
    items, users = tables.items, tables.users
    return [
        items.rows.values, items.rows.squares, items.bias, items.bias_squares,
        users.values, users.squares,
    ]  # fmt: skip


def _with(tables: Parameters, arrays: list[NDArray[np.float32]]) -> Parameters:
    values, squares, bias, bias_squares, user_values, user_squares = arrays
    rows = tables.items.rows._replace(values=values, squares=squares)
    items = tables.items._replace(rows=rows, bias=bias, bias_squares=bias_squares)
    users = tables.users._replace(values=user_values, squares=user_squares)
    return replace(tables, items=items, users=users)
