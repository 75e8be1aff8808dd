"""Plain-NumPy twins of the compiled kernels: dense, float64, one thing at a time.

Test modules compare the kernels with them. They follow the documented definitions, not the loops of
the kernels; random bits alone have to be drawn in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.kernels.bpr import GROUP_POSITIVES
from sparserec_np.training.kernels.negatives import DRAWS
from sparserec_np.utils.parallel import LANES
from sparserec_np.vocabulary import from_values

Floats = NDArray[np.float64]

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


# Data


def as_interactions(histories: list[list[int]], n_items: int) -> Interactions:
    """Interactions of users 0, 1, ... with items 0 to ``n_items - 1``, some of them nobody's."""
    return Interactions(
        indptr=np.cumsum([0, *map(len, histories)], dtype=np.int64),
        items=np.array([i for had in histories for i in sorted(had)], np.int32),
        user_ids=from_values(range(len(histories))),
        item_ids=from_values(range(n_items)),
    )


def as_histories(interactions: Interactions) -> list[list[int]]:
    return [part.tolist() for part in np.split(interactions.items, interactions.indptr[1:-1])]


def random_interactions(seed: int, n_users: int, n_items: int, mean: float) -> Interactions:
    """Users of two to ``2 * mean - 2`` items, some items far more popular than others."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(3, n_items + 3)
    popularity /= popularity.sum()
    histories = []
    for _ in range(n_users):
        n = min(n_items, int(rng.integers(2, max(3, int(2 * mean) - 1))))
        histories.append(rng.choice(n_items, n, replace=False, p=popularity).tolist())
    return as_interactions(histories, n_items)


def checkerboard(n_users: int = 80, n_items: int = 30, each: int = 8) -> Interactions:
    """Two tastes that share nothing: even users have ``each`` even items, odd users odd ones."""
    rng = np.random.default_rng(5)
    halves = [np.arange(0, n_items, 2), np.arange(1, n_items, 2)]
    return as_interactions(
        [rng.choice(halves[u % 2], each, replace=False).tolist() for u in range(n_users)], n_items
    )


def random_rows(rng: np.random.Generator, n_rows: int, dim: int, most: int) -> Embeddings:
    """A table with one to ``most`` weights a row."""
    dims = [
        np.sort(rng.choice(dim, n, replace=False))
        for n in rng.integers(1, min(dim, most) + 1, n_rows)
    ]
    indptr = np.cumsum([0, *map(len, dims)], dtype=np.int64)
    values = rng.normal(size=indptr[-1]).astype(np.float32)
    squares = rng.uniform(0.01, 1.0, indptr[-1]).astype(np.float32)
    return Embeddings(indptr, np.concatenate(dims).astype(np.uint16), values, squares)


def dense(rows: Embeddings, dim: int, what: str = "values") -> Floats:
    """The values (or squares) of a table as an array of shape [n, dim]."""
    out = np.zeros((rows.indptr.size - 1, dim))
    out[row_of_entry(rows), rows.dims] = getattr(rows, what)
    return out


def mask(rows: Embeddings, dim: int) -> NDArray[np.bool_]:
    out = np.zeros((rows.indptr.size - 1, dim), bool)
    out[row_of_entry(rows), rows.dims] = True
    return out


def row_of_entry(rows: Embeddings) -> NDArray[np.int64]:
    return np.repeat(np.arange(rows.indptr.size - 1), np.diff(rows.indptr))


def check_rows(rows: Embeddings, dim: int, weights: int) -> None:
    """The invariants of a table: exact count, no empty row, sorted, no duplicates, finite."""
    assert rows.indptr[0] == 0
    assert rows.indptr[-1] == weights == rows.dims.size == rows.values.size == rows.squares.size
    assert np.diff(rows.indptr).min() >= 1
    keys = row_of_entry(rows) * dim + rows.dims
    assert (np.diff(keys) > 0).all()
    assert rows.dims.max() < dim
    assert np.isfinite(rows.values).all()
    assert np.isfinite(rows.squares).all()


# Random bits


def mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _WORD
    return z ^ (z >> 31)


def below(bits: int, n: int) -> int:
    return (bits >> 32) * n >> 32


# Training


class Params(NamedTuple):
    """What a step depends on; ``users`` is None for the history model."""

    items: Floats
    bias: Floats
    weight: Floats
    users: Floats | None
    exponent: float
    candidates: int
    choice_bias: float
    pool: int
    seed: int
    power: float = 1.0


class Triple(NamedTuple):
    user: int
    positive: int
    negative: int


class Record(NamedTuple):
    """One user's gradient of one item row, at all dimensions."""

    row: int
    gradient: Floats
    growth: Floats
    bias_gradient: float


class Group(NamedTuple):
    triples: list[Triple]
    records: list[Record]
    user_gradients: dict[int, Floats]
    loss: float


def cut_groups(order: NDArray[np.int64], degrees: NDArray[np.int64]) -> list[list[int]]:
    groups: list[list[int]] = []
    for user in order.tolist():
        if groups and len(groups[-1]) < LANES:
            positives = degrees[groups[-1]].sum() + degrees[user]
            if positives <= GROUP_POSITIVES:
                groups[-1].append(user)
                continue
        groups.append([user])
    return groups


def user_vector(params: Params, user: int, had: list[int]) -> tuple[Floats, float]:
    """A user's vector, not bent or scaled yet, and the scale of one that lacks an item."""
    if params.users is not None:
        return params.users[user], 1.0
    scale = (len(had) - 1.0) ** -params.exponent
    return params.weight[had] @ params.items[had], scale


def bend(params: Params, x: Floats) -> Floats:
    return np.sign(x) * np.abs(x) ** params.power


def bend_slope(params: Params, x: Floats) -> Floats:
    """Derivative of :func:`bend`, its pole cut off as in the kernels."""
    return params.power * np.maximum(np.abs(x), 0.02) ** (params.power - 1)


def margin(params: Params, triple: Triple, had: list[int]) -> float:
    """``s(u, i) - s(u, j)``, the positive left out of its own history."""
    x, scale = user_vector(params, triple.user, had)
    if params.users is None:
        x = bend(params, x - params.weight[triple.positive] * params.items[triple.positive])
    difference = params.items[triple.positive] - params.items[triple.negative]
    return float(
        scale * difference @ x + params.bias[triple.positive] - params.bias[triple.negative]
    )


def bpr_loss(params: Params, triples: list[Triple], histories: list[list[int]]) -> float:
    """Sum of ``-ln sigmoid(s(u, i) - s(u, j))``."""
    return float(sum(np.logaddexp(0, -margin(params, t, histories[t.user])) for t in triples))


def draw_negative(params: Params, bits: int, had: list[int], ranking: Floats, pool: list[int]):
    """The best scored of consecutive pool items, or a uniform one; -1 where there is none."""
    n_items = len(params.bias)
    if params.candidates == 1:
        for _ in range(DRAWS):
            item = below(bits, n_items)
            if item not in had:
                return item
            bits = mix(bits + _GOLDEN & _WORD)
        return -1
    places = (below(bits, len(pool)) + np.arange(params.candidates)) % len(pool)
    best = places[np.argmax(ranking[places])]
    return -1 if ranking[best] == -np.inf else pool[best]


def run_group(params: Params, group: list[int], histories: list[list[int]]) -> Group:
    """The records of a group. The gradient of ``x`` is ``-dx``, as in the kernels."""
    out = Group([], [], {}, 0.0)
    loss = 0.0
    bits = mix(params.seed + _GOLDEN * (group[0] + 1) & _WORD)
    pool = []
    for _ in range(params.pool if params.candidates > 1 else 0):
        bits = bits + _GOLDEN & _WORD
        pool.append(below(mix(bits), len(params.bias)))
    for user in group:
        had = histories[user]
        if params.users is None and len(had) < 2:
            continue
        x, scale = user_vector(params, user, had)
        whole = bend(params, x) if params.users is None else x
        ranking = scale * params.items[pool] @ whole + params.choice_bias * params.bias[pool]
        ranking[np.isin(pool, had)] = -np.inf
        triples = []
        for positive in had:
            bits = bits + _GOLDEN & _WORD
            negative = draw_negative(params, mix(bits), had, ranking, pool)
            triples.append(Triple(user, positive, negative))
        records, dx = _user_records(params, triples, x, scale, had)
        out.records.extend(records)
        learned = [t for t in triples if t.negative >= 0]
        out.triples.extend(learned)
        loss += bpr_loss(params, learned, histories)
        if params.users is not None:
            out.user_gradients[user] = -dx
    return out._replace(loss=loss)


def _user_records(
    params: Params, triples: list[Triple], x: Floats, scale: float, had: list[int]
) -> tuple[list[Record], Floats]:
    history = params.users is None
    own = params.weight if history else np.zeros(len(params.bias))
    whole = bend(params, x) if history else x
    rests = [x - own[t.positive] * params.items[t.positive] for t in triples]
    slopes = [bend_slope(params, rest) if history else np.ones_like(x) for rest in rests]
    push = [0.0 if t.negative < 0 else 1 / (1 + np.exp(margin(params, t, had))) for t in triples]
    steps = [
        p * scale * slope * (params.items[t.positive] - params.items[t.negative])
        for p, slope, t in zip(push, slopes, triples, strict=True)
    ]
    dx = np.sum(steps, axis=0)
    records = []
    for p, step, rest, (_, i, j) in zip(push, steps, rests, triples, strict=True):
        if j < 0 and not history:
            continue
        pull = p * scale
        rest = bend(params, rest) if history else x
        # What the others' steps do to i. Growth ignores the part of the positive that is left out:
        # it takes `whole` for `rest`, and dx for `dx - step`.
        positive = -pull * rest - own[i] * (dx - step)
        records.append(Record(i, positive, -pull * whole - own[i] * dx, -p))
        if j >= 0:
            records.append(Record(j, pull * rest, pull * whole, p))
    return records, dx


def adagrad(
    values: Floats, squares: Floats, gradient: Floats, learning_rate: float, reg: float
) -> None:
    """One step on one row's stored weights; the arrays are changed."""
    gradient = gradient + reg * values
    squares += gradient**2
    values -= learning_rate * gradient / np.sqrt(squares)


# Mask, exploration, ranking


def code_row(row: Floats, factor: Floats, width: int, passes: int) -> Floats:
    """Non-negative coding of one row against a factor, at most ``width`` entries."""
    b, gram = factor.T @ row, factor.T @ factor
    gain = np.divide(b**2, gram.diagonal(), out=np.full(len(b), -1.0), where=b != 0)
    support = np.sort(np.argsort(-gain, kind="stable")[:width])
    support = support[gain[support] >= 0]
    code = np.zeros(len(b))
    for _ in range(passes):
        for c in support:
            rest = b[c] - gram[c, support] @ code[support]
            code[c] = max(0.0, code[c] + rest / gram[c, c])
    return code


def starting_entries(factor: Floats, budget: int) -> NDArray[np.bool_]:
    """Which entries of a factor, shape [n, width], the starting mask takes over."""
    chosen = np.zeros(factor.shape, bool)
    some = (factor > 0).any(axis=1)
    chosen[some, factor[some].argmax(axis=1)] = True
    rest = np.flatnonzero((factor > 0) & ~chosen)
    order = rest[np.argsort(-factor.flat[rest], kind="stable")]
    chosen.flat[order[: budget - len(factor)]] = True
    return chosen


def level_up(lengths: NDArray[np.int64], dim: int, budget: int) -> NDArray[np.int64]:
    """Lengthen the shortest rows, the first ones first, to ``budget`` in all."""
    lengths = lengths.copy()
    for _ in range(budget - lengths.sum()):
        lengths[np.argmin(np.where(lengths < dim, lengths, dim + 1))] += 1
    return lengths


def explore(
    rows: Embeddings,
    slot: NDArray[np.int32],
    sums: NDArray[np.float32],
    share: float,
    square: float,
) -> tuple[Embeddings, int]:
    n_rows, dim = rows.indptr.size - 1, sums.shape[1]
    stored, values, squares = mask(rows, dim), dense(rows, dim), dense(rows, dim, "squares")
    sampled = slot >= 0
    demand = np.zeros((n_rows, dim))
    demand[sampled] = np.abs(sums[slot[sampled]])
    demand[stored] = 0
    magnitude = np.where(stored, np.abs(values), np.inf)
    largest = np.where(stored, np.abs(values), -1.0).argmax(axis=1)
    magnitude[np.arange(n_rows), largest] = np.inf
    n = min(
        int(share * stored[sampled].sum()),
        np.isfinite(magnitude).sum(),
        np.count_nonzero(demand),
    )
    pruned = np.argsort(magnitude, axis=None, kind="stable")[:n]
    grown = np.argsort(-demand, axis=None, kind="stable")[:n]
    stored.flat[pruned] = False
    stored.flat[grown] = True
    values.flat[grown] = 0.0
    squares.flat[grown] = square
    return (
        Embeddings(
            np.concatenate(([0], np.cumsum(stored.sum(axis=1)))),
            np.nonzero(stored)[1].astype(np.uint16),
            values[stored].astype(np.float32),
            squares[stored].astype(np.float32),
        ),
        n,
    )


def top_k(scores: Floats, exclude: list[int], k: int) -> list[int]:
    """Numbers of the k best, best first, of equal scores the smaller number; -1 to the end."""
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if i not in set(exclude)][:k]
    return order + [-1] * (k - len(order))
