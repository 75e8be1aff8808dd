"""The arrays of a training: embeddings, item parameters, gradient accumulators, scratch memory.

They are named tuples, which compiled code takes as they are; the arrays in them change in place.
The user model shows in the types, so that each user model compiles only its own kernels: the
embeddings of users are ``None`` in the history model.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparserec_np.utils.parallel import LANES

WIDTH = 8  # weights of a row that are stepped side by side; most rows have fewer
GROUPS = 8  # groups in a batch; part of the algorithm, so it does not follow the number of threads
PARTS = 16  # parts of the item rows; any number gives the same result


class Embeddings(NamedTuple):
    """Sparse embeddings in training, CSR.

    Attributes:
        indptr: int64 array of shape [n_rows + 1].
        dims: uint16 array of shape [nnz], ascending in a row.
        values: float32 array of shape [nnz].
        squares: Adagrad's sums of squared gradients, float32 array of shape [nnz].
    """

    indptr: NDArray[np.int64]
    dims: NDArray[np.uint16]
    values: NDArray[np.float32]
    squares: NDArray[np.float32]


class ItemParameters(NamedTuple):
    """Everything that is learned of the items, and their weights within a history.

    Attributes:
        rows: The item embeddings.
        bias: float32 array of shape [n_items].
        bias_squares: Adagrad's sums for the biases, float32 array of shape [n_items].
        weight: Weight of an item within a history, float32 array of shape [n_items]; not learned.
    """

    rows: Embeddings
    bias: NDArray[np.float32]
    bias_squares: NDArray[np.float32]
    weight: NDArray[np.float32]


class Histories(NamedTuple):
    """The interactions of the users that are trained on, CSR.

    Attributes:
        indptr: int64 array of shape [n_users + 1].
        items: Item numbers, ascending in a row, int32 array of shape [nnz].
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]


class Batches(NamedTuple):
    """The users of an epoch, cut into groups and batches.

    Attributes:
        order: Users in the order in which they are visited, int64 array.
        starts: Where each group begins in ``order``, int64 array of shape [n_groups + 1].
        turns: In which order the groups of each batch are taken, int64 array of shape
            [n_batches, GROUPS]; see :func:`sparserec_np.training.kernels.bpr.cut_batches`.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    turns: NDArray[np.int64]


class GradientAccumulator(NamedTuple):
    """Gradients of sampled rows at all dimensions, summed between two exploration steps.

    Attributes:
        slot: Line of ``sums`` that a row has, -1 for a row that is not sampled; int32 array of
            shape [n_rows].
        sums: float32 array of shape [sampled rows, dim].
    """

    slot: NDArray[np.int32]
    sums: NDArray[np.float32]


class Step(NamedTuple):
    """Scalars of an epoch."""

    learning_rate: np.float32
    reg: np.float32
    history_exponent: np.float32
    history_eighths: np.int64
    steepest: np.float32
    candidates: np.int64
    choice_bias: np.float32
    seed: np.uint64


class UserVectors(NamedTuple):
    """The users of each group of a batch (the first axis, G = ``GROUPS``); L = ``LANES``.

    Attributes:
        scale: Scale of each user vector, float32 array of shape [G, L].
        x: User vectors, float32 array of shape [G, L, dim].
        dx: Their gradients, float32 array of shape [G, L, dim].
        summed: Sums of histories, of which ``x`` is made; the same shape, or [G, L, 0].
        whole: ``x`` of one user with no item left out, float32 array of shape [G, dim]; in the
            embedding model the gradient at the stored weights of a user's row.
        slope: Derivative of ``x`` by ``summed``; the same shape, or [G, 0].
        whole_slope: The same with no item left out.
        own_sums: Of one positive, ``summed`` without it where it has weights; the same shape.
        own_x: ``x`` made of it.
        own_slope: The derivative.
        spare: All zero between uses, float32 array of shape [G, dim].
    """

    scale: NDArray[np.float32]
    x: NDArray[np.float32]
    dx: NDArray[np.float32]
    summed: NDArray[np.float32]
    whole: NDArray[np.float32]
    slope: NDArray[np.float32]
    whole_slope: NDArray[np.float32]
    own_sums: NDArray[np.float32]
    own_x: NDArray[np.float32]
    own_slope: NDArray[np.float32]
    spare: NDArray[np.float32]


class Pools(NamedTuple):
    """The pool of each group, which negatives are drawn from; P items.

    Attributes:
        items: int32 array of shape [G, P].
        scores: Dot products with the user vectors, float32 array of shape [G, P, L].
        bias: float32 array of shape [G, P].
        lanes: The user vectors side by side, float32 array of shape [G, dim, L].
        seen: Bit set of one user's history, uint64 array of shape [G, n_items / 64].
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    bias: NDArray[np.float32]
    lanes: NDArray[np.float32]
    seen: NDArray[np.uint64]


class Records(NamedTuple):
    """The gradient records of each group, at most R.

    Attributes:
        negatives: Negative of each positive of the group, -1 for none, int32 array of shape
            [G, R / 2].
        row: Item of a record, int32 array of shape [G, R].
        lane: Its user, complemented if the item is a positive; int8 array of shape [G, R].
        bias_gradient: float32 array of shape [G, R].
        gradient: Gradients at the stored weights, float32 array of shape [G, room + WIDTH].
        own_start: Where the gradients of one user's positives begin, uint64 array of shape
            [G, R / 2].
        first: First record of each part, and the end, int64 array of shape [G, PARTS + 1].
        begin: Where the gradients of a part begin, uint64 array of shape [G, PARTS].
        place: Next record of a part, int64 array of shape [G, PARTS].
        end: Where its gradient will begin, uint64 array of shape [G, PARTS].
    """

    negatives: NDArray[np.int32]
    row: NDArray[np.int32]
    lane: NDArray[np.int8]
    bias_gradient: NDArray[np.float32]
    gradient: NDArray[np.float32]
    own_start: NDArray[np.uint64]
    first: NDArray[np.int64]
    begin: NDArray[np.uint64]
    place: NDArray[np.int64]
    end: NDArray[np.uint64]


class Turns(NamedTuple):
    """Tasks of a batch that are taken, and the sums of its losses.

    Attributes:
        groups_taken: Whether a group of the batch is taken by a thread, int64 array of shape [G].
        parts_taken: The same of the parts, int64 array of shape [PARTS].
        arrivals: How often threads have reached a barrier, int64 array of shape [1].
        loss: Sum of the losses of a group, float64 array of shape [G].
        triples: Number of its triples, int64 array of shape [G].
        total_loss: Sum of the losses of all batches of a call, float64 array of shape [1].
        total_triples: Number of their triples, int64 array of shape [1].
    """

    groups_taken: NDArray[np.int64]
    parts_taken: NDArray[np.int64]
    arrivals: NDArray[np.int64]
    loss: NDArray[np.float64]
    triples: NDArray[np.int64]
    total_loss: NDArray[np.float64]
    total_triples: NDArray[np.int64]


class Workspace(NamedTuple):
    """Scratch memory of a training, and the penalties.

    A compiled function takes only the part that it works on: each array of an argument costs time
    to compile.

    Attributes:
        item_reg: L2 penalty of each item row, float32 array of shape [n_items].
        vectors: Of the users of a batch.
        pools: Of its groups.
        records: Of its groups.
        turns: Of the threads.
    """

    item_reg: NDArray[np.float32]
    vectors: UserVectors
    pools: Pools
    records: Records
    turns: Turns

    @property
    def room(self) -> int:
        """Gradients of a group that there is room for."""
        room: int = self.records.gradient.shape[1] - WIDTH
        return room


def workspace(
    item_reg: NDArray[np.float32],
    dim: int,
    history: bool,
    candidates: int,
    pool: int,
    group_positives: int,
    room: int,
) -> Workspace:
    """Allocate scratch memory.

    Args:
        item_reg: L2 penalty of each item row, float32 array of shape [n_items].
        dim: Columns of the embeddings.
        history: Whether users are composed from their histories.
        candidates: Candidates of a negative; with 1 there is no pool.
        pool: Items of a pool.
        group_positives: Most positives of a group.
        room: Most gradients of a group: one for each weight of its positives and negatives.

    Returns:
        Scratch of ``O(GROUPS * (LANES * dim + pool * LANES))`` bytes, and of what is written to
        ``gradient``, so that ``room`` may be a bound that is not reached.
    """
    n_items = item_reg.size
    hard = candidates > 1
    pool = pool if hard else 0
    records = 2 * group_positives

    def floats(*shape: int) -> NDArray[np.float32]:
        return np.zeros((GROUPS, *shape), np.float32)

    return Workspace(
        item_reg,
        UserVectors(
            scale=floats(LANES),
            x=floats(LANES, dim),
            dx=floats(LANES, dim),
            summed=floats(LANES, dim if history else 0),
            whole=floats(dim),
            slope=floats(dim if history else 0),
            whole_slope=floats(dim if history else 0),
            own_sums=floats(dim if history else 0),
            own_x=floats(dim if history else 0),
            own_slope=floats(dim if history else 0),
            spare=floats(dim),
        ),
        Pools(
            items=np.zeros((GROUPS, pool), np.int32),
            scores=floats(pool, LANES),
            bias=floats(pool),
            lanes=floats(dim if hard else 0, LANES),
            seen=np.zeros((GROUPS, n_items // 64 + 1), np.uint64),
        ),
        Records(
            negatives=np.zeros((GROUPS, group_positives), np.int32),
            row=np.zeros((GROUPS, records), np.int32),
            lane=np.zeros((GROUPS, records), np.int8),
            bias_gradient=floats(records),
            gradient=_unwritten(GROUPS, room + WIDTH),  # a vector may reach beyond
            own_start=np.zeros((GROUPS, group_positives), np.uint64),
            first=np.zeros((GROUPS, PARTS + 1), np.int64),
            begin=np.zeros((GROUPS, PARTS), np.uint64),
            place=np.zeros((GROUPS, PARTS), np.int64),
            end=np.zeros((GROUPS, PARTS), np.uint64),
        ),
        Turns(
            groups_taken=np.zeros(GROUPS, np.int64),
            parts_taken=np.zeros(PARTS, np.int64),
            arrivals=np.zeros(1, np.int64),
            loss=np.zeros(GROUPS),
            triples=np.zeros(GROUPS, np.int64),
            total_loss=np.zeros(1),
            total_triples=np.zeros(1, np.int64),
        ),
    )


def _unwritten(n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Map an array whose pages take memory only once they are written, as no heap does."""
    pages = mmap.mmap(-1, max(4 * n_rows * n_columns, 1))
    return np.frombuffer(pages, np.float32, n_rows * n_columns).reshape(n_rows, n_columns)
