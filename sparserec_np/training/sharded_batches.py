"""Batches that several peers train on together, each with the histories of its own users.

For a stretch of batches everyone learns the histories of its users (in the embedding model their
rows as well): they depend on nothing that the stretch changes. For each batch the peers share out
the groups, choose the negatives of their own, tell them to the others, and make all steps of the
item table alike. A stored interaction so moves as eight bytes an epoch: the item, and what was
chosen against it; no gradient does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import Interactions
from sparserec_np.training.kernels.arrays import (
    GROUPS,
    Embeddings,
    GradientAccumulator,
    Step,
    Workspace,
)
from sparserec_np.training.kernels.bpr import choose_batch, finish_batch
from sparserec_np.training.state import Parameters
from sparserec_np.utils.communicator import Communicator
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts


class ShardedBatches:
    """What a peer knows of the users of all.

    Args:
        comm: Everyone.
        interactions: Of the users here.
        degrees: Interactions of all users, int64 array.
    """

    def __init__(
        self, comm: Communicator, interactions: Interactions, degrees: NDArray[np.int64]
    ) -> None:
        self._comm = comm
        self._interactions = interactions
        self._degrees = degrees
        self._bounds = np.cumsum([0, *comm.all_gather_count(interactions.n_users)])
        self._first = int(self._bounds[comm.rank])

    def growth_here(self, growth: GradientAccumulator) -> GradientAccumulator:
        """Cut the lines of the users here out of a buffer for all users."""
        last = self._first + self._interactions.n_users
        return growth._replace(slot=growth.slot[self._first : last])

    def run_batches(
        self,
        first: int,
        last: int,
        starts: NDArray[np.int64],
        order: NDArray[np.int64],
        tables: Parameters,
        history: bool,
        step: Step,
        scratch: Workspace,
        item_growth: GradientAccumulator,
        user_growth: GradientAccumulator,
    ) -> tuple[float, int]:
        """Train on some batches; see :func:`sparserec_np.training.kernels.bpr.run_batches`.

        Args:
            first: First batch.
            last: One past the last batch.
            starts: Where each group begins in ``order``.
            order: Users, by their numbers among all.
            tables: Changed; that of the users has the rows of those here.
            history: Whether users are composed from their histories.
            step: Scalars.
            scratch: Scratch memory.
            item_growth: See there.
            user_growth: For all users; only lines of those here are changed.

        Returns:
            Sum of the losses, and number of triples.
        """
        starts = starts[first * GROUPS : last * GROUPS + 1]
        order = order[starts[0] : starts[-1]]
        starts = starts - starts[0]
        owners = np.searchsorted(self._bounds, order, side="right") - 1
        here = order[owners == self._comm.rank] - self._first
        indptr, items = self._histories(order, owners, here)
        users, rows = tables.users, tables.users
        if not history:
            rows = self._rows(users, order, owners, here)
            slot = np.full(order.size, -1, np.int32)
            slot[owners == self._comm.rank] = user_growth.slot[here + self._first]
            user_growth = user_growth._replace(slot=slot)
        loss, triples = 0.0, 0
        rank, size = self._comm.rank, self._comm.world_size
        data = indptr, items, *tables.items, rows, history, step, scratch
        for batch in range(last - first):
            choose_batch(batch, rank, size, starts, order, *data)
            self._tell(batch, starts, indptr, scratch)
            batch_loss, batch_triples = finish_batch(
                batch, rank, size, starts, *data, item_growth, user_growth
            )
            loss += batch_loss
            triples += batch_triples
        if not history:
            _put_back(users, here, rows, np.flatnonzero(owners == rank))
        return loss, triples

    def _histories(
        self, order: NDArray[np.int64], owners: NDArray[np.int64], here: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Bring the histories of some users together, in their order."""
        lengths = self._degrees[order]
        own = self._interactions
        parts = self._comm.all_gather(own.items[entries_of_rows(own.indptr, here)])
        return indptr_from_counts(lengths), _merged(parts, np.repeat(owners, lengths))

    def _rows(
        self,
        users: Embeddings,
        order: NDArray[np.int64],
        owners: NDArray[np.int64],
        here: NDArray[np.int64],
    ) -> Embeddings:
        """Bring the rows of some users together; those of others have no use for their squares."""
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

    def _tell(
        self,
        batch: int,
        starts: NDArray[np.int64],
        indptr: NDArray[np.int64],
        scratch: Workspace,
    ) -> None:
        """Tell the others which negatives were chosen here, and learn what they chose."""
        rank, size = self._comm.rank, self._comm.world_size
        bounds = indptr[starts[batch * GROUPS : (batch + 1) * GROUPS + 1]]
        lengths = np.diff(bounds)
        chosen = [scratch.negatives[g, : lengths[g]] for g in range(lengths.size)]
        mine = b"".join(part.tobytes() for part in chosen[rank::size])
        came = self._comm.all_to_all({r: mine for r in range(size) if r != rank})
        for r, data in came.items():
            negatives = np.frombuffer(data, np.int32)
            at = 0
            for part in chosen[r::size]:
                part[:] = negatives[at : at + part.size]
                at += part.size


def _merged(parts: list[NDArray[Any]], owners: NDArray[np.int64]) -> NDArray[Any]:
    """Put arrays into one, whose entry t is the next one of the array ``owners[t]``."""
    merged = np.empty(owners.size, parts[0].dtype)
    for rank, part in enumerate(parts):
        merged[owners == rank] = part
    return merged


def _put_back(
    users: Embeddings, here: NDArray[np.int64], rows: Embeddings, places: NDArray[np.int64]
) -> None:
    """Take over what training has made of the rows of the users here."""
    to, source = entries_of_rows(users.indptr, here), entries_of_rows(rows.indptr, places)
    users.values[to] = rows.values[source]
    users.squares[to] = rows.squares[source]
