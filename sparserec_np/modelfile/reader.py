"""Reading a model file: mapped, checked, decoded part by part when a part is first needed.

:func:`open_model` takes any bytes at all. It raises :class:`ModelFileError` or returns a
:class:`ModelFile` whose parts, when they are decoded, are in range or raise
:class:`ModelFileError` too. Time and memory are bounded by the size of the file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparserec_np.modelfile import bitpacking
from sparserec_np.modelfile.byte_source import FileSource, Source
from sparserec_np.modelfile.container import Container, damaged, parse, parse_json
from sparserec_np.modelfile.layout import (
    MAX_VALUE,
    ROWS_A_BLOCK,
    CodesLayout,
    IdsLayout,
    IntIdsLayout,
    Layout,
    TextsLayout,
    UsersLayout,
)
from sparserec_np.modelfile.packed import PackedItems, checked_keys, table_keys
from sparserec_np.modelfile.strings import decode_texts
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import Ids, IntIds, RangeIds, StrIds, first_disorder

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.modelfile.arrays import ModelArrays, Table


_PIECE = 8192  # values decoded at a time where none is kept


class Postings(NamedTuple):
    """The item table by dimension.

    Attributes:
        items: uint16 (up to 65,536 items) or uint32 array of shape [weights]: the items that have
            a weight in dimension ``d`` are ``items[offsets[d]:offsets[d + 1]]``, ascending.
        codes: uint8 array of shape [weights]: the weight is ``levels[code]``.
        offsets: int64 array of shape [dim + 1].
        levels: float32 array of shape [2**value_bits], ascending.
    """

    items: npt.NDArray[np.unsignedinteger]
    codes: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    levels: npt.NDArray[np.float32]


def open_model(source: str | os.PathLike[str] | bytes, *, verify: bool = False) -> ModelFile:
    """Open a model file; the header is checked, nothing else is read yet.

    A file is mapped read-only: processes that open the same file share its pages. It must not be
    changed in place while it is open (writing a new file over the name, as ``fit`` does, is fine).

    Args:
        source: Path of the file, or its bytes.
        verify: Read all of the data and compare its checksum, too.

    Raises:
        ModelFileError: There is no such file, or it is no valid model; says what and where.
    """
    bytes_of_it = Source(source) if isinstance(source, bytes) else FileSource(source)
    model = ModelFile(parse(bytes_of_it))
    if verify:
        model.verify()
    return model


class ModelFile:
    """An opened model file.

    Every method decodes its part anew and keeps nothing; :class:`sparserec_np.runtime.model.Model` keeps
    what it needs. The module ``arrays`` is imported where it is needed: recommending does without,
    and opening a model is a matter of milliseconds.

    Attributes:
        name: How messages call the file.
        size: Bytes of the file.
        layout: Sizes and kinds of all parts.
        items: The weights of the item table.
        config: Hyperparameters of the training.
        facts: What was known about data and result.
    """

    def __init__(self, container: Container) -> None:
        """Read the header's texts and check that the tensors are those that they ask for."""
        self._container = container
        self.name = container.name
        self.size = container.source.size
        self.layout = Layout.from_json(self._json("model"), self.name)
        self.config = self._json("config")
        self.facts = self._json("facts")
        container.check_tensors(self.layout.tensors())
        self.items = PackedItems(container, self.layout.items)

    @property
    def version(self) -> str:
        """Version of the format."""
        return self._container.metadata["version"]

    def tensor_bytes(self) -> dict[str, int]:
        """Bytes of each part of the file, by the name of its tensor; they sum to the size."""
        sizes = {name: t.end - t.begin for name, t in self._container.tensors.items()}
        return {"header": self._container.data_start, **sizes}

    def verify(self) -> None:
        """Compare the checksum of the data, reading all of it.

        Raises:
            ModelFileError: It differs.
        """
        self._container.verify()

    def postings(self) -> Postings:
        """Decode the item table by dimension.

        Raises:
            ModelFileError: The positions are not those of a table.
        """
        table = self.layout.items
        items = np.empty(table.weights, dtype=np.uint16 if table.rows <= 1 << 16 else np.uint32)
        codes = np.empty(table.weights, dtype=np.uint8)
        counts = np.zeros(table.dim, dtype=np.int64)
        done = 0
        for piece in self.items.pieces():
            here = slice(done, done + len(piece.items))
            items[here], codes[here] = piece.items, piece.codes
            counts += np.bincount(piece.dims, minlength=table.dim)
            done = here.stop
        return Postings(items, codes, indptr_from_counts(counts), self.item_levels())

    def item_levels(self) -> npt.NDArray[np.float32]:
        """The codebook of the item table: float32 array of shape [2**value_bits], ascending."""
        return self._levels("items")

    def item_table(self) -> Table:
        """Decode the item table by rows, with its values."""
        from sparserec_np.modelfile.arrays import Table

        postings = self.postings()
        dims = np.arange(self.layout.items.dim, dtype=np.uint16)
        order = np.argsort(postings.items, kind="stable")
        counts = np.bincount(postings.items, minlength=self.layout.items.rows)
        return Table(
            indptr_from_counts(counts),
            np.repeat(dims, np.diff(postings.offsets).astype(np.intp, copy=False))[order],
            postings.levels[postings.codes[order]],
            self.layout.items.dim,
        )

    def item_bias(self) -> npt.NDArray[np.float32]:
        """Decode the item biases: float32 array of shape [n_items]."""
        return self._values(self.layout.bias, "bias")

    def add_item_bias(self, scores: npt.NDArray[np.float64]) -> None:
        """Add the item biases to scores, float64 array of shape [n_items], keeping none."""
        levels, bits = self._levels("bias"), self.layout.bias.bits
        packed = self._container.part("bias.codes")
        for start in range(0, len(scores), _PIECE):
            piece = scores[start : start + _PIECE]
            piece += levels[bitpacking.unpack_bits(packed, bits, start, start + len(piece))]

    def history_codes(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]] | None:
        """Decode the history weights: uint8 codes of shape [n_items], and float32 levels.

        Returns:
            Both, or None if all weights are 1.

        Raises:
            ModelFileError: A level is not above 0.
        """
        side = self.layout.user_side
        if isinstance(side, UsersLayout) or not side.weights.bits:
            return None
        levels = self._levels("history")
        if not levels[0] > 0:
            raise damaged(self.name, "the tensor 'history.levels' has a weight that is not above 0")
        return self._codes(side.weights.rows, side.weights.bits, "history"), levels

    def history_weights(self) -> npt.NDArray[np.float32] | None:
        """Decode the history weights: float32 of shape [n_items]; None if all are 1."""
        stored = self.history_codes()
        return None if stored is None else stored[1][stored[0]]

    def user_row(self, user: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Decode the row of one user, reading its block of the table alone.

        Args:
            user: Index of the user, in [0, n_users).

        Returns:
            int64 dims, ascending, and float32 values, both of shape [weights of the row].

        Raises:
            ModelFileError: The block or the directory is not valid.
        """
        table = self._user_side().table
        block = user // ROWS_A_BLOCK
        directory = self._container.mapped("users.blocks")
        first, last = int(directory[block]), int(directory[block + 1])
        if not first <= last <= table.weights:
            raise damaged(self.name, f"the tensor 'users.blocks' falls or ends too high at {block}")
        begin_key = block * ROWS_A_BLOCK * table.dim
        end_key = min(begin_key + ROWS_A_BLOCK * table.dim, table.rows * table.dim)
        pieces = table_keys(
            self._container,
            table,
            "users",
            first=first,
            count=last - first,
            start_bit=(begin_key >> table.low_bits) + first,
            stop_bit=((end_key - 1) >> table.low_bits) + last,
        )
        keys = np.concatenate([np.empty(0, dtype=np.int64), *pieces])
        if len(keys) and not begin_key <= keys[0] <= keys[-1] < end_key:
            raise damaged(self.name, f"the tensor 'users.high' has keys out of their block {block}")
        begin, end = np.searchsorted(keys, [user * table.dim, (user + 1) * table.dim])
        packed = self._container.mapped("users.codes")
        codes = bitpacking.unpack_bits(
            packed, table.value_bits, first + int(begin), first + int(end)
        )
        return keys[begin:end] - user * table.dim, self._levels("users")[codes]

    def user_table(self) -> Table:
        """Decode the whole user table, with its values.

        Raises:
            ModelFileError: The positions are not those of a table, or the directory differs.
        """
        from sparserec_np.modelfile.arrays import Table

        table = self._user_side().table
        dims = np.empty(table.weights, dtype=np.uint16)
        counts = np.zeros(table.rows, dtype=np.int64)
        done = 0
        for keys in table_keys(self._container, table, "users"):
            rows = keys // table.dim
            dims[done : done + len(keys)] = keys - rows * table.dim
            first = int(rows[0])
            here = np.bincount(rows - first)
            counts[first : first + len(here)] += here
            done += len(keys)
        indptr = indptr_from_counts(counts)
        blocks = indptr[np.r_[0 : table.rows : ROWS_A_BLOCK, table.rows]]
        if not np.array_equal(blocks, self._container.read("users.blocks")):
            raise damaged(self.name, "the tensor 'users.blocks' does not count the users' weights")
        codes = self._codes(table.weights, table.value_bits, "users")
        return Table(indptr, dims, self._levels("users")[codes], table.dim)

    def item_ids(self) -> Ids:
        """Decode the ids of the items."""
        return self._ids(self.layout.item_ids, "item_ids")

    def user_ids(self) -> Ids | None:
        """Decode the ids of the users; None for a history model."""
        side = self.layout.user_side
        return self._ids(side.ids, "user_ids") if isinstance(side, UsersLayout) else None

    def labels(self) -> StrIds | None:
        """Decode the items' labels: texts in the order of the items, or None."""
        return self._texts(self.layout.labels, "labels") if self.layout.labels else None

    def arrays(self) -> ModelArrays:
        """Decode everything: what :func:`sparserec_np.modelfile.writer.encode` was given, quantised."""
        from sparserec_np.modelfile.arrays import ModelArrays

        side = self.layout.user_side
        embedding = isinstance(side, UsersLayout)
        labels = self.labels()
        return ModelArrays(
            users="embedding" if embedding else "history",
            dim=self.layout.items.dim,
            item_ids=self.item_ids(),
            items=self.item_table(),
            item_bias=self.item_bias(),
            history_weights=self.history_weights(),
            history_exponent=0.0 if isinstance(side, UsersLayout) else side.exponent,
            history_power=1.0 if isinstance(side, UsersLayout) else side.power,
            history_recency=0.0 if isinstance(side, UsersLayout) else side.recency,
            user_ids=self.user_ids(),
            user_rows=self.user_table() if embedding else None,
            labels=None if labels is None else labels.take(np.arange(len(labels))),
            value_bits=self.layout.items.value_bits,
            config=self.config,
            facts=self.facts,
        )

    def _json(self, key: str) -> dict[str, Any]:
        text = self._container.metadata.get(key)
        if text is None:
            raise damaged(self.name, f"the header has no text {key!r}")
        encoded = text.encode("utf-8", "surrogatepass")
        return parse_json(encoded, self.name, f"the header's text {key!r}")

    def _user_side(self) -> UsersLayout:
        side = self.layout.user_side
        if not isinstance(side, UsersLayout):
            raise TypeError("a history model has no user table")
        return side

    def _codes(self, count: int, bits: int, prefix: str) -> npt.NDArray[np.uint8]:
        packed = self._container.part(f"{prefix}.codes")
        return bitpacking.unpack_bits(packed, bits, 0, count)

    def _levels(self, prefix: str) -> npt.NDArray[np.float32]:
        levels = self._container.read(f"{prefix}.levels")
        if not (np.abs(levels) <= MAX_VALUE).all() or (levels[1:] < levels[:-1]).any():
            raise damaged(
                self.name,
                f"the tensor '{prefix}.levels' is not ascending from -{MAX_VALUE:.0e} to "
                f"{MAX_VALUE:.0e}",
            )
        return levels

    def _values(self, codes: CodesLayout, prefix: str) -> npt.NDArray[np.float32]:
        return self._levels(prefix)[self._codes(codes.rows, codes.bits, prefix)]

    def _ids(self, ids: IdsLayout, prefix: str) -> Ids:
        if isinstance(ids, IntIdsLayout):
            if ids.span == ids.rows:
                return RangeIds(ids.start, ids.rows)
            values = np.empty(ids.rows, dtype=np.uint64)
            done = 0
            for keys in checked_keys(
                self._container, prefix, ids.low_bits, ids.span, {"count": ids.rows}
            ):
                values[done : done + len(keys)] = keys
                done += len(keys)
            values += np.uint64(ids.start % 2**64)  # exact modulo 2**64
            return IntIds(values.view(np.int64))
        texts = self._texts(ids, prefix)
        disorder = first_disorder(texts)
        if disorder is not None:
            raise damaged(
                self.name, f"the id at {disorder} of '{prefix}.texts' is not above the one before"
            )
        return texts

    def _texts(self, texts: TextsLayout, prefix: str) -> StrIds:
        stored = self._container.mapped(f"{prefix}.texts")
        return decode_texts(stored, texts, self.name, f"the tensor '{prefix}.texts'")
