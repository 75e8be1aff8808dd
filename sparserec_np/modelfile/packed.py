"""The packed weights of a model file: positions as ascending keys, values as codes.

Nothing is kept: each call decodes what it is asked for, piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparserec_np.modelfile import bitpacking
from sparserec_np.modelfile.container import Container, damaged
from sparserec_np.modelfile.layout import TableLayout

if TYPE_CHECKING:
    import numpy.typing as npt


class Piece(NamedTuple):
    """Some weights of the item table, by ascending dimension, then item.

    Attributes:
        dims: int64 array of shape [n].
        items: int64 array of shape [n].
        codes: Indices into the codebook, unsigned array of shape [n].
    """

    dims: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    codes: npt.NDArray[np.unsignedinteger]


class PackedItems:
    """The weights of the item table, by dimension.

    Args:
        container: The file.
        table: Sizes of the table.
    """

    def __init__(self, container: Container, table: TableLayout) -> None:
        self._container = container
        self._table = table

    def pieces(self) -> Iterator[Piece]:
        """Decode the item table by dimension, some thousand weights at a time, keeping none.

        Raises:
            ModelFileError: The positions are not those of a table.
        """
        packed = self._container.part("items.codes")
        bits = self._table.value_bits
        for first, dims, items in self._positions():
            codes = bitpacking.unpack_bits(packed, bits, first, first + len(items))
            yield Piece(dims, items, codes)

    def rows(self, items: npt.NDArray[np.int64]) -> Iterator[Piece]:
        """Decode the rows of some items, as :meth:`pieces` does those of all.

        Args:
            items: Which, int64 array.

        Raises:
            ModelFileError: The positions are not those of a table.
        """
        table = self._table
        packed = self._container.part("items.codes")
        wanted = np.zeros(table.rows, dtype=np.bool_)
        wanted[items] = True
        for first, dims, stored in self._positions():
            here = np.flatnonzero(wanted[stored])
            if len(here):
                codes = bitpacking.unpack_at(packed, table.value_bits, first + here)
                yield Piece(dims[here], stored[here], codes)

    def _positions(
        self,
    ) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Decode where the item table has weights: number of the first one, dims and items."""
        rows = self._table.rows
        done = 0
        for keys in table_keys(self._container, self._table, "items"):
            first, last = int(keys[0]) // rows, int(keys[-1]) // rows
            dims = np.arange(first, last + 1, dtype=np.int64)
            ends = np.searchsorted(keys, (dims + 1) * rows)
            dims = np.repeat(dims, np.diff(ends, prepend=0))
            keys -= dims * rows  # now items
            yield done, dims, keys
            done += len(keys)

    def lists(self, dims: npt.NDArray[np.integer]) -> Iterator[Piece]:
        """Decode some dimensions of the item table, as :meth:`pieces` does all.

        Args:
            dims: Which, integer array, ascending.

        Raises:
            ModelFileError: The positions are not those of a table.
        """
        table = self._table
        part = self._container.part
        wanted = np.zeros(table.dim, dtype=np.bool_)
        wanted[dims] = True
        begins = dims.astype(np.int64) * table.rows
        with _damage(self._container, "items"):
            for keys, places in bitpacking.decode_ranges(
                part("items.low"), part("items.high"), table.low_bits, count=table.weights,
                begins=begins, ends=begins + table.rows,
            ):  # fmt: skip
                if keys[-1] >= table.rows * table.dim:
                    raise ValueError(f"a key that is not below {table.rows * table.dim}")
                of_keys = keys // table.rows
                here = np.flatnonzero(wanted[of_keys])
                if len(here):
                    found, items = of_keys[here], keys[here]
                    items -= found * table.rows
                    codes = bitpacking.unpack_at(
                        part("items.codes"), table.value_bits, places[here]
                    )
                    yield Piece(found, items, codes)


def table_keys(
    container: Container, table: TableLayout, prefix: str, **where: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Decode the positions of a table and check that each occurs once and is below rows x dim.

    Args:
        container: The file.
        table: Sizes of the table.
        prefix: Of the names of its tensors.
        where: What :func:`sparserec_np.modelfile.bitpacking.decode_monotone` takes; all by default.

    Raises:
        ModelFileError: They are not.
    """
    where.setdefault("count", table.weights)
    for keys in checked_keys(container, prefix, table.low_bits, table.rows * table.dim, where):
        yield keys.view(np.int64)  # rows * dim is below 2**47


def checked_keys(
    container: Container, prefix: str, low_bits: int, universe: int, where: dict[str, int]
) -> Iterator[npt.NDArray[np.uint64]]:
    """Decode ascending keys and check that each occurs once and is below a bound.

    Args:
        container: The file.
        prefix: Of the names of the tensors.
        low_bits: Low bits of a key.
        universe: The bound.
        where: What :func:`sparserec_np.modelfile.bitpacking.decode_monotone` takes.

    Raises:
        ModelFileError: They are not.
    """
    # A row of the user table is looked up in the mapped file; all else is decoded as a whole.
    source = container.mapped if "first" in where else container.part
    low, high = source(f"{prefix}.low"), source(f"{prefix}.high")
    previous = -1
    with _damage(container, prefix):
        for keys in bitpacking.decode_monotone(low, high, low_bits, **where):
            if int(keys[0]) == previous or (keys[1:] == keys[:-1]).any():
                raise ValueError("a key that occurs twice")
            previous = int(keys[-1])
            if previous >= universe:
                raise ValueError(f"a key that is not below {universe}")
            yield keys


@contextmanager
def _damage(container: Container, prefix: str) -> Iterator[None]:
    """Say of which file and tensor it is that keys make no sense."""
    try:
        yield
    except ValueError as error:
        raise damaged(container.name, f"the tensor '{prefix}.high' encodes {error}") from None
