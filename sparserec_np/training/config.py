"""Every hyperparameter, its range and its meaning, in one place.

The values here are those for data of middling size; :func:`sparserec_np.training.defaults.config_for` fits
them to the data at hand.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from sparserec_np.errors import InputError

MAX_DIM = 4096


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hyperparameters of a fit. Values are checked when the object is made.

    Raises:
        InputError: A value is out of its range.
    """

    users: Literal["history", "embedding"] = "history"
    """What stands for a user: the items they had, or a row of weights of their own."""

    dim: int = 256
    """Columns of the embedding tables, 1 to 4,096."""

    epochs: int = 20
    """Passes over the interactions that the schedule is laid out for."""

    patience: int = 4
    """With validation: stop after so many epochs without a better one. At least 1."""

    learning_rate: float = 0.06
    """Step size of Adagrad at the start; it falls linearly to zero at the end of the schedule."""

    reg: float = 0.01
    """L2 penalty, added to the gradient of a weight each time its row takes part."""

    reg_exponent: float = 0.3
    """gamma in ``degree^-gamma``, what the penalty of an item's row is multiplied by, scaled such
    that its mean over the interactions is ``reg``: rare items have less to hold against noise."""

    candidates: int = 16
    """Negatives are the best scored of so many items drawn uniformly; 1: uniform sampling."""

    choice_bias: float = 1.0
    """What biases are multiplied by where the best candidate is chosen; the loss has them whole.
    Below 1, negatives are chosen more by what the user likes than by what many like."""

    pool: int = 2048
    """Items that a group of users draws its candidates from."""

    history_exponent: float = 0.5
    """alpha in ``|H|^-alpha``, what the sum over a history of ``|H|`` items is scaled by."""

    history_power: float = 0.75
    """p in ``sign(y) |y|^p``, what each dimension of a summed history becomes: a multiple of 1/8.
    Many items that say the same count for less."""

    recency: float | None = None
    """e in ``(age + 1)^-e``, what the weight of an item within a history is multiplied by once all
    is learned, ``age`` being how many items came after it: a multiple of 1/8 from 0, where order
    means nothing, to 1. None: chosen on what is held out where times are known, else 0."""

    degree_exponent: float = 0.4
    """beta in ``degree^-beta``, the weight of an item within a history."""

    initial_norm: float = 0.3
    """Root mean square of the norms of the rows that training starts from."""

    initial_square: float = 1e-2
    """Adagrad's sum of squared gradients at the start, and of a weight that is grown."""

    sweeps: int = 8
    """Sweeps of the sparse NMF that gives the starting mask and values."""

    exploration: float = 0.5
    """rho: share of the sampled rows' weights that the first exploration step moves; it falls by a
    cosine to zero."""

    exploration_end: float = 0.75
    """Share of the schedule after which the mask stays as it is."""

    buffer_bytes: int = 32_000_000
    """Most bytes of the buffers for gradients at positions not stored, whatever ``dim`` is."""

    buffer_rows: int = 4096
    """Most rows of all tables that explore at a time."""

    value_bits: int = 6
    """Bits of a weight in the file, 1 to 8."""

    seed: int = 0
    """Same data, same config, same seed: same bytes."""

    def __post_init__(self) -> None:
        if self.users not in ("history", "embedding"):
            raise InputError(f"users must be 'history' or 'embedding', not {self.users!r}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name in _OPEN:
                continue
            whole = name in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise InputError(f"{name} must be {kind}, not {value!r}")
            if not low <= value <= high:
                limits = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
                raise InputError(f"{name} must be {limits}, not {value:g}")
        for name in ("history_power", "recency"):
            value = getattr(self, name)
            if value is not None and value * 8 % 1:
                raise InputError(f"{name} must be a multiple of 1/8, not {value:g}")

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON can hold it."""
        return asdict(self)


_RANGES: dict[str, tuple[float, float]] = {
    "dim": (1, MAX_DIM),
    "epochs": (1, 10_000),
    "patience": (1, math.inf),
    "learning_rate": (1e-6, 100.0),
    "reg": (0.0, 1e3),
    "reg_exponent": (0.0, 2.0),
    "candidates": (1, 4096),
    "choice_bias": (0.0, 1.0),
    "pool": (16, 1 << 20),
    "history_exponent": (0.0, 2.0),
    "history_power": (0.125, 1.0),
    "recency": (0.0, 1.0),
    "degree_exponent": (0.0, 2.0),
    "initial_norm": (1e-6, 1e3),
    "initial_square": (1e-9, 1e6),
    "sweeps": (1, 1000),
    "exploration": (0.0, 0.95),
    "exploration_end": (0.0, 1.0),
    "buffer_bytes": (1 << 14, math.inf),
    "buffer_rows": (1, math.inf),
    "value_bits": (1, 8),
    "seed": (0, (1 << 63) - 1),
}
_OPEN = {field.name for field in fields(Config) if str(field.type).endswith("None")}
_WHOLE = {field.name for field in fields(Config) if str(field.type).startswith("int")}
