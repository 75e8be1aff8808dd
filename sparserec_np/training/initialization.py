"""Initialization: the mask and the values that training starts from, by a sparse NMF."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.kernels.randomness import GOLDEN, below, mix
from sparserec_np.training.kernels.selection import NEVER, sort_few, threshold
from sparserec_np.training.kernels.sparse_coding import Factor
from sparserec_np.training.nmf import factorize
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.random_streams import Purpose, generator, random_bits
from sparserec_np.utils.communicator import communicator, replicated
from sparserec_np.utils.compiled import kernel

_NMF_ROOM = 1.5  # entries a row in the factors, in budgets a row: the best of them become the mask
_TIE_BREAK = 1e-4  # largest bias of a model without weights: far below what a neighbour adds
_NMF_WIDTH = 64  # most entries a row in the factors, whatever the budget


def initialize(interactions: Interactions, config: Config, budget: Budget) -> Parameters:
    """Find the mask and the values that training starts from.

    Args:
        interactions: Interactions to learn from, of the users of this worker.
        config: Hyperparameters.
        budget: Numbers of weights.

    Returns:
        The parameters, with exactly the budgeted numbers of weights; the user embeddings are those
        of the users of this worker.
    """
    history, dim = config.users == "history", config.dim
    comm = communicator()
    n_users = comm.all_reduce_count(interactions.n_users)
    item_width = factor_width(budget.item_nnz, interactions.n_items, dim)
    user_width = item_width if history else factor_width(budget.user_nnz, n_users, dim)
    factors = factorize(
        interactions,
        dim,
        user_width=user_width,
        item_width=item_width,
        sweeps=config.sweeps,
        rng=generator(config.seed, Purpose.SEED_ITEMS),
    )
    left = [*reversed(factors)]  # each is handed over, and gone before the next table is there
    del factors
    fill = random_bits(config.seed, Purpose.FILL)
    norm, square = config.initial_norm, config.initial_square
    users = empty_embeddings(interactions.n_users)
    if history:
        left.pop()
    else:
        users = starting_rows(left.pop(), dim, budget.user_nnz, norm, square, fill)
    with replicated():
        rows = starting_rows(left.pop(), dim, budget.item_nnz, norm, square, fill)
    degrees = comm.all_reduce(interactions.item_degrees())
    items = ItemParameters(
        rows,
        bias=np.zeros(interactions.n_items, np.float32),
        bias_squares=np.full(interactions.n_items, square, np.float32),
        weight=history_weights(degrees, config.degree_exponent),
    )
    return Parameters(items, users, dim)


def starting_rows(
    factor: Factor,
    dim: int,
    budget: int,
    norm: float,
    initial_square: float,
    seed: np.uint64,
) -> Embeddings:
    """Keep the largest entries of a factor, at least one a row, ``budget`` in all.

    Where the factor has too few entries, positions drawn at random fill up the shortest rows, with
    value 0: exploration moves them to where they are of use.

    Args:
        factor: One of the two factors, the rows of this worker; its values are overwritten, and
            its memory is freed on the way if the caller keeps no reference.
        dim: Number of dimensions.
        budget: Positions that all workers keep: at least one a row, at most ``n_rows * dim``.
        norm: Root mean square of the norms of the rows of the result.
        initial_square: Adagrad's sum of every weight.
        seed: Of the positions that fill up.

    Returns:
        The embeddings, with exactly ``budget`` weights on all workers. Memory beyond them is
        ``O(n_rows)``.
    """
    comm, own = communicator(), factor.counts.size
    n_rows, first = comm.all_reduce_count(own), comm.exclusive_scan(own)
    best = factor.values.argmax(axis=1)
    best_values = factor.values[np.arange(own), best]
    factor.values[np.arange(own), best] = 0.0
    bits = factor.values.view(np.uint32)
    _hide_unused(bits)
    n_more = min(
        budget - n_rows, comm.all_reduce_count(int(np.maximum(factor.counts - 1, 0).sum()))
    )
    above, ties = threshold(bits.reshape(-1), n_more, True) if n_more else (NEVER, 0)
    _hide_rest(bits, above, ties)
    some = np.flatnonzero(factor.counts)
    factor.values[some, best[some]] = best_values[some]
    del best, best_values, some
    _count_left(bits, lengths := np.zeros(own, np.int64))
    lengths = comm.all_gather_concat(lengths)
    _level_up(lengths, dim, budget - int(lengths.sum()))
    indptr = np.zeros(own + 1, np.int64)
    np.cumsum(lengths[first : first + own], out=indptr[1:])
    here = int(indptr[-1])
    dims, values = np.empty(here, np.uint16), np.zeros(here, np.float32)
    taken, value_at = np.zeros(dim, np.bool_), np.zeros(dim, np.float32)
    _fill(factor, bits, seed, first, taken, value_at, indptr, dims, values)
    del factor, bits, lengths  # before there are squares
    power = np.zeros(1)
    comm.ordered_reduce(power, lambda total: _add_squares(values, total))
    if power[0] > 0:
        values *= np.float32(norm / np.sqrt(power[0] / n_rows))
    return Embeddings(indptr, dims, values, np.full(here, initial_square, np.float32))


def factor_width(budget: int, n_rows: int, dim: int) -> int:
    """Choose how many entries a row of the factors may have, for a budget of so many weights."""
    return max(1, min(dim, _NMF_WIDTH, math.ceil(_NMF_ROOM * budget / n_rows)))


def history_weights(degrees: NDArray[np.int64], exponent: float) -> NDArray[np.float32]:
    """Return ``degree^-exponent``, scaled to a mean square of 1 over all interactions."""
    weight = np.maximum(degrees, 1).astype(np.float64) ** -exponent
    mean_square = float((weight * weight * degrees).sum()) / max(int(degrees.sum()), 1)
    return np.asarray(weight / math.sqrt(mean_square), np.float32)


@kernel
def _hide_unused(bits):
    for row in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            if bits[row, t] == 0:
                bits[row, t] = NEVER


@kernel
def _hide_rest(bits, above, ties):
    """Replace by ``NEVER`` all below a magnitude, and of its equals all but the first ``ties``.

    With ``NEVER`` for the magnitude, that is everything.
    """
    for row in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            if bits[row, t] == NEVER or bits[row, t] > above:
                continue
            if bits[row, t] == above and ties > 0:
                ties -= 1
            else:
                bits[row, t] = NEVER


@kernel
def _count_left(bits, counts):
    for row in range(bits.shape[0]):
        for t in range(bits.shape[1]):
            counts[row] += bits[row, t] != NEVER


@kernel
def _level_up(lengths, dim, missing):
    """Lengthen the shortest rows, the first ones first, until nothing is missing."""
    level = 0
    while missing > 0:
        level += 1
        for row in range(lengths.size):
            if missing > 0 and lengths[row] < min(level, dim):
                lengths[row] += 1
                missing -= 1


@kernel
def _fill(factor, left, seed, first, taken, value_at, indptr, dims, values):
    """Fill in the entries that are not ``NEVER``; ``first`` is the number of the first row.

    ``taken`` and ``value_at``, of shape [dim], are scratch memory, all zero.
    """
    dim = taken.size
    for row in range(indptr.size - 1):
        n = indptr[row]
        for t in range(left.shape[1]):
            if left[row, t] != NEVER:
                d = factor.dims[row, t]
                dims[n] = d
                taken[d] = True
                value_at[d] = factor.values[row, t]
                n += 1
        bits = seed + GOLDEN * np.uint64(dim) * np.uint64(first + row)
        while n < indptr[row + 1]:
            bits += GOLDEN
            d = below(mix(bits), dim)
            while taken[d]:  # the next free one, so that full rows end as well
                d = (d + 1) % dim
            dims[n] = d
            taken[d] = True
            n += 1
        sort_few(dims[indptr[row] : n])  # those of the factor are in order already
        for e in range(indptr[row], n):
            values[e] = value_at[dims[e]]
            taken[dims[e]] = False
            value_at[dims[e]] = 0.0


@kernel
def _add_squares(values, total):
    for value in values:
        total[0] += np.float64(value) ** 2


def without_factors(interactions: Interactions, config: Config) -> Parameters:
    """Return parameters of no weights: of a model that has neighbours and nothing else.

    Biases order the items that no neighbour is added to by their number of users; without
    neighbours it is the ranking by popularity.
    """
    n_items = interactions.n_items
    degrees = np.log1p(interactions.item_degrees())
    bias = (_TIE_BREAK * degrees / max(float(degrees.max()), 1.0)).astype(np.float32)
    none, ones = np.zeros(0, np.float32), np.ones(n_items, np.float32)
    items = ItemParameters(empty_embeddings(n_items), bias, none, ones)
    n_users = 0 if config.users == "history" else interactions.n_users
    return Parameters(items, empty_embeddings(n_users), config.dim)
