"""Model arrays to the bytes of a file: quantised and packed.

``FORMAT.md`` specifies the file. Memory: the packed parts and, for one table at a time, positions
as 64-bit keys: some 20 bytes a weight of that table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sparserec_np.errors import InputError
from sparserec_np.modelfile import bitpacking, container
from sparserec_np.modelfile.arrays import (
    NEIGHBOUR_BITS,
    ModelArrays,
    Neighbours,
    Table,
    check,
)
from sparserec_np.modelfile.layout import (
    ROWS_A_BLOCK,
    ROWS_A_BYTE,
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
from sparserec_np.vocabulary import Ids, StrIds, strings_from_bytes

BIAS_BITS = 6
HISTORY_BITS = 6

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
        The file; its size is known beforehand (:mod:`sparserec_np.modelfile.size_plan`).

    Raises:
        InputError: A value is not finite, arrays do not fit together, a size is out of range, or
            ``config`` and ``facts`` are no JSON or too long.
    """
    check(arrays)
    tensors: Tensors = {}
    items = _encode_table(arrays.items, arrays.value_bits, by_dim=True, prefix="items", out=tensors)
    bias = _encode_codes(arrays.item_bias, bias_bits, prefix="bias", out=tensors)
    item_ids = encode_ids(arrays.item_ids, prefix="item_ids", out=tensors)
    user_side: UsersLayout | HistoryLayout
    if arrays.user_rows is not None and arrays.user_ids is not None:
        rows = _encode_table(
            arrays.user_rows, arrays.value_bits, by_dim=False, prefix="users", out=tensors
        )
        user_side = UsersLayout(rows, encode_ids(arrays.user_ids, prefix="user_ids", out=tensors))
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
            None if arrays.neighbours is None else _encode_neighbours(arrays.neighbours, tensors),
        )
    labels = None
    if arrays.labels is not None:
        labels = encode_strings(label_strings(arrays.labels), prefix="labels", out=tensors)
    layout = Layout(items, bias, item_ids, user_side, labels)
    metadata = metadata_of(
        layout, json_text(arrays.config, "config"), json_text(arrays.facts, "facts")
    )
    try:
        data = container.build(metadata, {name: tensors[name] for name in layout.tensors()})
    except ValueError as error:
        raise InputError(f"the model's config and facts are too long to store: {error}") from None
    if layout.n_rows > ROWS_A_BYTE * len(data):
        raise InputError(
            f"{layout.n_rows:,} items and users in {len(data):,} bytes, which no reader takes: "
            "store more weights or more bits"
        )
    return data


def metadata_of(layout: Layout, config: str, facts: str) -> dict[str, str]:
    """Return the texts of the header, but for format and checksums."""
    model = json.dumps(layout.to_json(), separators=(",", ":"))
    return {"version": layout.version, "model": model, "config": config, "facts": facts}


def json_text(value: Mapping[str, Any], what: str) -> str:
    """Write ``config`` or ``facts`` as JSON; ``what`` names it in the error."""
    try:
        text = json.dumps(dict(value), separators=(",", ":"), allow_nan=False)
        container.strict_json(text)
        return text
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


def _encode_neighbours(neighbours: Neighbours, out: Tensors) -> TableLayout:
    """Encode by item of a history (key = item * n_items + scored item)."""
    n = len(neighbours)
    levels = fit_levels(neighbours.values, NEIGHBOUR_BITS)
    codes = assign(neighbours.values, levels)
    out["neighbours.levels"] = levels
    out["neighbours.codes"] = bitpacking.pack_bits(codes, NEIGHBOUR_BITS)
    counts = np.diff(neighbours.indptr).astype(np.intp, copy=False)
    keys = np.repeat(np.arange(n, dtype=np.int64) * n, counts)
    keys += neighbours.items
    layout = neighbours_layout(n, len(keys))
    out["neighbours.low"], out["neighbours.high"] = bitpacking.encode_monotone(
        keys, n * n, layout.low_bits
    )
    return layout


def neighbours_layout(n_items: int, nnz: int) -> TableLayout:
    """Return the layout of so many neighbours of so many items."""
    return TableLayout.smallest(n_items, n_items, nnz, NEIGHBOUR_BITS, has_directory=False)


def encode_ids(ids: Ids, *, prefix: str, out: Tensors) -> IdsLayout:
    """Encode a vocabulary; its tensors go to ``out``, their names beginning with ``prefix``."""
    if isinstance(ids, StrIds):
        return encode_strings(ids, prefix=prefix, out=out)
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


def encode_strings(texts: StrIds, *, prefix: str, out: Tensors) -> TextsLayout:
    """Encode strings; their tensor goes to ``out``, its name beginning with ``prefix``."""
    layout, out[f"{prefix}.texts"] = encode_texts(texts)
    return layout


def label_strings(labels: Sequence[str]) -> StrIds:
    """Encode labels as UTF-8, in their order."""
    try:
        return strings_from_bytes([label.encode() for label in labels])
    except UnicodeEncodeError as error:
        raise InputError(f"the label {error.object!r} is no valid Unicode text") from error
