"""The layout of a model file: the few numbers that determine its tensors and their lengths.

The writer turns a :class:`Layout` into JSON, and knows the size of a file before there is one; the
reader turns the JSON back, checks every number against its range, and compares the tensors that
follow from it with those of the file. ``FORMAT.md`` gives the meaning of every field.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sparserec_np.modelfile.bitpacking import (
    MAX_BITS,
    MAX_CODE_BITS,
    choose_low_bits,
    packed_bytes,
    unary_bytes,
)
from sparserec_np.modelfile.container import MAX_COUNT, damaged, whole_number
from sparserec_np.vocabulary import INT64_MAX, INT64_MIN

MAX_DIM = 65_535
MAX_ROWS = 2**31 - 1
MAX_NNZ = 2**32 - 1
MAX_VALUE = 1e6
"""Largest magnitude of a weight, a bias or a history weight: no score can overflow."""
MAX_EXPONENT = 2.0
EIGHTHS = 8
"""Power and recency of a history are stored as whole numbers of 1 / ``EIGHTHS``."""
ROWS_A_BYTE = 2
"""Most items and users for each byte of a file: a reader's memory is in proportion to the file."""
ROWS_A_BLOCK = 256
"""Rows of a row-major table between two entries of its directory."""

TensorSpecs = dict[str, tuple[str, int]]
"""dtype and length by name, in the order of their data."""


class CodesLayout(NamedTuple):
    """A value for each row, as packed codes and a codebook; 0 bits: not stored."""

    n_rows: int
    bits: int

    def tensors(self, prefix: str) -> TensorSpecs:
        """Tensors of this part, their names beginning with ``prefix``."""
        if not self.bits:
            return {}
        return {
            f"{prefix}.levels": ("F32", 1 << self.bits),
            f"{prefix}.codes": ("U8", packed_bytes(self.n_rows, self.bits)),
        }


class TableLayout(NamedTuple):
    """A sparse table: ``nnz`` positions as a monotone sequence, and their codes."""

    n_rows: int
    dim: int
    nnz: int
    low_bits: int
    value_bits: int
    has_directory: bool

    @classmethod
    def smallest(
        cls, n_rows: int, dim: int, nnz: int, value_bits: int, *, has_directory: bool
    ) -> TableLayout:
        """Choose the low bits for the smallest file."""
        low_bits = choose_low_bits(nnz, n_rows * dim)
        return cls(n_rows, dim, nnz, low_bits, value_bits, has_directory)

    @property
    def blocks(self) -> int:
        """Blocks of ``ROWS_A_BLOCK`` rows, the last one perhaps shorter."""
        return -(-self.n_rows // ROWS_A_BLOCK)

    def tensors(self, prefix: str) -> TensorSpecs:
        """Tensors of this part, their names beginning with ``prefix``."""
        specs: TensorSpecs = {f"{prefix}.levels": ("F32", 1 << self.value_bits)}
        if self.has_directory:
            specs[f"{prefix}.blocks"] = ("U32", self.blocks + 1)
        high = unary_bytes(self.nnz, self.n_rows * self.dim, self.low_bits)
        specs[f"{prefix}.high"] = ("U8", high)
        specs[f"{prefix}.low"] = ("U8", packed_bytes(self.nnz, self.low_bits))
        specs[f"{prefix}.codes"] = ("U8", packed_bytes(self.nnz, self.value_bits))
        return specs


class IntIdsLayout(NamedTuple):
    """Integer ids: all of a range if ``span == rows``, otherwise a monotone sequence."""

    n_rows: int
    start: int
    span: int
    low_bits: int

    def tensors(self, prefix: str) -> TensorSpecs:
        """Tensors of this part, their names beginning with ``prefix``."""
        if self.span == self.n_rows:
            return {}
        return {
            f"{prefix}.high": ("U8", unary_bytes(self.n_rows, self.span, self.low_bits)),
            f"{prefix}.low": ("U8", packed_bytes(self.n_rows, self.low_bits)),
        }


class TextsLayout(NamedTuple):
    """Texts, front-coded: see :mod:`sparserec_np.modelfile.strings`; deflated or not."""

    n_rows: int
    suffix_bytes: int
    width: int
    stored: int
    deflated: bool

    def tensors(self, prefix: str) -> TensorSpecs:
        """Tensors of this part, their names beginning with ``prefix``."""
        return {f"{prefix}.texts": ("U8", self.stored)}

    @property
    def raw_bytes(self) -> int:
        """Bytes of both lengths and the suffixes, inflated."""
        return 2 * self.n_rows * self.width + self.suffix_bytes

    @property
    def most_bytes(self) -> int:
        """Most bytes that inflating, and joining prefixes and suffixes, may give."""
        return 64 * self.stored + (1 << 24)


IdsLayout = IntIdsLayout | TextsLayout


class UsersLayout(NamedTuple):
    """The user side of an ``embedding`` model."""

    table: TableLayout
    ids: IdsLayout


class HistoryLayout(NamedTuple):
    """The user side of a ``history`` model."""

    exponent: float
    weights: CodesLayout
    power: float = 1.0
    recency: float = 0.0
    neighbours: TableLayout | None = None
    """Of ``n_items`` rows, the items of a history, and as many columns."""


class Layout(NamedTuple):
    """All scalars that a reader needs; ``user_side`` depends on the user model."""

    items: TableLayout
    bias: CodesLayout
    item_ids: IdsLayout
    user_side: UsersLayout | HistoryLayout
    labels: TextsLayout | None

    @property
    def users(self) -> str:
        """``"embedding"`` or ``"history"``."""
        return "embedding" if isinstance(self.user_side, UsersLayout) else "history"

    @property
    def version(self) -> str:
        """The lowest version of the format that can hold the model."""
        side = self.user_side
        if isinstance(side, UsersLayout):
            return "1.0"
        if side.neighbours is not None:
            return "4.0"
        return "3.0" if side.recency > 0 else "2.0" if side.power < 1 else "1.0"

    @property
    def n_rows(self) -> int:
        """Rows of both tables."""
        side = self.user_side
        return self.items.n_rows + (side.table.n_rows if isinstance(side, UsersLayout) else 0)

    def tensors(self) -> TensorSpecs:
        """All tensors, in the order of their data: four-byte types first, so all are aligned."""
        specs = self.items.tensors("items") | self.bias.tensors("bias")
        specs |= self.item_ids.tensors("item_ids")
        if isinstance(self.user_side, UsersLayout):
            specs |= self.user_side.table.tensors("users") | self.user_side.ids.tensors("user_ids")
        else:
            specs |= self.user_side.weights.tensors("history")
            if self.user_side.neighbours is not None:
                specs |= self.user_side.neighbours.tensors("neighbours")
        if self.labels:
            specs |= self.labels.tensors("labels")
        return dict(sorted(specs.items(), key=lambda item: item[1][0] == "U8"))

    def to_json(self) -> dict[str, Any]:
        """Write the layout as the JSON object that ``FORMAT.md`` describes."""
        items = self.items
        fields: dict[str, Any] = {
            "users": self.users,
            "dim": items.dim,
            "n_items": items.n_rows,
            "items": _table_to_json(items),
            "bias_bits": self.bias.bits,
            "item_ids": _ids_to_json(self.item_ids),
        }
        if isinstance(self.user_side, UsersLayout):
            fields["n_users"] = self.user_side.table.n_rows
            fields["user_table"] = _table_to_json(self.user_side.table)
            fields["user_ids"] = _ids_to_json(self.user_side.ids)
        else:
            fields["exponent"] = self.user_side.exponent
            fields["history_bits"] = self.user_side.weights.bits
            if self.user_side.power < 1:
                fields["eighths"] = round(self.user_side.power * EIGHTHS)
            if self.user_side.recency > 0:
                fields["recency"] = round(self.user_side.recency * EIGHTHS)
            if self.user_side.neighbours is not None:
                fields["neighbours"] = _table_to_json(self.user_side.neighbours)
        if self.labels:
            fields["labels"] = _texts_to_json(self.labels)
        return fields

    @classmethod
    def from_json(cls, value: dict[str, Any], name: str) -> Layout:
        """Read and check the JSON object; fields that this version does not know are ignored.

        Raises:
            ModelFileError: A field is missing, of another type, or out of its range.
        """
        fields = _Fields(value, "model", name)
        users = fields.text("users")
        dim = fields.integer("dim", 1, MAX_DIM)
        n_items = fields.integer("n_items", 1, MAX_ROWS)
        user_side: UsersLayout | HistoryLayout
        if users == "embedding":
            n_users = fields.integer("n_users", 1, MAX_ROWS)
            table = _table_from_json(fields.inner("user_table"), n_users, dim, has_directory=True)
            user_side = UsersLayout(table, _ids_from_json(fields.inner("user_ids"), n_users))
        elif users == "history":
            bits = fields.integer("history_bits", 0, MAX_CODE_BITS)
            exponent = fields.number("exponent", 0, MAX_EXPONENT)
            eighths = fields.integer("eighths", 1, EIGHTHS) if "eighths" in value else EIGHTHS
            recency = fields.integer("recency", 0, EIGHTHS) if "recency" in value else 0
            weights = CodesLayout(n_items, bits)
            neighbours = None
            if "neighbours" in value:
                inner = fields.inner("neighbours")
                neighbours = _table_from_json(inner, n_items, n_items, has_directory=False)
            user_side = HistoryLayout(
                exponent, weights, eighths / EIGHTHS, recency / EIGHTHS, neighbours
            )
        else:
            raise fields.wrong("users", "is neither 'embedding' nor 'history'")
        return cls(
            _table_from_json(fields.inner("items"), n_items, dim, has_directory=False),
            CodesLayout(n_items, fields.integer("bias_bits", 1, MAX_CODE_BITS)),
            _ids_from_json(fields.inner("item_ids"), n_items),
            user_side,
            _texts_from_json(fields.inner("labels"), n_items) if "labels" in value else None,
        )


class _Fields:
    """Typed access to the fields of a JSON object; every error names the field and the file."""

    def __init__(self, value: object, where: str, name: str) -> None:
        if not isinstance(value, dict):
            raise damaged(name, f"the header's field {where!r} is no JSON object")
        self._value: dict[str, Any] = value
        self._where = where
        self._name = name

    def wrong(self, key: str, what: str) -> Exception:
        return damaged(self._name, f"the header's field '{self._where}.{key}' {what}")

    def _get(self, key: str) -> object:
        if key not in self._value:
            raise self.wrong(key, "is missing")
        return self._value[key]

    def integer(self, key: str, least: int, most: int) -> int:
        value = whole_number(self._get(key))
        if value is None or not least <= value <= most:
            raise self.wrong(key, f"is no integer from {least} to {most}")
        return value

    def number(self, key: str, least: float, most: float) -> float:
        value = self._get(key)
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not least <= value <= most
        ):
            raise self.wrong(key, f"is no number from {least} to {most}")
        return float(value)

    def text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "is no text")
        return value

    def boolean(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "is neither true nor false")
        return value

    def decimal(self, key: str, least: int, most: int) -> int:
        """Read an integer written as text: JSON readers may know no integers beyond 2**53."""
        text = self.text(key)
        digits = text.removeprefix("-")
        plain = digits.isascii() and digits.isdigit() and len(digits) <= 20
        if not plain or not least <= int(text) <= most:
            raise self.wrong(key, f"is no integer from {least} to {most} in text")
        return int(text)

    def inner(self, key: str) -> _Fields:
        return _Fields(self._get(key), f"{self._where}.{key}", self._name)


def _table_to_json(table: TableLayout) -> dict[str, Any]:
    return {
        "weights": table.nnz,
        "low_bits": table.low_bits,
        "value_bits": table.value_bits,
    }


def _table_from_json(fields: _Fields, n_rows: int, dim: int, *, has_directory: bool) -> TableLayout:
    nnz = fields.integer("weights", 0, min(MAX_NNZ, n_rows * dim))
    low_bits = fields.integer("low_bits", 0, MAX_BITS)
    value_bits = fields.integer("value_bits", 1, MAX_CODE_BITS)
    return TableLayout(n_rows, dim, nnz, low_bits, value_bits, has_directory)


def _ids_to_json(ids: IdsLayout) -> dict[str, Any]:
    if isinstance(ids, TextsLayout):
        return {"kind": "str"} | _texts_to_json(ids)
    fields: dict[str, Any] = {"kind": "int", "start": str(ids.start), "span": str(ids.span)}
    return fields if ids.span == ids.n_rows else fields | {"low_bits": ids.low_bits}


def _ids_from_json(fields: _Fields, count: int) -> IdsLayout:
    kind = fields.text("kind")
    if kind == "str":
        return _texts_from_json(fields, count)
    if kind != "int":
        raise fields.wrong("kind", "is neither 'int' nor 'str'")
    start = fields.decimal("start", INT64_MIN, INT64_MAX)
    span = fields.decimal("span", count, INT64_MAX - start + 1)
    low_bits = 0 if span == count else fields.integer("low_bits", 0, MAX_BITS)
    return IntIdsLayout(count, start, span, low_bits)


def _texts_to_json(texts: TextsLayout) -> dict[str, Any]:
    return {
        "bytes": texts.suffix_bytes,
        "width": texts.width,
        "stored": texts.stored,
        "deflated": texts.deflated,
    }


def _texts_from_json(fields: _Fields, count: int) -> TextsLayout:
    width = fields.integer("width", 1, 4)
    if width == 3:
        raise fields.wrong("width", "is none of 1, 2 and 4")
    stored = fields.integer("stored", 0, MAX_COUNT)
    deflated = fields.boolean("deflated")
    texts = TextsLayout(count, fields.integer("bytes", 0, MAX_COUNT), width, stored, deflated)
    if not deflated and texts.raw_bytes != stored:
        raise fields.wrong("stored", f"is {stored}, but lengths and texts take {texts.raw_bytes}")
    if texts.raw_bytes > texts.most_bytes:
        raise fields.wrong("stored", f"is {stored}, too little for {texts.raw_bytes} bytes")
    return texts
