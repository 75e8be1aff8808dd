"""The size of a model file as a function of its counts, before there is a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparserec_np.errors import InputError
from sparserec_np.modelfile import container
from sparserec_np.modelfile.arrays import VALUE_BITS, UserModel
from sparserec_np.modelfile.layout import (
    CodesLayout,
    HistoryLayout,
    Layout,
    TableLayout,
    UsersLayout,
)
from sparserec_np.modelfile.writer import (
    BIAS_BITS,
    HISTORY_BITS,
    encode_ids,
    encode_strings,
    json_text,
    label_strings,
    metadata_of,
    neighbours_layout,
)
from sparserec_np.vocabulary import Ids

TEXT_ROOM = 2048
"""Bytes of the header that a :class:`SizePlan` keeps for config and facts, unless given."""


def text_bytes(config: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
    """Bytes of the header that these two take: what ``text_room`` of a :class:`SizePlan` is for."""
    return sum(
        len(json.dumps(json_text(value, what))) - len('"{}"')
        for value, what in ((config, "config"), (facts, "facts"))
    )


class SizePlan:
    """The size of a model file as a function of its counts, before there is a model.

    Args:
        users: User model.
        dim: Columns of the tables.
        item_ids: Ids of the items.
        user_ids: Ids of the users (``"embedding"`` only).
        labels: A text for each item, or None.
        history_exponent: As it will be written (``"history"`` only).
        history_power: Likewise.
        history_recency: Likewise.
        has_history_weights: Whether there will be history weights (``"history"`` only).
        value_bits: Bits of a stored weight.
        bias_bits: Bits of an item bias.
        history_bits: Bits of a history weight.
        text_room: Bytes of the header to keep for config and facts; :func:`text_bytes` measures
            them. What they do not use makes the file shorter than planned, what they take beyond
            makes it longer.
    """

    def __init__(
        self,
        *,
        users: UserModel,
        dim: int,
        item_ids: Ids,
        user_ids: Ids | None = None,
        labels: Sequence[str] | None = None,
        history_exponent: float = 0.0,
        history_power: float = 1.0,
        history_recency: float = 0.0,
        has_history_weights: bool = True,
        value_bits: int = VALUE_BITS,
        bias_bits: int = BIAS_BITS,
        history_bits: int = HISTORY_BITS,
        text_room: int = TEXT_ROOM,
    ) -> None:
        if (users == "embedding") != (user_ids is not None):
            raise InputError("user ids belong to an embedding model, and to no other")
        self._dim = dim
        self._value_bits = value_bits
        self._text_room = text_room
        self.n_items = len(item_ids)
        self._bias = CodesLayout(len(item_ids), bias_bits)
        self._item_ids = encode_ids(item_ids, prefix="", out={})
        self._user_ids = None if user_ids is None else encode_ids(user_ids, prefix="", out={})
        self._history = HistoryLayout(
            float(history_exponent),
            CodesLayout(len(item_ids), history_bits if has_history_weights else 0),
            float(history_power),
            float(history_recency),
        )
        self._labels = None
        if labels is not None:
            self._labels = encode_strings(label_strings(labels), prefix="", out={})

    def encoded_size(
        self, item_weights: int, user_weights: int = 0, neighbours: int | None = None
    ) -> int:
        """Bytes of the file with these numbers of weights; exact if config and facts fill the room.

        Args:
            item_weights: Weights of the item table.
            user_weights: Weights of the user table (``"embedding"`` only).
            neighbours: Entries of the neighbours; None: there are none (``"history"`` only).
        """
        items = TableLayout.smallest(
            self.n_items, self._dim, item_weights, self._value_bits, has_directory=False
        )
        user_side: UsersLayout | HistoryLayout = self._history
        if neighbours is not None:
            user_side = self._history._replace(
                neighbours=neighbours_layout(self.n_items, neighbours)
            )
        if self._user_ids is not None:
            rows = TableLayout.smallest(
                self._user_ids.n_rows,
                self._dim,
                user_weights,
                self._value_bits,
                has_directory=True,
            )
            user_side = UsersLayout(rows, self._user_ids)
        layout = Layout(items, self._bias, self._item_ids, user_side, self._labels)
        tensors = layout.tensors()
        filler = "{" + "x" * self._text_room + "}"
        header = container.build_header(metadata_of(layout, filler, "{}"), tensors)
        return len(header) + sum(
            length * (1 if dtype == "U8" else 4) for dtype, length in tensors.values()
        )

    def budget_for(
        self, max_bytes: int, split: Callable[[int], tuple[int, int]] | None = None
    ) -> int:
        """Find the largest number of weights whose file has at most ``max_bytes`` bytes.

        Args:
            max_bytes: Most bytes of the file.
            split: Turns a number of weights into those of the item and of the user table, both
                never falling as the number grows. Default: by the number of rows.

        Returns:
            Weights in all; ``split`` of it are those of the tables.

        Raises:
            InputError: Not even a file without weights is that small; the message says what ids,
                labels and the rest take.
        """
        split = split or self._by_rows
        empty = self.encoded_size(0)
        if empty > max_bytes:
            raise InputError(
                f"a file of {max_bytes:,} bytes cannot hold the model: ids, labels, item biases "
                f"and the header alone take {empty:,} bytes; allow more"
            )
        low, high = 0, self._dim * (self.n_items + self._n_users)
        while low < high:
            middle = (low + high + 1) // 2
            if self.encoded_size(*split(middle)) <= max_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    def neighbours_for(self, max_bytes: int, item_weights: int, most: int) -> int | None:
        """Find the largest number of neighbours that fit into a file beside the item table.

        Args:
            max_bytes: Most bytes of the file.
            item_weights: Weights of the item table.
            most: Most entries, whatever the size.

        Returns:
            Entries; None if not even one fits.
        """
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.encoded_size(item_weights, neighbours=middle) <= max_bytes:
                low = middle
            else:
                high = middle - 1
        return low or None

    @property
    def _n_users(self) -> int:
        return 0 if self._user_ids is None else self._user_ids.n_rows

    def _by_rows(self, weights: int) -> tuple[int, int]:
        item_weights = -(-weights * self.n_items // (self.n_items + self._n_users))
        return item_weights, weights - item_weights
