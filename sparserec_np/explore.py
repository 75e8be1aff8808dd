"""Exploration: prune the smallest weights, grow as many where the gradient was largest.

The number of weights stays the same, exactly: ties go to the smaller index. Memory beyond the new
table is ``O(weights)``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sparserec_np.peers import ALONE, Peers
from sparserec_np.selection import ABS, NEVER, threshold
from sparserec_np.state import Growth, Rows


def no_growth(n_rows: int, dim: int) -> Growth:
    """Return a growth buffer in which no row is sampled."""
    return Growth(np.full(n_rows, -1, np.int32), np.zeros((0, dim), np.float32))


def growth_buffer(n_rows: int, dim: int, lines: int) -> Growth:
    """Allocate a buffer for ``lines`` rows, at least one and at most all."""
    lines = min(n_rows, max(1, lines))
    return Growth(np.full(n_rows, -1, np.int32), np.zeros((lines, dim), np.float32))


def sample_rows(growth: Growth, degrees: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Choose the rows that explore next, without replacement, by degree; clear their sums.

    Args:
        growth: Changed: sampled rows get their lines in ascending order, all sums are zero.
        degrees: Interactions of each row, int64 array of shape [n]; rows with none stay out.
        rng: Source of randomness.
    """
    # Of exponential variables with these rates, the first to arrive are a weighted sample.
    arrival = rng.standard_exponential(degrees.size, np.float32)
    with np.errstate(divide="ignore"):
        arrival /= degrees.astype(np.float32)
    n = min(growth.sums.shape[0], int(np.count_nonzero(degrees)))
    chosen = np.sort(np.argpartition(arrival, n - 1)[:n]) if n else np.zeros(0, np.int64)
    growth.slot[:] = -1
    growth.slot[chosen] = np.arange(n, dtype=np.int32)
    growth.sums[:] = 0.0


def explore(
    rows: Rows, growth: Growth, share: float, initial_square: float, peers: Peers = ALONE
) -> tuple[Rows, int]:
    """Move weights to where the summed gradient asks for them.

    Args:
        rows: The table, without an empty row.
        growth: Gradients summed since its rows were sampled; its sums at stored positions are lost.
        share: How many weights to move, as a share of those that the sampled rows store. Pruned are
            the smallest of the whole table, but never the largest of a row; grown are positions of
            the sampled rows.
        initial_square: Adagrad's sum of a grown weight, whose value starts at 0.
        peers: Who has the other rows of the table.

    Returns:
        The new table, of all peers with exactly as many weights, and the number that moved.
    """
    _forget_stored(rows.indptr, rows.dims, growth.slot, growth.sums)
    sums = growth.sums.reshape(-1).view(np.uint32)
    n = min(
        int(share * peers.total(_weights_of_sampled(rows.indptr, growth.slot))),
        peers.total(rows.values.size - rows.indptr.size + 1),  # all but the largest of each row
        peers.total(int(np.count_nonzero(growth.sums))),
    )
    if n <= 0:
        return rows, 0
    bits = rows.values.view(np.uint32)
    largest, kept = _hide_largest(rows.indptr, bits)
    below, ties_below = threshold(bits, n, False, peers)
    _show_largest(bits, largest, kept)
    above, ties_above = threshold(sums, n, True, peers)
    grown = 0 if peers.size == 1 else int(np.count_nonzero(sums & ABS >= above))
    moved = _rebuild(
        rows,
        grown,
        largest,
        below,
        ties_below,
        growth.slot,
        growth.sums.view(np.uint32),
        above,
        ties_above,
        np.float32(initial_square),
    )
    return moved, n


@njit(cache=True)
def _forget_stored(indptr, dims, slot, sums):
    for row in range(slot.size):
        if slot[row] >= 0:
            for e in range(indptr[row], indptr[row + 1]):
                sums[slot[row], dims[e]] = 0.0


@njit(cache=True)
def _weights_of_sampled(indptr, slot):
    total = 0
    for row in range(slot.size):
        if slot[row] >= 0:
            total += indptr[row + 1] - indptr[row]
    return total


@njit(cache=True)
def _hide_largest(indptr, bits):
    """Put the first largest weight of each row out of reach; return where it is and what it was."""
    largest = indptr[:-1].copy()
    kept = np.empty(largest.size, np.uint32)
    for row in range(largest.size):
        place = np.uint64(indptr[row])  # unsigned places need no look at whether they wrap around
        most = bits[place] & ABS
        for e in range(place + np.uint64(1), np.uint64(indptr[row + 1])):
            key = bits[e] & ABS
            place = e if key > most else place  # chosen, not jumped to, as in max
            most = max(key, most)
        largest[row] = place
        kept[row] = bits[place]
        bits[place] = NEVER
    return largest, kept


@njit(cache=True)
def _show_largest(bits, largest, kept):
    for row in range(largest.size):
        bits[largest[row]] = kept[row]


@njit(cache=True)
def _rebuild(
    rows, grown, largest, below, ties_below, slot, sums, above, ties_above, initial_square
):
    n_rows = rows.indptr.size - 1
    bits = rows.values.view(np.uint32)
    indptr = np.zeros(n_rows + 1, np.int64)
    room = rows.dims.size + grown + 1  # one for a weight that is written and then dropped
    dims = np.empty(room, rows.dims.dtype)
    values = np.empty(room, rows.values.dtype)
    squares = np.empty(room, rows.squares.dtype)
    n = np.uint64(0)
    for row in range(n_rows):
        e, stop = rows.indptr[row], rows.indptr[row + 1]
        if slot[row] < 0:
            for t in range(np.uint64(e), np.uint64(stop)):
                key = bits[t] & ABS
                stays = (key > below) | (t == np.uint64(largest[row]))
                if key == below and not stays:
                    stays = ties_below <= 0
                    ties_below -= 1
                dims[n] = rows.dims[t]
                values[n] = rows.values[t]
                squares[n] = rows.squares[t]
                n += np.uint64(stays)  # a jump over what is dropped would often be mispredicted
            indptr[row + 1] = n
            continue
        # Merge two ascending lists: the weights that stay and the positions that grow.
        n_dims = sums.shape[1] if slot[row] >= 0 else 0
        d = 0
        while True:
            while e < stop:
                key = bits[e] & ABS
                if e == largest[row]:
                    break
                if key < below:
                    e += 1
                elif key == below and ties_below > 0:
                    ties_below -= 1
                    e += 1
                else:
                    break
            while d < n_dims:
                key = sums[slot[row], d] & ABS
                if key > above:
                    break
                if key == above and ties_above > 0:
                    break
                d += 1
            if e == stop and d == n_dims:
                break
            if d == n_dims or (e < stop and rows.dims[e] < d):
                dims[n] = rows.dims[e]
                values[n] = rows.values[e]
                squares[n] = rows.squares[e]
                e += 1
            else:
                if sums[slot[row], d] & ABS == above:
                    ties_above -= 1
                dims[n] = d
                values[n] = 0.0
                squares[n] = initial_square
                d += 1
            n += np.uint64(1)
        indptr[row + 1] = n
    return Rows(indptr, dims[:n], values[:n], squares[:n])
