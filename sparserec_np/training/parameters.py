"""The parameters of a model: everything that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters


@dataclass(eq=False)
class Parameters:
    """The parameters of a model. Training changes the arrays in place."""

    items: ItemParameters
    users: Embeddings
    """Without weights in the history model."""
    dim: int

    @property
    def nnz(self) -> int:
        """Weights stored in all embeddings."""
        return self.items.rows.values.size + self.users.values.size

    def changing(self) -> list[NDArray[np.float32]]:
        """Return the arrays that an epoch changes in place; exploration makes new ones of others.

        They are values, biases and Adagrad's sums.
        """
        items, users = self.items, self.users
        return [
            items.rows.values, items.rows.squares, items.bias, items.bias_squares,
            users.values, users.squares,
        ]  # fmt: skip

    def with_changing(self, arrays: Sequence[NDArray[np.float32]]) -> Parameters:
        """Return the same parameters but for other arrays in the place of :meth:`changing`."""
        values, squares, bias, bias_squares, user_values, user_squares = arrays
        rows = self.items.rows._replace(values=values, squares=squares)
        items = self.items._replace(rows=rows, bias=bias, bias_squares=bias_squares)
        users = self.users._replace(values=user_values, squares=user_squares)
        return replace(self, items=items, users=users)

    def copy(self) -> Parameters:
        """Copy what an epoch changes in place; positions are shared."""
        return self.with_changing([array.copy() for array in self.changing()])

    def snapshot(self) -> Parameters:
        """Copy what a model is made of: as :meth:`copy`, but without Adagrad's sums."""
        values, _, bias, _, user_values, _ = self.changing()
        none = np.zeros(0, np.float32)
        return self.with_changing(
            [values.copy(), none, bias.copy(), none, user_values.copy(), none]
        )


def empty_embeddings(n_rows: int) -> Embeddings:
    """Return embeddings without weights."""
    none = np.zeros(0, np.float32)
    return Embeddings(np.zeros(n_rows + 1, np.int64), np.zeros(0, np.uint16), none, none.copy())
