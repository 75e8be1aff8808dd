"""Exploration: prune the smallest weights, grow as many where the gradient was largest.

The number of weights stays the same, exactly: ties go to the smaller index. Values and Adagrad's
sums move within their arrays, because new memory takes longer to get than to fill.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.arrays import Embeddings, GradientAccumulator
from sparserec_np.training.kernels.selection import ABS, NEVER, select
from sparserec_np.utils.communicator import Communicator, communicating, communicator
from sparserec_np.utils.compiled import kernel

_ONE = np.uint64(1)  # places are unsigned: so compiled code need not look whether they wrap around


def empty_accumulator(n_rows: int, dim: int) -> GradientAccumulator:
    """Return a gradient accumulator in which no row is sampled."""
    return GradientAccumulator(np.full(n_rows, -1, np.int32), np.zeros((0, dim), np.float32))


def new_accumulator(n_rows: int, dim: int, lines: int) -> GradientAccumulator:
    """Allocate a gradient accumulator for ``lines`` rows, at least one and at most all."""
    lines = min(n_rows, max(1, lines))
    return GradientAccumulator(np.full(n_rows, -1, np.int32), np.zeros((lines, dim), np.float32))


def sample_rows(
    accumulator: GradientAccumulator, degrees: NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Choose the rows that explore next, without replacement, by degree; clear their sums.

    Args:
        accumulator: Changed: sampled rows get their lines in ascending order, all sums are zero.
        degrees: Interactions of each row, int64 array of shape [n]; rows with none stay out.
        rng: Source of randomness.
    """
    # Of exponential variables with these rates, the first to arrive are a weighted sample.
    arrival = rng.standard_exponential(degrees.size, np.float32)
    with np.errstate(divide="ignore"):
        arrival /= degrees.astype(np.float32)
    n = min(accumulator.sums.shape[0], int(np.count_nonzero(degrees)))
    chosen = np.sort(np.argpartition(arrival, n - 1)[:n]) if n else np.zeros(0, np.int64)
    accumulator.slot[:] = -1
    accumulator.slot[chosen] = np.arange(n, dtype=np.int32)
    accumulator.sums[:] = 0.0


def explore(
    rows: Embeddings,
    accumulator: GradientAccumulator,
    share: float,
    initial_square: float,
    own_rows: NDArray[np.bool_] | None = None,
) -> tuple[Embeddings, int]:
    """Move weights to where the summed gradient asks for them.

    Args:
        rows: The table, without an empty row; of the rows of this worker, or all rows on each.
        accumulator: Gradients summed since its rows were sampled; overwritten at stored positions.
        share: How many weights to move, as a share of those that the sampled rows store. Pruned are
            the smallest of the whole table, but never the largest of a row; grown are positions of
            the sampled rows.
        initial_square: Adagrad's sum of a grown weight, whose value starts at 0.
        own_rows: If there are all rows on each worker, those whose gradients are summed here:
            consecutive ones, in the order of the ranks.

    Returns:
        The new embeddings, on all workers together with exactly as many weights, and the number
        that moved. They take over the arrays of values and of Adagrad's sums, but leave the old
        positions alone.
    """
    slot, comm = accumulator.slot, communicator()
    holders = comm
    if own_rows is not None:
        slot, holders = np.where(own_rows, slot, np.int32(-1)), Communicator()
    _forget_stored(rows.indptr, rows.dims, slot, accumulator.sums)
    sums = accumulator.sums.reshape(-1).view(np.uint32)
    n = min(
        int(share * comm.all_reduce_count(int(np.diff(rows.indptr)[slot >= 0].sum()))),
        holders.all_reduce_count(
            rows.values.size - rows.indptr.size + 1
        ),  # all but the largest of each row
        comm.all_reduce_count(int(np.count_nonzero(accumulator.sums))),
    )
    if n <= 0:
        return rows, 0
    bits = rows.values.view(np.uint32)
    largest = np.empty(rows.indptr.size - 1, np.int64)
    _hide_largest(rows.indptr, bits, largest, kept := np.empty(largest.size, np.uint32))
    with communicating(holders):
        pruned = select(bits, n, False)
    bits[largest] = kept
    grown = select(sums, n, True)
    if own_rows is not None:
        grown = comm.all_gather_concat(grown)
    indptr, dims = rows.indptr.copy(), rows.dims.copy()  # positions may be shared
    table = Embeddings(indptr, dims, rows.values, rows.squares)
    _take_out(table, pruned)
    dim, stay = accumulator.sums.shape[1], dims.size - pruned.size
    places = np.empty(grown.size, np.int64)
    _find_places(indptr, dims, pruned, accumulator.slot, grown, dim, places)
    size = stay + places.size
    if size > dims.size:  # this worker's part grows
        table = Embeddings(indptr, *[np.resize(array, size) for array in _columns(table)])
    _put_in(table, stay, places, grown, dim, np.float32(initial_square))
    return Embeddings(indptr, *[array[:size] for array in _columns(table)]), n


def _columns(table: Embeddings) -> list[Any]:
    """Return the arrays that have an element for each weight."""
    return [table.dims, table.values, table.squares]


@kernel
def _forget_stored(indptr, dims, slot, sums):
    for row in range(slot.size):
        if slot[row] >= 0:
            for e in range(indptr[row], indptr[row + 1]):
                sums[slot[row], dims[e]] = 0.0


@kernel
def _hide_largest(indptr, bits, largest, kept):
    """Replace the first largest weight of each row by ``NEVER``; keep its place and its bits."""
    for row in range(largest.size):
        place = np.uint64(indptr[row])
        most = bits[place] & ABS
        for e in range(place + _ONE, np.uint64(indptr[row + 1])):
            key = bits[e] & ABS
            place = e if key > most else place  # chosen, not jumped to, as in max
            most = max(key, most)
        largest[row] = place
        kept[row] = bits[place]
        bits[place] = NEVER


@kernel
def _take_out(table, places):
    """Close the gaps that the weights at some places leave; as many at the end are left over."""
    for gap in range(places.size):
        first = np.uint64(places[gap]) + _ONE
        last = np.uint64(places[gap + 1] if gap + 1 < places.size else table.dims.size)
        shift = np.uint64(gap + 1)
        for t in range(first, last):
            table.dims[t - shift] = table.dims[t]
            table.values[t - shift] = table.values[t]
            table.squares[t - shift] = table.squares[t]


@kernel
def _find_places(indptr, dims, pruned, slot, grown, dim, places):
    """Find the places of what comes in, in the table as it will be; make ``indptr`` its own.

    Args:
        indptr: That of the old table; changed.
        dims: Positions without what was pruned.
        pruned: Places in the old table, ascending.
        slot: See :class:`GradientAccumulator`; ascending but for the rows that are not sampled.
        grown: Places in the flat sums, ascending.
        dim: Columns of the sums.
        places: A place for each of ``grown``, ascending, int64 array; filled.
    """
    out, come, place = 0, 0, 0
    for row in range(slot.size):
        while out < pruned.size and pruned[out] < indptr[row + 1]:
            out += 1
        last = indptr[row + 1] - out
        while come < grown.size and grown[come] // dim == slot[row]:
            while place < last and dims[place] < grown[come] % dim:
                place += 1
            places[come] = place + come
            come += 1
        place = last
        indptr[row + 1] = last + come


@kernel
def _put_in(table, stay, places, grown, dim, initial_square):
    """Put grown weights in among the first ``stay``."""
    last = np.uint64(stay + places.size)
    for gap in range(places.size - 1, -1, -1):
        place, shift = np.uint64(places[gap]), np.uint64(gap + 1)
        for t in range(last - _ONE, place, -1):
            table.dims[t] = table.dims[t - shift]
            table.values[t] = table.values[t - shift]
            table.squares[t] = table.squares[t - shift]
        table.dims[place] = grown[gap] % dim
        table.values[place] = 0.0
        table.squares[place] = initial_square
        last = place
