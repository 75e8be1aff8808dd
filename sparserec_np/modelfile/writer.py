"""Model arrays to the bytes of a file: quantised, packed, with its size known before training.

``FORMAT.md`` specifies the file; :mod:`sparserec_np.modelfile.reader` reads it. Encoding holds the packed
parts and, of one table at a time, positions as 64-bit keys: some 20 bytes a weight of that table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparserec_np.errors import InputError
from sparserec_np.modelfile import bitpacking, container
from sparserec_np.modelfile.arrays import VALUE_BITS, ModelArrays, Table, UserModel, check
from sparserec_np.modelfile.layout import (
    ROWS_A_BLOCK,
    CodesLayout,
    HistoryLayout,
    IdsLayout,
    IntIdsLayout,
    Layout,
    TableLayout,
    TextsLayout,
    UsersLayout,
)
from sparserec_np.modelfile.quantization import assign, fit_levels
from sparserec_np.modelfile.strings import encode_texts
from sparserec_np.utils.atomic_write import check_writable, write
from sparserec_np.vocabulary import Ids, StrIds, strings_from_bytes

__all__ = [
    "BIAS_BITS",
    "HISTORY_BITS",
    "TEXT_ROOM",
    "VALUE_BITS",
    "ModelArrays",
    "SizePlan",
    "Table",
    "UserModel",
    "check_writable",
    "encode",
    "text_bytes",
    "write",
]

BIAS_BITS = 6
HISTORY_BITS = 6
TEXT_ROOM = 2048
"""Bytes of the header that a :class:`SizePlan` keeps for config and facts unless told."""

Tensors = dict[str, npt.NDArray[Any]]


def encode(
    arrays: ModelArrays, *, bias_bits: int = BIAS_BITS, history_bits: int = HISTORY_BITS
) -> bytes:
    """Turn a model into the bytes of a file; the same model gives the same bytes.

    Args:
        arrays: The model.
        bias_bits: Bits of an item bias, 1 to 8.
        history_bits: Bits of a history weight, 1 to 8.

    Returns:
        The file, of as many bytes as :meth:`SizePlan.encoded_size` says.

    Raises:
        InputError: A value is not finite, arrays do not fit together, a size is out of range, or
            ``config`` and ``facts`` are no JSON or too long.
    """
    check(arrays)
    tensors: Tensors = {}
    items = _encode_table(arrays.items, arrays.value_bits, by_dim=True, prefix="items", out=tensors)
    bias = _encode_codes(arrays.item_bias, bias_bits, prefix="bias", out=tensors)
    item_ids = _encode_ids(arrays.item_ids, prefix="item_ids", out=tensors)
    user_side: UsersLayout | HistoryLayout
    if arrays.user_rows is not None and arrays.user_ids is not None:
        rows = _encode_table(
            arrays.user_rows, arrays.value_bits, by_dim=False, prefix="users", out=tensors
        )
        user_side = UsersLayout(rows, _encode_ids(arrays.user_ids, prefix="user_ids", out=tensors))
    else:
        weights = CodesLayout(len(arrays.item_ids), 0)
        if arrays.history_weights is not None:
            weights = _encode_codes(
                arrays.history_weights, history_bits, prefix="history", out=tensors
            )
        user_side = HistoryLayout(
            float(arrays.history_exponent),
            weights,
            float(arrays.history_power),
            float(arrays.history_recency),
        )
    labels = None
    if arrays.labels is not None:
        labels = _encode_texts(_label_texts(arrays.labels), prefix="labels", out=tensors)
    layout = Layout(items, bias, item_ids, user_side, labels)
    metadata = _metadata(layout, _json(arrays.config, "config"), _json(arrays.facts, "facts"))
    try:
        return container.build(metadata, {name: tensors[name] for name in layout.tensors()})
    except ValueError as error:
        raise InputError(f"the model's config and facts are too long to store: {error}") from None


def text_bytes(config: Mapping[str, Any], facts: Mapping[str, Any]) -> int:
    """Bytes of the header that these two take: what ``text_room`` of a :class:`SizePlan` is for."""
    return sum(
        len(json.dumps(_json(value, what))) - len('"{}"')
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
        self._n_items = len(item_ids)
        self._bias = CodesLayout(len(item_ids), bias_bits)
        self._item_ids = _encode_ids(item_ids, prefix="", out={})
        self._user_ids = None if user_ids is None else _encode_ids(user_ids, prefix="", out={})
        self._history = HistoryLayout(
            float(history_exponent),
            CodesLayout(len(item_ids), history_bits if has_history_weights else 0),
            float(history_power),
            float(history_recency),
        )
        self._labels = None
        if labels is not None:
            self._labels = _encode_texts(_label_texts(labels), prefix="", out={})

    def encoded_size(self, item_weights: int, user_weights: int = 0) -> int:
        """Bytes of the file with these numbers of weights; exact if config and facts fill the room.

        Args:
            item_weights: Weights of the item table.
            user_weights: Weights of the user table (``"embedding"`` only).
        """
        items = TableLayout.smallest(
            self._n_items, self._dim, item_weights, self._value_bits, has_directory=False
        )
        user_side: UsersLayout | HistoryLayout = self._history
        if self._user_ids is not None:
            rows = TableLayout.smallest(
                self._user_ids.rows,
                self._dim,
                user_weights,
                self._value_bits,
                has_directory=True,
            )
            user_side = UsersLayout(rows, self._user_ids)
        layout = Layout(items, self._bias, self._item_ids, user_side, self._labels)
        tensors = layout.tensors()
        filler = "{" + "x" * self._text_room + "}"
        header = container.build_header(_metadata(layout, filler, "{}"), tensors)
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
        low, high = 0, self._dim * (self._n_items + self._n_users)
        while low < high:
            middle = (low + high + 1) // 2
            if self.encoded_size(*split(middle)) <= max_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    @property
    def _n_users(self) -> int:
        return 0 if self._user_ids is None else self._user_ids.rows

    def _by_rows(self, weights: int) -> tuple[int, int]:
        item_weights = -(-weights * self._n_items // (self._n_items + self._n_users))
        return item_weights, weights - item_weights


def _metadata(layout: Layout, config: str, facts: str) -> dict[str, str]:
    model = json.dumps(layout.to_json(), separators=(",", ":"))
    return {"version": layout.version, "model": model, "config": config, "facts": facts}


def _json(value: Mapping[str, Any], what: str) -> str:
    try:
        return json.dumps(dict(value), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the model's {what} cannot be stored as JSON: {error}") from error


def _encode_codes(
    values: npt.NDArray[np.float32], bits: int, *, prefix: str, out: Tensors
) -> CodesLayout:
    levels = fit_levels(values, bits)
    out[f"{prefix}.levels"] = levels
    out[f"{prefix}.codes"] = bitpacking.pack_bits(assign(values, levels), bits)
    return CodesLayout(len(values), bits)


def _encode_table(
    table: Table, value_bits: int, *, by_dim: bool, prefix: str, out: Tensors
) -> TableLayout:
    """Encode by dimension (key = dim * rows + row) or by row, with a directory of blocks."""
    n = len(table)
    # Codes first: what they take besides is gone before there are keys.
    levels = fit_levels(table.values, value_bits)
    codes = assign(table.values, levels)
    if by_dim:
        codes = codes[np.argsort(table.dims, kind="stable")]
    out[f"{prefix}.levels"], out[f"{prefix}.codes"] = (
        levels,
        bitpacking.pack_bits(codes, value_bits),
    )
    counts = np.diff(table.indptr).astype(np.intp, copy=False)
    keys = np.repeat(np.arange(n, dtype=np.int64), counts)
    if by_dim:
        keys += np.multiply(table.dims, n, dtype=np.int64)
        keys.sort()
    else:
        keys *= table.dim
        keys += table.dims
        blocks = table.indptr[np.r_[0:n:ROWS_A_BLOCK, n]]
        out[f"{prefix}.blocks"] = blocks.astype("<u4")
    layout = TableLayout.smallest(n, table.dim, len(keys), value_bits, has_directory=not by_dim)
    out[f"{prefix}.low"], out[f"{prefix}.high"] = bitpacking.encode_monotone(
        keys, n * table.dim, layout.low_bits
    )
    return layout


def _encode_ids(ids: Ids, *, prefix: str, out: Tensors) -> IdsLayout:
    if isinstance(ids, StrIds):
        return _encode_texts(ids, prefix=prefix, out=out)
    (values,) = ids.arrays
    start, last = (int(values[0]), int(values[-1])) if len(ids) else (0, -1)
    span = last - start + 1
    if span == len(ids):
        return IntIdsLayout(len(ids), start, span, 0)
    low_bits = bitpacking.choose_low_bits(len(ids), span)
    steps = values.view(np.uint64) - np.uint64(start % 2**64)  # exact modulo 2**64
    low, high = bitpacking.encode_monotone(steps, span, low_bits)
    out[f"{prefix}.low"], out[f"{prefix}.high"] = low, high
    return IntIdsLayout(len(ids), start, span, low_bits)


def _encode_texts(texts: StrIds, *, prefix: str, out: Tensors) -> TextsLayout:
    layout, out[f"{prefix}.texts"] = encode_texts(texts)
    return layout


def _label_texts(labels: Sequence[str]) -> StrIds:
    try:
        return strings_from_bytes([label.encode() for label in labels])
    except UnicodeEncodeError as error:
        raise InputError(f"the label {error.object!r} is no valid Unicode text") from error
