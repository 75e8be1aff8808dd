"""Hold-out splits: interactions to learn from, and interactions to be predicted.

Both parts keep the vocabularies of the whole, so numbers of users and items mean the same in all
three. Every user keeps at least one interaction to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparserec_np.data.from_any import row_ids
from sparserec_np.data.from_arrays import from_pairs
from sparserec_np.data.interactions import Interactions
from sparserec_np.errors import InputError
from sparserec_np.utils.csr import blocks_of_rows, indptr_from_counts

# Interactions sorted at a time: bounds the scratch memory to some 60 bytes each, 6 MB in all, for
# data of any size (a user with more interactions than this is a block of its own).
BLOCK = 100_000

Keys: TypeAlias = "Callable[[int, int], npt.NDArray[np.float64]]"


@dataclass(frozen=True, kw_only=True)
class InteractionSplit:
    """Splitter for scikit-learn's searches, over interactions: ``GridSearchCV(..., cv=...)``.

    Each split is a :func:`hold_out` of its own: every user stays in the training part, and rows
    that repeat a pair of user and item stay together.

    Raises:
        InputError: A value is out of its range.
    """

    fraction: float = 0.2
    """Expected share of each user's interactions to hold out, in (0, 1)."""

    n_splits: int = 1
    """Number of splits, each drawn anew; at least 1."""

    seed: int = 0
    """Same seed, same splits."""

    def __post_init__(self) -> None:
        _fraction(self.fraction)
        if self.n_splits < 1:
            raise InputError(f"n_splits must be at least 1, not {self.n_splits}")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Args:
            X: Not used, like ``y`` and ``groups``; scikit-learn hands them over.
            y: See ``X``.
            groups: See ``X``.

        Returns:
            ``n_splits``.
        """
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Yield the rows of each training and test part.

        Args:
            X: One interaction a row: an array of two columns, users and items, or a data frame.
            y: Not used, like ``groups``; scikit-learn hands them over.
            groups: See ``y``.

        Yields:
            ``(train, test)``: ascending row numbers, intp array of shape [n] each; together they
            hold every row of ``X`` once.

        Raises:
            InputError: ``X`` is no table of interactions.
        """
        users, items = row_ids(X)
        whole = from_pairs(users, items)
        row_keys = whole.user_ids.locate(users) * whole.n_items + whole.item_ids.locate(items)
        for seed in np.random.default_rng(self.seed).integers(1 << 62, size=self.n_splits):
            held = hold_out(whole, fraction=self.fraction, seed=int(seed))[1]
            held_keys = held.user_of_entry().astype(np.int64) * whole.n_items + held.items
            in_test = np.isin(row_keys, held_keys)
            yield np.flatnonzero(~in_test), np.flatnonzero(in_test)


def hold_out(
    interactions: Interactions,
    *,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    latest: bool | None = False,
) -> tuple[Interactions, Interactions]:
    """Hold out some interactions of each user: chosen at random, or the latest.

    Args:
        interactions: The interactions to split.
        fraction: Expected share of each user's interactions to hold out, in (0, 1). A count that is
            not whole is rounded up or down at random such that the share is met on average: with
            0.1 a user with six interactions gives one away in six of ten cases.
        n: Exact number to hold out of each user. Exactly one of ``fraction`` and ``n`` is given.
        seed: Same seed, same split.
        latest: True holds out the latest, which needs times; False any; None the latest where times
            are known, else any. Of equal times chance decides, so that times that say nothing do no
            harm.

    Returns:
        ``(train, held)``. Together they hold every interaction once; a user gives away at most all
        but one of its interactions, so a user with a single one gives none.

    Raises:
        InputError: Neither or both of ``fraction`` and ``n`` are given, one is out of range, or
            there are no times to tell the latest by.
    """
    return hold_out_of_shard(interactions, fraction=fraction, n=n, seed=seed, latest=latest)


def hold_out_of_shard(
    shard: Interactions,
    *,
    fraction: float | None = None,
    n: int | None = None,
    seed: int = 0,
    latest: bool | None = False,
    users_before: int = 0,
    interactions_before: int = 0,
) -> tuple[Interactions, Interactions]:
    """Hold out the same of some consecutive users as :func:`hold_out` does among all users.

    Args:
        shard: The interactions of these users.
        fraction: See :func:`hold_out`.
        n: See :func:`hold_out`.
        seed: See :func:`hold_out`.
        latest: See :func:`hold_out`.
        users_before: Number of users before these.
        interactions_before: Number of interactions of the users before these.

    Returns:
        ``(train, held)``, as :func:`hold_out` returns them.

    Raises:
        InputError: See :func:`hold_out`.
    """
    if (fraction is None) == (n is None):
        raise InputError("hold_out needs either fraction or n, and not both")
    rounding, order = np.random.default_rng(seed).spawn(2)
    for rng, drawn in ((rounding, users_before), (order, interactions_before)):
        rng.bit_generator.advance(drawn)  # type: ignore[attr-defined]
    if fraction is None:
        counts = np.full(shard.n_users, _count(n))
    else:
        share = shard.user_degrees() * _fraction(fraction)
        counts = np.floor(share + rounding.random(shard.n_users)).astype(np.int64)
    if not (shard.has_times if latest is None else latest):
        return _split(shard, counts, lambda start, stop: order.random(stop - start))
    latest_first = _latest_first(shard)

    def ranks(start: int, stop: int) -> npt.NDArray[np.float64]:
        keys = np.empty(stop - start)
        by_time_then_chance = np.lexsort((order.random(stop - start), latest_first(start, stop)))
        keys[by_time_then_chance] = np.arange(stop - start)
        return keys

    return _split(shard, counts, ranks)


def leave_last_out(interactions: Interactions, *, n: int = 1) -> tuple[Interactions, Interactions]:
    """Hold out the latest interactions of each user.

    Args:
        interactions: The interactions to split, with times.
        n: Number to hold out of each user. Of equal times the larger item number counts as later.

    Returns:
        ``(train, held)``, as :func:`hold_out` returns them.

    Raises:
        InputError: There are no times, one of them is NaN, or ``n`` is not positive.
    """
    counts = np.full(interactions.n_users, _count(n))
    return _split(interactions, counts, _latest_first(interactions))


def _latest_first(interactions: Interactions) -> Keys:
    times = interactions.times
    if times is None:
        raise InputError(
            "to hold out the latest needs to know when each interaction happened: read with times"
        )
    if np.isnan(times).any():
        raise InputError(
            "to hold out the latest needs a time for every interaction: some have none"
        )
    return lambda start, stop: -times[start:stop]


def _fraction(fraction: float) -> float:
    if not 0 < fraction < 1:
        raise InputError(f"fraction must be between 0 and 1, not {fraction}")
    return fraction


def _count(n: int | None) -> int:
    if n is None or n < 1:
        raise InputError(f"n must be at least 1, not {n}")
    return n


def _split(
    interactions: Interactions, counts: npt.NDArray[np.int64], keys: Keys
) -> tuple[Interactions, Interactions]:
    """Hold out the ``counts[u]`` entries of each user u that have the smallest keys.

    Of equal keys the later entry, which has the larger item number, is held out first.
    ``keys(start, stop)`` returns the keys of the entries in that range of ``interactions.items``;
    it is called once for each block of users, in order.
    """
    degrees = interactions.user_degrees()
    counts = np.minimum(counts, np.maximum(degrees - 1, 0))
    held = np.zeros(interactions.nnz, dtype=np.bool_)
    for first, last in blocks_of_rows(interactions.indptr, BLOCK):
        start, stop = int(interactions.indptr[first]), int(interactions.indptr[last])
        lengths = degrees[first:last]
        users = np.repeat(np.arange(last - first), lengths)
        position = np.arange(stop - start)
        order = np.lexsort((-position, keys(start, stop), users))
        # Sorting moves entries within the row of a user only: there they ascend by key.
        rank = position - np.repeat(interactions.indptr[first:last] - start, lengths)
        held[start + order[rank < np.repeat(counts[first:last], lengths)]] = True
    held_before = indptr_from_counts(counts)
    train = _part(interactions, ~held, interactions.indptr - held_before)
    return train, _part(interactions, held, held_before)


def _part(
    interactions: Interactions, chosen: npt.NDArray[np.bool_], indptr: npt.NDArray[np.int64]
) -> Interactions:
    times = interactions.times
    return replace(
        interactions,
        indptr=indptr,
        items=interactions.items[chosen],
        times=None if times is None else times[chosen],
        report=None,
    )
