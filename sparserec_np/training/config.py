"""Hyperparameters: each with its default, range and meaning, said once.

The estimator's arguments, the options of the command line and the names in a file of
hyperparameters all follow from the fields of :class:`Config`. The defaults here are those for data
of middling size; :func:`sparserec_np.training.defaults.config_for` fits them to the data at hand.
This module needs the standard library alone, so that the command line may read it for ``--help``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, Literal

from sparserec_np.errors import InputError

MAX_DIM = 4096


def _hyperparameter(default: Any, low: float, high: float, doc: str, **more: Any) -> Any:
    """Declare a number: ``eighths`` if it is a multiple of 1/8, ``option`` if ``fit`` offers it."""
    return field(default=default, metadata={"range": (low, high), "doc": doc, **more})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hyperparameters of a fit. Values are checked when the object is made.

    Raises:
        InputError: A value is out of its range.
    """

    users: Literal["history", "embedding"] = field(
        default="history",
        metadata={
            "doc": "The user model. ``history``: a user is the items of the history, so anyone is "
            "served and nothing personal is in the file. ``embedding``: each user of the training "
            "data has a row of weights.",
            "option": "The user model: their histories, or a row of weights each.",
        },
    )
    dim: int = _hyperparameter(
        256, 1, MAX_DIM, "Columns of the embeddings.", option="Columns of the embeddings."
    )
    epochs: int = _hyperparameter(
        20,
        1,
        10_000,
        "Passes over the interactions that the schedule is laid out for.",
        option="Passes over the data; else found by itself.",
    )
    patience: int = _hyperparameter(
        4, 1, math.inf, "With validation: stop after so many epochs without a better one."
    )
    learning_rate: float = _hyperparameter(
        0.06,
        1e-6,
        100.0,
        "Step size of Adagrad at the start; it falls linearly to zero at the end of the schedule.",
        option="Step size of Adagrad.",
    )
    reg: float = _hyperparameter(
        0.01,
        0.0,
        1e3,
        "L2 penalty, added to the gradient of a weight each time its row takes part.",
        option="L2 penalty on the weights.",
    )
    reg_exponent: float = _hyperparameter(
        0.3,
        0.0,
        2.0,
        "gamma in ``degree^-gamma``, which multiplies the penalty of an item's row, scaled such "
        "that its mean over the interactions is ``reg``: rare items have less to hold against "
        "noise.",
    )
    candidates: int = _hyperparameter(
        16,
        1,
        4096,
        "Negatives are the best scored of so many items drawn uniformly; 1: uniform sampling.",
        option="Negatives to choose the hardest from.",
    )
    choice_bias: float = _hyperparameter(
        1.0,
        0.0,
        1.0,
        "Factor of the biases where the best candidate is chosen; the loss has them whole. Below "
        "1, negatives are chosen more by what the user likes than by what many like.",
    )
    pool: int = _hyperparameter(
        2048, 16, 1 << 20, "Items that a group of users draws its candidates from."
    )
    history_exponent: float = _hyperparameter(
        0.5,
        0.0,
        2.0,
        "alpha in ``|H|^-alpha``, which scales the sum over a history of ``|H|`` items.",
    )
    history_power: float = _hyperparameter(
        0.75,
        0.125,
        1.0,
        "p in the signed power ``sign(y) |y|^p`` of each dimension of a summed history: many items "
        "that say the same count for less.",
        eighths=True,
    )
    recency: float | None = _hyperparameter(
        None,
        0.0,
        1.0,
        "e in ``(age + 1)^-e``, which multiplies the weight of an item within a history once all "
        "is learned, ``age`` being how many items came after it; 0: order means nothing. None: "
        "chosen on a held-out part where times are known, else 0.",
        eighths=True,
        option="How much recent items count for more, 0 to 1; else chosen where times are known.",
    )
    degree_exponent: float = _hyperparameter(
        0.4, 0.0, 2.0, "beta in ``degree^-beta``, the weight of an item within a history."
    )
    neighbours: float = _hyperparameter(
        0.0,
        0.0,
        1.0,
        "Share of the model's size for item-item neighbours: what each item of a history adds to "
        "the scores of others (``history`` only). 0: there are none; 1: there is nothing else.",
        option="Share of the size for item-item neighbours, 0 to 1.",
    )
    neighbour_scale: float | None = _hyperparameter(
        None,
        1e-6,
        1e6,
        "g in ``score = factors + g * neighbours``. None: chosen on a held-out part, else 4.",
    )
    neighbour_reg: float = _hyperparameter(
        10.0,
        1e-6,
        1e6,
        "L2 penalty of the regressions that the neighbours come from.",
    )
    neighbour_user_exponent: float = _hyperparameter(
        0.5,
        0.0,
        2.0,
        "w in ``n^-w``, the weight in these regressions of a user of n items.",
    )
    neighbour_degree_exponent: float = _hyperparameter(
        0.0,
        0.0,
        2.0,
        "a in ``shared / degree^a``: an item is regressed on those that it has most of by this, "
        "``shared`` being the weighted number of users of both.",
    )
    neighbour_candidates: int = _hyperparameter(
        50, 1, 1000, "Items that an item is regressed on at first."
    )
    initial_norm: float = _hyperparameter(
        0.3, 1e-6, 1e3, "Root mean square of the norms of the rows that training starts from."
    )
    initial_square: float = _hyperparameter(
        1e-2,
        1e-9,
        1e6,
        "Adagrad's sum of squared gradients at the start, and of a weight that is grown.",
    )
    sweeps: int = _hyperparameter(
        8, 1, 1000, "Sweeps of the sparse NMF that gives the starting mask and values."
    )
    exploration: float = _hyperparameter(
        0.5,
        0.0,
        0.95,
        "rho: share of the sampled rows' weights that the first exploration step moves; it falls "
        "by a cosine to zero.",
    )
    exploration_end: float = _hyperparameter(
        0.75, 0.0, 1.0, "Share of the schedule after which the mask stays as it is."
    )
    buffer_bytes: int = _hyperparameter(
        32_000_000,
        1 << 14,
        math.inf,
        "Most bytes of the gradient accumulators, whatever ``dim`` is.",
    )
    buffer_rows: int = _hyperparameter(
        4096, 1, math.inf, "Most rows of all embeddings that explore at a time."
    )
    value_bits: int = _hyperparameter(6, 1, 8, "Bits of a weight in the file.")
    seed: int = _hyperparameter(
        0,
        0,
        (1 << 63) - 1,
        "Same data, same hyperparameters, same seed: same bytes.",
        option="Same seed, same file.",
    )

    def __post_init__(self) -> None:
        if self.users not in ("history", "embedding"):
            raise InputError(f"users must be 'history' or 'embedding', not {self.users!r}")
        for one in fields(self):
            value = getattr(self, one.name)
            if "range" in one.metadata and not (value is None and one.default is None):
                _check(one, value)
        if self.neighbours > 0 and self.users != "history":
            raise InputError("neighbours go with users='history': leave out one of the two")

    def to_dict(self) -> dict[str, Any]:
        """Return the hyperparameters as JSON can hold them; those of no use are left out."""
        fields = asdict(self)
        if self.neighbours > 0:
            return fields
        return {name: value for name, value in fields.items() if not name.startswith("neighbour")}


def _check(one: Field[Any], value: Any) -> None:
    whole = isinstance(one.default, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        kind = "a whole number" if whole else "a number"
        raise InputError(f"{one.name} must be {kind}, not {value!r}")
    low, high = one.metadata["range"]
    if not low <= value <= high:
        limits = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise InputError(f"{one.name} must be {limits}, not {str(value)[:40]}")
    if one.metadata.get("eighths") and value * 8 % 1:
        raise InputError(f"{one.name} must be a multiple of 1/8, not {value:g}")


HYPERPARAMETERS: Mapping[str, Field[Any]] = {one.name: one for one in fields(Config)}
"""The fields of :class:`Config` by name, with their metadata ``range``, ``doc`` and ``option``."""


def described(name: str, indent: str) -> str:
    """Return an entry of a docstring's ``Args`` or ``Attributes``: name, meaning, range."""
    from textwrap import fill

    metadata = HYPERPARAMETERS[name].metadata
    text = metadata["doc"]
    if "range" in metadata:
        low, high = metadata["range"]
        limits = f"{low:,.10g} to {high:,.10g}" if math.isfinite(high) else f"at least {low:,.10g}"
        text += f" {limits[0].upper()}{limits[1:]}"
        text += ", a multiple of 1/8." if metadata.get("eighths") else "."
    return fill(f"{name}: {text}", 100, initial_indent=indent, subsequent_indent=indent + "    ")


Config.__doc__ = f"{Config.__doc__}\n    Attributes:\n" + "\n".join(
    described(name, " " * 8) for name in HYPERPARAMETERS
)
