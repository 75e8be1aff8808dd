"""The race: hyperparameters that the held-out part chooses, where formulas cannot know better.

The first trial has what the formulas say. Neighbours are then fitted in a few ways, and scored
alone and beside its parameters. Each later trial changes the best one so far in one thing, learns
anew, and is kept if it scores better. What comes next depends on the results alone, so that a race
can be resumed, and runs alike on any machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sparserec_np.training.config import Config
from sparserec_np.training.state import Chosen

COST = 2.5
"""A race takes at most so many times the epochs of a fit by formulas. Neighbours and their scores
come on top, which is how three times its seconds are kept."""

MOST_INTERACTIONS = 20_000_000
"""Above this no race is run: three times a fit is long then."""

SHARE, MORE = 0.3, 0.6
"""Shares of the size for neighbours beside factors to try; between them it matters little."""

NEIGHBOUR_FITS: tuple[Mapping[str, Any], ...] = tuple(
    {
        "neighbours": 1.0,
        "neighbour_reg": reg,
        "neighbour_degree_exponent": by_degree,
        "neighbour_user_exponent": by_user,
    }
    for reg, by_degree, by_user in (
        (10.0, 0.0, 0.5),
        (30.0, 0.0, 0.5),
        (30.0, 0.5, 0.0),
        (5.0, 0.5, 0.5),
    )
)
"""Hyperparameters of neighbours to compare: each is the best one on some data."""

_ALONE = 1.05  # neighbours alone have to be better by this factor
_NEAR = 1.12  # neighbours alone that are better by more than this factor are not caught up with
_BETTER = 1.01  # a trial that is better by less than this factor is not worth being different
# A best epoch so late in its schedule says that a longer one may be better, one so early a shorter.
_LATE, _EARLY = 0.85, 0.25


def best_of(tried: Sequence[Chosen]) -> Chosen:
    """Return the best trial, estimates apart.

    A later one has to be better by one percent, and neighbours alone by five percent more:
    rows of items serve new items and similar ones as well.
    """
    best, *others = tried
    for one in others:
        if not is_estimate(one) and _is_better(one, best):
            best = one
    return best


def is_estimate(trial: Chosen) -> bool:
    """Tell whether a result stands for a trial that has not been run.

    It is the score of neighbours beside the parameters of the first trial, which have the whole
    size for themselves.
    """
    return trial.epochs == 0 and trial.changes.get("neighbours") != 1


def races_neighbours(config: Config, given: Collection[str]) -> bool:
    """Tell whether the race may choose neighbours: nothing about them is given."""
    none = not any(name.startswith("neighbour") for name in given)
    return none and config.users == "history"


class Trial(NamedTuple):
    """The next trial of a race."""

    changes: dict[str, Any]
    """Hyperparameters that differ from those of the formulas."""
    epochs: int
    """Epochs at most."""


def next_trial(config: Config, given: Collection[str], tried: Sequence[Chosen]) -> Trial | None:
    """Choose what to try next.

    Args:
        config: What the formulas say and what is given.
        given: Names of what is given, which never changes.
        tried: Results so far, the first one by the formulas.

    Returns:
        The next trial; None: the race is over.
    """
    if not tried:
        return Trial({}, config.epochs)
    if config.neighbours == 1:
        return None  # there is nothing to learn
    best = best_of(tried)
    left = int(COST * (epochs_of(config, tried[0]) + tried[0].epochs)) - best.epochs
    left -= sum(epochs_of(config, one) for one in tried)
    beside = [dict(one.changes) for one in tried if is_estimate(one) and _is_better(one, best)]
    if beside and not _is_tried(beside[0], tried):
        return Trial(beside[0], max(left, best.epochs + config.patience))
    if best.changes.get("neighbours") == 1:  # which learns nothing: go on from the best that does
        alone, best = best, best_of([one for one in tried if one.changes.get("neighbours") != 1])
        if not _is_near(best, alone):
            return None
    needed = best.epochs + config.patience
    for change in _single_changes(config, given, best, tried):
        if change.get("epochs", needed) <= left and not _is_tried(change, tried):
            return Trial({**best.changes, **change}, left)
    return None


def epochs_of(config: Config, trial: Chosen) -> int:
    """Return the epochs that a trial has run for."""
    schedule = int(trial.changes.get("epochs", config.epochs))
    return min(schedule, trial.epochs + config.patience) if trial.epochs else 0


def _single_changes(
    config: Config, given: Collection[str], best: Chosen, tried: Sequence[Chosen]
) -> Iterator[dict[str, Any]]:
    """Yield changes of the best trial, those that are most often worth it first."""
    now = replace(config, **best.changes)
    if best.epochs < _EARLY * now.epochs:
        yield {"epochs": max(4, 3 * best.epochs)}
    if "degree_exponent" not in given and now.users == "history":
        yield {"degree_exponent": 0.0}
    if "reg" not in given:
        yield {"reg": round(config.reg / 3, 6)}
    for one in tried:
        if now.neighbours == 0 and is_estimate(one) and _is_better(one, tried[0]):
            yield dict(one.changes)
    if "reg" not in given:
        yield {"reg": round(config.reg / 10 if now.reg < config.reg else 3 * config.reg, 6)}
    if best.epochs > _LATE * now.epochs:
        yield {"epochs": 2 * now.epochs}
    if now.neighbours == SHARE and "neighbours" not in given:
        yield {"neighbours": MORE}


def _is_tried(change: Mapping[str, Any], tried: Sequence[Chosen]) -> bool:
    return any(change.items() <= one.changes.items() for one in tried if not is_estimate(one))


def _is_near(one: Chosen, other: Chosen) -> bool:
    return _NEAR * (one.ndcg or 0.0) > (other.ndcg or 0.0)


def _is_better(one: Chosen, other: Chosen) -> bool:
    return _worth(one) > _BETTER * _worth(other)


def _worth(trial: Chosen) -> float:
    return (trial.ndcg or 0.0) / (_ALONE if trial.changes.get("neighbours") == 1 else 1.0)
