"""Reading a model file: mapped, checked, decoded part by part when a part is first needed.

:func:`open_model` takes any bytes at all. It raises :class:`ModelFileError` or returns a
:class:`ModelFile` whose parts, when they are decoded, are in range or raise
:class:`ModelFileError` too. Time and memory are bounded by the size of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sparserec_np.modelfile import bitpacking
from sparserec_np.modelfile.byte_source import ByteSource, MappedFile
from sparserec_np.modelfile.container import Container, damaged, parse, parse_json
from sparserec_np.modelfile.layout import (
    MAX_VALUE,
    ROWS_A_BLOCK,
    ROWS_A_BYTE,
    CodesLayout,
    IdsLayout,
    IntIdsLayout,
    Layout,
    TableLayout,
    TextsLayout,
    UsersLayout,
)
from sparserec_np.modelfile.strings import decode_texts
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import Ids, IntIds, RangeIds, StrIds, first_disorder

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table


class NeighbourCodes(NamedTuple):
    """The neighbours as they are stored.

    Attributes:
        indptr: int64 array of shape [n_items + 1]: item ``j`` of a history adds to the scores of
            the items ``items[indptr[j]:indptr[j + 1]]``.
        items: int32 array of shape [nnz], ascending within a row.
        codes: Indices into the codebook, uint8 array of shape [nnz].
        levels: The codebook, float32 array, ascending.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.float32]


class ItemWeights(NamedTuple):
    """Some weights of the item table, by ascending dimension, then item.

    Attributes:
        dims: Their dimensions, int64 array of consecutive numbers.
        counts: Number of weights of each dimension, int64 array of the same shape.
        items: int64 array of shape [n], n being the sum of ``counts``.
        codes: Indices into the codebook, uint8 array of shape [n].
    """

    dims: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    codes: npt.NDArray[np.unsignedinteger]


def open_model(
    source: str | os.PathLike[str] | bytes, *, verify: bool = False, copy: bool = False
) -> ModelFile:
    """Open a model file; the header is checked, nothing else is read yet.

    A file is mapped read-only: processes that open the same file share its pages. It must not be
    changed in place while it is open (writing a new file over the name, as ``fit`` does, is fine).

    Args:
        source: Path of the file, or its bytes.
        verify: Read all of the data, compare its checksum, and check every part, too.
        copy: Read the file into memory, and keep nothing of it open.

    Raises:
        ModelFileError: There is no such file, or it is no valid model; says what and where.
    """
    opened = ByteSource(source) if isinstance(source, bytes) else MappedFile(source)
    if copy:
        opened = ByteSource(opened.read(0, opened.size), opened.name)
    model = ModelFile(parse(opened))
    if verify:
        model.verify()
    return model


class ModelFile:
    """An opened model file.

    Every method decodes its part anew and keeps nothing; :class:`sparserec_np.Model` keeps what it
    needs. The module ``arrays`` is imported where it is needed: recommending does without, and a
    model is opened within milliseconds.

    Attributes:
        name: Name of the file in messages.
        size: Bytes of the file.
        layout: Sizes and kinds of all parts.
        config: Hyperparameters of the training.
        facts: Facts about data and result.
    """

    def __init__(self, container: Container) -> None:
        """Read the texts of the header, and check that the tensors match them."""
        self._container = container
        self.name = container.name
        self.size = container.source.size
        self.layout = Layout.from_json(self._json("model"), self.name)
        if self.layout.n_rows > ROWS_A_BYTE * self.size:
            raise damaged(
                self.name,
                f"the header tells of {self.layout.n_rows} items and users, but the file has only "
                f"{self.size} bytes",
            )
        self.config = self._json("config")
        self.facts = self._json("facts")
        container.check_tensors(self.layout.tensors())

    @property
    def version(self) -> str:
        """Version of the format."""
        return self._container.metadata["version"]

    def to_bytes(self) -> bytes:
        """Return all bytes of the file."""
        return self._container.source.read(0, self.size)

    def tensor_bytes(self) -> dict[str, int]:
        """Bytes of each part of the file, by the name of its tensor; they sum to the size."""
        sizes = {name: t.end - t.begin for name, t in self._container.tensors.items()}
        return {"header": self._container.data_start, **sizes}

    def verify(self) -> None:
        """Compare the checksum of the data, and decode every part once.

        Raises:
            ModelFileError: The checksum differs, or a part is not as the format says.
        """
        self._container.verify()
        for _ in self.item_weights():
            pass
        self.item_levels()
        self.item_bias()
        self.history_codes()
        self.neighbour_codes()
        self.item_ids()
        self.labels()
        if isinstance(self.layout.user_side, UsersLayout):
            self.user_ids()
            self.user_table()

    def item_weights(self) -> Iterator[ItemWeights]:
        """Decode the weights of the item table, some thousand at a time, keeping none.

        Raises:
            ModelFileError: The positions are not those of a table.
        """
        table = self.layout.items
        packed = self._container.part("items.codes")
        done = 0
        for keys in self._table_keys(table, "items"):
            first, last = int(keys[0]) // table.n_rows, int(keys[-1]) // table.n_rows
            dims = np.arange(first, last + 1, dtype=np.int64)
            ends = np.searchsorted(keys, (dims + 1) * table.n_rows)
            counts = np.diff(ends, prepend=0)
            keys -= np.repeat(dims * table.n_rows, counts)  # now items
            codes = bitpacking.unpack_bits(packed, table.value_bits, done, done + len(keys))
            done += len(keys)
            yield ItemWeights(dims, counts, keys, codes)

    def item_levels(self) -> npt.NDArray[np.float32]:
        """The codebook of the item table: float32 array of shape [2**value_bits], ascending."""
        return self._levels("items")

    def item_table(self) -> Table:
        """Decode the item table by rows, with its values."""
        from sparserec_np.modelfile.arrays import Table

        layout = self.layout.items
        dims = np.empty(layout.nnz, dtype=np.uint16)
        items = np.empty(layout.nnz, dtype=np.uint16 if layout.n_rows <= 1 << 16 else np.uint32)
        codes = np.empty(layout.nnz, dtype=np.uint8)
        done = 0
        for some in self.item_weights():
            here = slice(done, done + len(some.items))
            dims[here], items[here] = np.repeat(some.dims, some.counts), some.items
            codes[here] = some.codes
            done = here.stop
        order = np.argsort(items, kind="stable")
        counts = np.bincount(items, minlength=layout.n_rows)
        values = self.item_levels()[codes[order]]
        return Table(indptr_from_counts(counts), dims[order], values, layout.dim)

    def item_bias(self) -> npt.NDArray[np.float32]:
        """Decode the item biases: float32 array of shape [n_items]."""
        return self._values(self.layout.bias, "bias")

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
        return self._codes(side.weights.n_rows, side.weights.bits, "history"), levels

    def history_weights(self) -> npt.NDArray[np.float32] | None:
        """Decode the history weights: float32 of shape [n_items]; None if all are 1."""
        stored = self.history_codes()
        return None if stored is None else stored[1][stored[0]]

    def neighbour_codes(self) -> NeighbourCodes | None:
        """Decode the neighbours; None if there are none.

        Raises:
            ModelFileError: The positions are not those of a matrix.
        """
        side = self.layout.user_side
        if isinstance(side, UsersLayout) or side.neighbours is None:
            return None
        table = side.neighbours
        items = np.empty(table.nnz, dtype=np.int32)
        counts = np.zeros(table.n_rows, dtype=np.int64)
        done = 0
        for keys in self._table_keys(table, "neighbours"):
            rows = keys // table.n_rows
            items[done : done + len(keys)] = keys - rows * table.n_rows
            done += len(keys)
            # Only the rows that occur are counted: a few keys may be of rows far apart.
            first = np.flatnonzero(np.diff(rows, prepend=-1))
            counts[rows[first]] += np.diff(first, append=len(rows))
        codes = self._codes(table.nnz, table.value_bits, "neighbours")
        return NeighbourCodes(indptr_from_counts(counts), items, codes, self._levels("neighbours"))

    def neighbours(self) -> Neighbours | None:
        """Decode the neighbours, with their values; None if there are none."""
        from sparserec_np.modelfile.arrays import Neighbours

        stored = self.neighbour_codes()
        if stored is None:
            return None
        return Neighbours(stored.indptr, stored.items, stored.levels[stored.codes])

    def user_row(self, user: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Decode the row of one user, reading its block of the table alone.

        Args:
            user: Index of the user, in [0, n_users).

        Returns:
            int64 dims, ascending, and float32 values, both of shape [nnz of the row].

        Raises:
            ModelFileError: The block or the directory is not valid.
        """
        table = self._user_side().table
        block = user // ROWS_A_BLOCK
        directory = self._container.mapped("users.blocks")
        first, last = int(directory[block]), int(directory[block + 1])
        if not first <= last <= table.nnz:
            raise damaged(self.name, f"the tensor 'users.blocks' falls or ends too high at {block}")
        begin_key = block * ROWS_A_BLOCK * table.dim
        end_key = min(begin_key + ROWS_A_BLOCK * table.dim, table.n_rows * table.dim)
        pieces = self._table_keys(
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
        dims = np.empty(table.nnz, dtype=np.uint16)
        counts = np.zeros(table.n_rows, dtype=np.int64)
        done = 0
        for keys in self._table_keys(table, "users"):
            rows = keys // table.dim
            dims[done : done + len(keys)] = keys - rows * table.dim
            first = int(rows[0])
            here = np.bincount(rows - first)
            counts[first : first + len(here)] += here
            done += len(keys)
        indptr = indptr_from_counts(counts)
        blocks = indptr[np.r_[0 : table.n_rows : ROWS_A_BLOCK, table.n_rows]]
        if not np.array_equal(blocks, self._container.read("users.blocks")):
            raise damaged(self.name, "the tensor 'users.blocks' does not count the users' weights")
        codes = self._codes(table.nnz, table.value_bits, "users")
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
        """Decode everything: the arrays that were encoded, quantised."""
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
            neighbours=self.neighbours(),
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
        return self._levels(prefix)[self._codes(codes.n_rows, codes.bits, prefix)]

    def _ids(self, ids: IdsLayout, prefix: str) -> Ids:
        if isinstance(ids, IntIdsLayout):
            if ids.span == ids.n_rows:
                return RangeIds(ids.start, ids.n_rows)
            values = np.empty(ids.n_rows, dtype=np.uint64)
            done = 0
            for keys in self._keys(prefix, ids.low_bits, ids.span, {"count": ids.n_rows}):
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

    def _table_keys(
        self, table: TableLayout, prefix: str, **where: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Decode the positions of a table, each once and below n_rows x dim.

        Args:
            table: Sizes of the table.
            prefix: Of the names of its tensors.
            where: Arguments of :func:`sparserec_np.modelfile.bitpacking.decode_monotone`; all
                positions unless given.

        Raises:
            ModelFileError: They are not.
        """
        where.setdefault("count", table.nnz)
        for keys in self._keys(prefix, table.low_bits, table.n_rows * table.dim, where):
            yield keys.view(np.int64)  # n_rows * dim is below 2**62

    def _keys(
        self, prefix: str, low_bits: int, universe: int, where: dict[str, int]
    ) -> Iterator[npt.NDArray[np.uint64]]:
        """Decode ascending keys, each once and below ``universe``; see :meth:`_table_keys`."""
        # A row of the user table is looked up in the mapped file; all else is decoded as a whole.
        source = self._container.mapped if "first" in where else self._container.part
        low, high = source(f"{prefix}.low"), source(f"{prefix}.high")
        previous = -1
        try:
            for keys in bitpacking.decode_monotone(low, high, low_bits, **where):
                if int(keys[0]) == previous or (keys[1:] == keys[:-1]).any():
                    raise ValueError("a key that occurs twice")
                previous = int(keys[-1])
                if previous >= universe:
                    raise ValueError(f"a key that is not below {universe}")
                yield keys
        except ValueError as error:
            raise damaged(self.name, f"the tensor '{prefix}.high' encodes {error}") from None
