"""New items for a model that stays as it is: their rows are predicted from what they are.

The file holds rows only, so that every reader serves the new items. All other rows, biases,
weights and neighbours keep their values to the bit: new ones take values from the same codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from sparserec_np.errors import InputError
from sparserec_np.features.item_features import ItemFeatures, read_features
from sparserec_np.features.matrix import feature_matrix
from sparserec_np.features.regression import (
    ROWS_AT_A_TIME,
    SHRINKAGE,
    Targets,
    best_items,
    largest,
    measure,
    nearest_items,
    predict,
)
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.layout import UsersLayout
from sparserec_np.modelfile.quantization import assign
from sparserec_np.modelfile.reader import ModelFile, open_model
from sparserec_np.modelfile.writer import encode
from sparserec_np.runtime.model import checked_source
from sparserec_np.runtime.signed_power import signed_power
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.utils.log import logger
from sparserec_np.vocabulary import Ids

_log = logger(__name__)

FACTS_ROOM = 128
"""Bytes of a file, at most, that say how items were added."""

FEWEST_KNOWN = 10
"""Items with features that a model must know for anything to be learned from them."""

_USERS = 512  # that held-out items are ranked for
_HISTORY = 20  # items that each of them has
_FEW = 0.1  # share of the model's items below which a warning says that few have features


class Extension(NamedTuple):
    """A model with new items."""

    file: bytes
    """The bytes of the model file."""
    added: int
    """Number of new items."""
    found: float
    """Share of the held-out items that suit a user best that rows from features find."""
    by_chance: float
    """Share that chance finds."""

    def summary(self) -> dict[str, Any]:
        """Return all but the bytes, as JSON can hold it."""
        found, by_chance = round(self.found, 4), round(self.by_chance, 4)
        return {"added": self.added, "found": found, "by_chance": by_chance}

    def __str__(self) -> str:
        return (
            f"{self.added:,} new items: rows from features find {self.found:.0%} of the held-out "
            f"items that suit best, chance {self.by_chance:.0%}"
        )


def extend(
    model: Any,
    features: Any,
    *,
    item_col: str | None = None,
    columns: Sequence[str] | None = None,
) -> Extension:
    """Add the items of a table that a model lacks, learned from the rows of those that it has.

    No interactions are needed. Ids, rows and answers of all other items stay as they are, to the
    bit. A new row has as many weights as others have on average.

    Args:
        model: Path or bytes of a model file, or a fitted :class:`sparserec_np.SparseRec`.
        features: What the items are: a frame of pandas, polars, Arrow or others, or a file, as
            ``"movies.csv"`` or ``"movies.csv:movieId,genres,title"``. Columns are categories (also
            several in a cell, as ``Action|Crime``, or as a list), numbers, or words.
        item_col: Column of the item ids; None: found by its name.
        columns: Columns of features; None: all others.

    Returns:
        The bytes of the extended model, and how well predicted rows find held-out items. Where the
        model has titles, a column of titles gives those of the new items.

    Raises:
        ModelFileError: The model is no valid one.
        InputError: The features cannot be used; the message says why.
        MissingExtraError: scikit-learn, SciPy or a reader is not installed.
    """
    source = model.to_bytes() if hasattr(model, "to_bytes") else checked_source(model)
    table = read_features(features, item_col=item_col, columns=columns)
    file = open_model(source, verify=True)
    return extend_file(file, describe(table, file.item_ids()))


class Described(NamedTuple):
    """Items and their features, beside the items of a model."""

    ids: Ids
    """Their ids."""
    known: NDArray[np.int64]
    """Their numbers in the model, -1 for new ones; of shape [n]."""
    matrix: csr_matrix
    """Features, of shape [n, p]."""
    titles: Mapping[Any, str]
    """Titles by id, where a column has them."""

    @property
    def new_ids(self) -> Ids:
        """Ids that the model lacks."""
        return self.ids.select(np.flatnonzero(self.known < 0))


def describe(features: ItemFeatures, item_ids: Ids) -> Described:
    """Put features beside the items of a model.

    Args:
        features: Features of old and new items.
        item_ids: Ids of the model.

    Raises:
        InputError: The features cannot be used; the message says why.
    """
    ids, rows = features.ids_as(item_ids)
    columns = {
        name: [features.columns[name][row] for row in rows] for name in sorted(features.columns)
    }
    known = ids.positions_in(item_ids)
    _check_overlap(ids, known, item_ids)
    matrix = feature_matrix(ItemFeatures((), columns), known >= 0)
    return Described(ids, known, matrix, features.titles(item_ids))


def extend_file(file: ModelFile, described: Described) -> Extension:
    """Add items to an opened model; see :func:`extend`.

    The result does not depend on the number of threads. Memory is ``O(model + features + p^2 +
    256 * dim)``, with p at most some 2,000.
    """
    from threadpoolctl import threadpool_limits

    old = file.arrays()
    is_known = described.known >= 0
    at = described.known[is_known]
    learned, fresh = described.matrix[is_known], described.matrix[~is_known]
    entries = np.diff(old.items.indptr)
    if old.neighbours is not None:
        entries = entries + np.bincount(old.neighbours.items, minlength=len(entries))
    popularity = np.log1p(entries).astype(np.float32)
    targets = Targets(_matrix(old.items), old.item_bias, popularity).take(at)
    width = max(len(old.items.values) // len(old.items), 1)
    with threadpool_limits(1):
        users = _users(old, targets, at)
        found, by_chance, scale = measure(learned, targets, width, users, np.random.default_rng(0))
        if not fresh.shape[0]:
            return Extension(file.to_bytes(), 0, found, by_chance)
        near = nearest_items(fresh, learned)
        predicted = predict(learned, targets, fresh, near, width, scale)
    near = csr_matrix((near.data, at[near.indices], near.indptr), (near.shape[0], len(old.items)))
    arrays = _with_items(old, described.new_ids, predicted, described.titles, near)
    arrays = replace(arrays, facts=_facts(old, fresh.shape[0], found, by_chance))
    side = file.layout.user_side
    history_bits = 1 if isinstance(side, UsersLayout) else max(side.weights.bits, 1)
    data = encode(arrays, bias_bits=file.layout.bias.bits, history_bits=history_bits)
    return Extension(data, fresh.shape[0], found, by_chance)


def _check_overlap(ids: Ids, known: NDArray[np.int64], item_ids: Ids) -> None:
    n_known, n_items = int(np.count_nonzero(known >= 0)), len(item_ids)
    if n_known < min(FEWEST_KNOWN, n_items) or n_known < 2:
        theirs, ours = ids.take([0])[0], item_ids.take([0])[0]
        raise InputError(
            f"the item features are of {n_known:,} items that the model knows, too few to learn "
            f"from: their ids are such as {theirs!r}, those of the model such as {ours!r}; give "
            "features of old and new items, and name the column of the ids"
        )
    if n_known < _FEW * n_items:
        _log.warning(
            "only %s of the %s items of the model have features", f"{n_known:,}", f"{n_items:,}"
        )


def _facts(old: ModelArrays, added: int, found: float, by_chance: float) -> dict[str, Any]:
    return {
        **old.facts,
        "items_by_features": int(old.facts.get("items_by_features", 0)) + added,
        "features_find": round(found, 4),
        "chance_finds": round(by_chance, 4),
    }


def _matrix(table: Table) -> csr_matrix:
    return csr_matrix(
        (table.values, table.dims.astype(np.int32), table.indptr), (len(table), table.dim)
    )


def _users(
    old: ModelArrays, targets: Targets, at: NDArray[np.int64]
) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
    """Return what makes user vectors for :func:`measure`.

    An embedding model has users. For a history model a user has twenty items, those of the highest
    scores for somebody who has one item.

    Args:
        old: The model.
        targets: Rows and biases of the known items.
        at: Their numbers in the model.
    """
    weights = None if old.history_weights is None else old.history_weights[at, None]

    def vectors(histories: NDArray[np.int64]) -> NDArray[Any]:
        sums = np.zeros((len(histories), old.dim))
        for items in histories.T:
            rows = targets.rows[items].toarray()
            sums += rows if weights is None else rows * weights[items]
        powered = signed_power(sums.ravel(), old.history_power).reshape(sums.shape)
        return np.asarray(powered * histories.shape[1] ** -old.history_exponent)

    def users(items: NDArray[np.int64]) -> NDArray[Any]:
        generator = np.random.default_rng(1)
        if old.user_rows is not None:
            rows = _matrix(old.user_rows)
            return np.asarray(rows[generator.permutation(rows.shape[0])[:_USERS]].toarray())
        some = generator.permutation(items)[:_USERS, None]
        k = min(_HISTORY, len(items))
        return vectors(items[best_items(vectors(some), targets.take(items), k)])

    return users


def _with_items(
    old: ModelArrays,
    ids: Any,
    new: Targets,
    titles: Mapping[Any, str],
    near: csr_matrix,
) -> ModelArrays:
    """Put new items among the old ones, which keep their order.

    Args:
        old: The model.
        ids: Vocabulary of the new items.
        new: Their rows and biases.
        titles: Titles by id.
        near: Weights of their nearest known items, of shape [n, n_items].
    """
    every = old.item_ids.union(ids)
    places = np.concatenate((old.item_ids.positions_in(every), ids.positions_in(every)))
    order = np.argsort(places)  # of the old items followed by the new ones
    rows = vstack([_matrix(old.items), _snapped(new.rows, old.items.values)], format="csr")[order]
    rows.sort_indices()
    bias = np.concatenate((old.item_bias, _nearest_of(new.bias, old.item_bias)))
    weights = None
    if old.history_weights is not None:
        median = np.full(len(ids), np.median(old.history_weights), np.float32)
        fill = _nearest_of(median, old.history_weights)
        weights = np.concatenate((old.history_weights, fill))[order]
    labels = None
    if old.labels is not None:
        own = (titles.get(id_, "") for id_ in ids.take(np.arange(len(ids))))
        both = [*old.labels, *own]
        labels = [both[place] for place in order.tolist()]
    return replace(
        old,
        item_ids=every,
        items=Table(
            rows.indptr.astype(np.int64), rows.indices.astype(np.uint16), rows.data, old.dim
        ),
        item_bias=bias[order],
        history_weights=weights,
        labels=labels,
        neighbours=None
        if old.neighbours is None
        else _with_neighbours(old.neighbours, new, near, places),
    )


def _nearest_of(values: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round values to those that a model has, so that its codebook stays."""
    known = np.unique(levels)
    return known[assign(values, known)]


def _snapped(rows: csr_matrix, levels: NDArray[np.float32]) -> csr_matrix:
    """Round weights to those that a model has, without those that are nearer to 0."""
    if not levels.size:
        return csr_matrix(rows.shape, dtype=np.float32)
    found = rows.copy()
    least = np.abs(levels).min() / 2
    found.data = np.where(np.abs(rows.data) < least, 0, _nearest_of(rows.data, levels))
    found.eliminate_zeros()
    return found


def _with_neighbours(
    old: Neighbours, new: Targets, near: csr_matrix, places: NDArray[np.int64]
) -> Neighbours:
    """Give new items neighbours, half of them each way, all of them as many as others have.

    A new item adds what its nearest items add. To its score add those that add to the scores of
    its nearest items, and these items themselves; how much goes with its popularity. No entry is
    above those of old items, so that nothing else changes.
    """
    from sklearn.preprocessing import normalize

    n, n_new = len(old), near.shape[0]
    matrix = csr_matrix((old.values, old.items, old.indptr), (n, n))
    into = matrix.T.tocsr()
    counts = np.diff(into.indptr) + 1
    popular = np.exp(new.popularity[:, None])
    norms = SHRINKAGE * np.sqrt(into.multiply(into).sum(axis=1)).mean() / counts.mean() * popular
    most = len(old.values) * n_new // (2 * n)
    each = most // n_new
    least = min(each, 1)
    widths = least + ((most - least * n_new) * popular[:, 0] / popular.sum()).astype(np.int64)
    found = []
    for first in range(0, n_new, ROWS_AT_A_TIME):
        some = slice(first, first + ROWS_AT_A_TIME)
        adds = largest(near[some] @ matrix, each).tocoo()
        rows = normalize(near[some] @ into)
        rows = rows + normalize(near[some].multiply(np.sqrt(counts)).tocsr())
        takes = normalize(largest(rows, widths[some])).multiply(norms[some]).tocoo()
        found.append((adds.row + first + n, adds.col, adds.data))
        found.append((takes.col, takes.row + first + n, takes.data))
    sources, targets, values = (np.concatenate(part) for part in zip(*found, strict=True))
    least = np.abs(old.values).min() / 2 if len(old.values) else np.inf
    kept = np.abs(values) >= least
    old_sources = np.repeat(np.arange(n), np.diff(old.indptr))
    sources = places[np.r_[old_sources, sources[kept]]]
    targets = places[np.r_[old.items, targets[kept]]]
    values = np.r_[old.values, _nearest_of(values[kept], old.values)] if kept.any() else old.values
    order = np.lexsort((targets, sources))
    return Neighbours(
        indptr_from_counts(np.bincount(sources, minlength=len(places))),
        targets[order].astype(np.int32),
        values[order].astype(np.float32),
    )
