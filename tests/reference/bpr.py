"""The BPR loss and its gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference.negatives import draw_negative, draw_pool
from reference.randomness import GOLDEN, WORD, mix

Floats = NDArray[np.float64]


class Params(NamedTuple):
    """Parameters and hyperparameters of a step; ``users`` is None for the history model."""

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
    """A user, a positive and a negative."""

    user: int
    positive: int
    negative: int


class Record(NamedTuple):
    """The gradient of one item row from one user, at all dimensions."""

    row: int
    gradient: Floats
    accumulated: Floats
    """Its part in the gradient accumulator, where the part left out of a positive is neglected."""
    bias_gradient: float


class Group(NamedTuple):
    """The work of a group."""

    triples: list[Triple]
    records: list[Record]
    user_gradients: dict[int, Floats]
    loss: float


def user_vector(params: Params, user: int, history: list[int]) -> tuple[Floats, float]:
    """Return a user's vector before power and scale, and the scale of one that lacks an item."""
    if params.users is not None:
        return params.users[user], 1.0
    scale = (len(history) - 1.0) ** -params.exponent
    return params.weight[history] @ params.items[history], scale


def signed_power(params: Params, x: Floats) -> Floats:
    """Return ``sign(x) |x|^p``."""
    return np.sign(x) * np.abs(x) ** params.power


def slope(params: Params, x: Floats) -> Floats:
    """Return the derivative of :func:`signed_power`, its pole cut off as in the kernels."""
    return params.power * np.maximum(np.abs(x), 0.02) ** (params.power - 1)


def margin(params: Params, triple: Triple, history: list[int]) -> float:
    """Return ``s(u, i) - s(u, j)``, the positive left out of its own history."""
    x, scale = user_vector(params, triple.user, history)
    if params.users is None:
        x = signed_power(params, x - params.weight[triple.positive] * params.items[triple.positive])
    difference = params.items[triple.positive] - params.items[triple.negative]
    return float(
        scale * difference @ x + params.bias[triple.positive] - params.bias[triple.negative]
    )


def bpr_loss(params: Params, triples: list[Triple], histories: list[list[int]]) -> float:
    """Sum ``-ln sigmoid(s(u, i) - s(u, j))``."""
    return float(sum(np.logaddexp(0, -margin(params, t, histories[t.user])) for t in triples))


def run_group(params: Params, group: list[int], histories: list[list[int]]) -> Group:
    """Make the records of a group. The gradient of ``x`` is ``-dx``, as in the kernels."""
    out = Group([], [], {}, 0.0)
    loss = 0.0
    n_items = len(params.bias)
    bits = mix(params.seed + GOLDEN * (group[0] + 1) & WORD)
    pool, bits = draw_pool(params.pool if params.candidates > 1 else 0, bits, n_items)
    for user in group:
        history = histories[user]
        if params.users is None and len(history) < 2:
            continue
        x, scale = user_vector(params, user, history)
        whole = signed_power(params, x) if params.users is None else x
        ranking = scale * params.items[pool] @ whole + params.choice_bias * params.bias[pool]
        ranking[np.isin(pool, history)] = -np.inf
        triples = []
        for positive in history:
            bits = bits + GOLDEN & WORD
            negative = draw_negative(params.candidates, mix(bits), history, n_items, pool, ranking)
            triples.append(Triple(user, positive, negative))
        records, dx = _user_records(params, triples, x, scale, history)
        out.records.extend(records)
        learned = [t for t in triples if t.negative >= 0]
        out.triples.extend(learned)
        loss += bpr_loss(params, learned, histories)
        if params.users is not None:
            out.user_gradients[user] = -dx
    return out._replace(loss=loss)


def _user_records(
    params: Params, triples: list[Triple], x: Floats, scale: float, history: list[int]
) -> tuple[list[Record], Floats]:
    composed = params.users is None
    own = params.weight if composed else np.zeros(len(params.bias))
    whole = signed_power(params, x) if composed else x
    rests = [x - own[t.positive] * params.items[t.positive] for t in triples]
    slopes = [slope(params, rest) if composed else np.ones_like(x) for rest in rests]
    push = [
        0.0 if t.negative < 0 else 1 / (1 + np.exp(margin(params, t, history))) for t in triples
    ]
    steps = [
        p * scale * of_rest * (params.items[t.positive] - params.items[t.negative])
        for p, of_rest, t in zip(push, slopes, triples, strict=True)
    ]
    dx = np.sum(steps, axis=0)
    records = []
    for p, step, rest, (_, i, j) in zip(push, steps, rests, triples, strict=True):
        if j < 0 and not composed:
            continue
        pull = p * scale
        rest = signed_power(params, rest) if composed else x
        # The steps of the other triples act on i as well. The accumulator neglects the part of the
        # positive that is left out: it has `whole` in place of `rest`, and dx of `dx - step`.
        positive = -pull * rest - own[i] * (dx - step)
        records.append(Record(i, positive, -pull * whole - own[i] * dx, -p))
        if j >= 0:
            records.append(Record(j, pull * rest, pull * whole, p))
    return records, dx
