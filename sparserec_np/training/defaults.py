"""Hyperparameters that follow from plain facts of the data.

The rules were found on the validation parts of four data sets, from six interactions a user
(amazon-sports) to a hundred (MovieLens-1M): one formula for each value, none for a data set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sparserec_np.data import Interactions
from sparserec_np.training.config import Config
from sparserec_np.utils.log import logger

_log = logger(__name__)


def config_for(interactions: Interactions, given: Mapping[str, Any]) -> Config:
    """Choose what is not given.

    Args:
        interactions: What will be learned from; at least one.
        given: Fields of the config that are set already.

    Returns:
        The config of the fit.

    Raises:
        InputError: A given value is out of its range.
    """
    history = given.get("users", Config.users) == "history"
    users = max(1, int((interactions.user_degrees() > 0).sum()))
    items = max(1, int((interactions.item_degrees() > 0).sum()))
    a_user, an_item = interactions.nnz / users, interactions.nnz / items
    chosen = {
        "dim": _dim(interactions.n_items, history),
        "learning_rate": 0.07 if history else 0.1,
        "reg": _reg(an_item, history),
        "candidates": _candidates(items, a_user, history),
        "history_exponent": _history_exponent(a_user),
        "degree_exponent": _degree_exponent(a_user),
        "initial_norm": 0.3 if history else 0.7,
        "pool": 2048 if history else 1024,
        "buffer_rows": 4096 if history else 512,
    }
    kept = {name: value for name, value in chosen.items() if name not in given}
    _log.debug("chosen by facts of the data: %s", _listed(kept))
    if given:
        _log.debug("given: %s", _listed(given))
    config = Config(**{**chosen, **given})
    if "choice_bias" in given:
        return config
    return replace(config, choice_bias=_choice_bias(config.candidates, history))


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _dim(n_items: int, history: bool) -> int:
    """Choose a power of two near a twelfth of the items, from 64 to 2,048.

    Wide and sparse beats narrow and dense at the same number of weights, until rows have too few
    dimensions in common: earlier for user rows of a few weights than for whole histories.
    """
    exponent = round(math.log2(max(n_items, 1) / 12))
    dim = 1 << min(max(exponent, 6), 11)
    return dim if history else max(64, dim // 2)


def _reg(an_item: float, history: bool) -> float:
    """Penalise more where items have few interactions: there is less to hold against noise."""
    reg = min(max(0.2 / an_item, 1e-3), 0.03)
    return round(reg if history else 0.1 * reg, 6)


def _candidates(items: int, a_user: float, history: bool) -> int:
    """Draw so many that about a third of one of them is something that the user would have taken.

    The hardest of more candidates is ever more often no negative at all: so fewer than that where
    there is little to tell the two apart by, few items or short histories. In a large catalogue
    most of a few candidates are far from anything that the user would take: so more there.
    """
    apart = 0.31 * (items * a_user) ** (1 / 3) * max(1.0, items / 20_000)
    wanted = min(items / (3 * a_user), apart)
    return int(min(max(wanted, 2), 64 if history else 16))


def _choice_bias(candidates: int, history: bool) -> float:
    """Count biases for less in the choice of a negative where it is the hardest of many.

    Else popular items would be most of what is chosen, and be pushed below where they belong.
    """
    return round(min(1.0, 20 / candidates), 3) if history else 1.0


def _degree_exponent(a_user: float) -> float:
    """Weigh popular items less in short histories: there is little else to tell users apart by."""
    return round(min(max(0.45 - 0.15 * math.log2(a_user / 25), 0.2), 0.45), 3)


def _history_exponent(a_user: float) -> float:
    """Scale long histories down by more than the square root of their length."""
    return round(min(max(0.5 + 0.1 * math.log2(a_user / 25), 0.5), 0.7), 3)
