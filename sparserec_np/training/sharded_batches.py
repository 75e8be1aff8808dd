"""Batches that several workers train on together, each with the histories of its own users.

For some batches at a time every worker receives the histories of their users (in the embedding
model their rows as well): they depend on nothing that these batches change. For each batch the
workers share out the groups, choose the negatives of their own groups, send them to the others, and
make all steps of the item rows alike. While the negatives are on their way, the own groups are
visited. An interaction is sent as eight bytes an epoch: the item, and the negative chosen for it;
no gradient is sent. Gradient accumulators, which only exploration needs, are shared out by rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.kernels.arrays import (
    GROUPS,
    Batches,
    Embeddings,
    GradientAccumulator,
    Histories,
    Step,
    Workspace,
)
from sparserec_np.training.kernels.batches import choose_batch, finish_batch, visit_chosen
from sparserec_np.training.parameters import Parameters
from sparserec_np.utils.communicator import communicator
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts
from sparserec_np.utils.parallel import run_parallel


class ShardedBatches:
    """A worker's part in batches over the users of all workers.

    Args:
        interactions: Of the users of this worker.
        degrees: Interactions of all users, int64 array.
        item_degrees: The same of all items.

    Attributes:
        own_rows: Item rows whose gradients this worker accumulates, bool array of shape [n_items]:
            consecutive ones, of about as many interactions as those of every other worker.
    """

    def __init__(
        self,
        interactions: Interactions,
        degrees: NDArray[np.int64],
        item_degrees: NDArray[np.int64],
    ) -> None:
        self._comm = comm = communicator()
        self._interactions = interactions
        self._degrees = degrees
        self._bounds = np.cumsum([0, *comm.all_gather_count(interactions.n_users)])
        self._first = int(self._bounds[comm.rank])
        before = np.cumsum(item_degrees) - item_degrees
        owners = comm.world_size * before // max(int(item_degrees.sum()), 1)
        self.own_rows = owners == comm.rank

    def own_lines(self, accumulator: GradientAccumulator) -> GradientAccumulator:
        """Leave only the lines of :attr:`own_rows` in an accumulator of the items."""
        return accumulator._replace(slot=np.where(self.own_rows, accumulator.slot, np.int32(-1)))

    def own_part(self, accumulator: GradientAccumulator) -> GradientAccumulator:
        """Cut the lines of the users of this worker out of an accumulator for all users."""
        last = self._first + self._interactions.n_users
        return accumulator._replace(slot=accumulator.slot[self._first : last])

    def train_batches(
        self,
        first: int,
        last: int,
        batches: Batches,
        parameters: Parameters,
        step: Step,
        w: Workspace,
        item_sums: GradientAccumulator,
        user_sums: GradientAccumulator | None,
    ) -> tuple[float, int]:
        """Train on some batches; see :func:`sparserec_np.training.kernels.batches.train_batches`.

        Args:
            first: First batch.
            last: One past the last batch.
            batches: Batches over all users, by their numbers among all.
            parameters: Changed; the user embeddings have the rows of the users of this worker.
            step: Scalars.
            w: Scratch memory.
            item_sums: As :meth:`own_lines` returns it.
            user_sums: For all users; only lines of those of this worker are changed. None in the
                history model.

        Returns:
            Sum of the losses, and number of triples.
        """
        starts = batches.starts[first * GROUPS : last * GROUPS + 1]
        order = batches.order[starts[0] : starts[-1]]
        some = Batches(order, starts - starts[0], batches.turns[first:last])
        owners = np.searchsorted(self._bounds, order, side="right") - 1
        here = order[owners == self._comm.rank] - self._first
        histories = self._histories(order, owners, here)
        users = None
        if user_sums is not None:
            users = self._rows(parameters.users, order, owners, here)
            slot = np.full(order.size, -1, np.int32)
            slot[owners == self._comm.rank] = user_sums.slot[here + self._first]
            user_sums = user_sums._replace(slot=slot)
        loss, triples = 0.0, 0
        rank, size = self._comm.rank, self._comm.world_size
        for batch in range(last - first):
            data = batch, rank, size, some, histories, parameters.items, users, step, w
            run_parallel(choose_batch, *data)
            receive = self._exchange_negatives(batch, some.starts, histories, w)
            run_parallel(visit_chosen, *data, user_sums)
            receive()
            w.turns.arrivals[0] = 0
            run_parallel(finish_batch, *data, item_sums, user_sums)
            loss += float(w.turns.total_loss[0])
            triples += int(w.turns.total_triples[0])
        if users is not None:
            _put_back(parameters.users, here, users, np.flatnonzero(owners == rank))
        return loss, triples

    def _histories(
        self, order: NDArray[np.int64], owners: NDArray[np.int64], here: NDArray[np.int64]
    ) -> Histories:
        """Gather the histories of some users, in their order."""
        lengths = self._degrees[order]
        own = self._interactions
        parts = self._comm.all_gather(own.items[entries_of_rows(own.indptr, here)])
        return Histories(indptr_from_counts(lengths), _merged(parts, np.repeat(owners, lengths)))

    def _rows(
        self,
        users: Embeddings,
        order: NDArray[np.int64],
        owners: NDArray[np.int64],
        here: NDArray[np.int64],
    ) -> Embeddings:
        """Gather the rows of some users; those of other workers need no squares."""
        entries = entries_of_rows(users.indptr, here)
        lengths = _merged(self._comm.all_gather(np.diff(users.indptr)[here]), owners)
        by_entry = np.repeat(owners, lengths)
        squares = np.ones(by_entry.size, np.float32)
        squares[by_entry == self._comm.rank] = users.squares[entries]
        return Embeddings(
            indptr_from_counts(lengths),
            _merged(self._comm.all_gather(users.dims[entries]), by_entry),
            _merged(self._comm.all_gather(users.values[entries]), by_entry),
            squares,
        )

    def _exchange_negatives(
        self, batch: int, starts: NDArray[np.int64], histories: Histories, w: Workspace
    ) -> Callable[[], None]:
        """Send the negatives that were chosen here to the others; return what receives theirs."""
        rank, size = self._comm.rank, self._comm.world_size
        bounds = histories.indptr[starts[batch * GROUPS : (batch + 1) * GROUPS + 1]]
        lengths = np.diff(bounds)
        chosen = [w.records.negatives[g, : lengths[g]] for g in range(lengths.size)]
        own = b"".join(part.tobytes() for part in chosen[rank::size])
        arrived = self._comm.start_all_to_all({r: own for r in range(size) if r != rank})

        def receive() -> None:
            for r, data in arrived().items():
                negatives = np.frombuffer(data, np.int32)
                at = 0
                for part in chosen[r::size]:
                    part[:] = negatives[at : at + part.size]
                    at += part.size

        return receive


def _merged(parts: list[NDArray[Any]], owners: NDArray[np.int64]) -> NDArray[Any]:
    """Merge arrays into one, whose entry t is the next one of the array ``owners[t]``."""
    merged = np.empty(owners.size, parts[0].dtype)
    for rank, part in enumerate(parts):
        merged[owners == rank] = part
    return merged


def _put_back(
    users: Embeddings, here: NDArray[np.int64], rows: Embeddings, places: NDArray[np.int64]
) -> None:
    """Copy the trained rows of the users of this worker back."""
    to, source = entries_of_rows(users.indptr, here), entries_of_rows(rows.indptr, places)
    users.values[to] = rows.values[source]
    users.squares[to] = rows.squares[source]
