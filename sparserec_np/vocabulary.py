"""Id vocabularies: the caller's own user and item ids, sorted and searched, without a dict.

The internal index of a user or an item is the rank of its id in ascending order: integers
numerically, strings by their UTF-8 bytes (which is the order of Python's ``str`` too). Keeping the
ids sorted makes them small on disk (:mod:`sparserec_np.modelfile.strings`), lets a lookup be a
binary search over the mapped file, and gives the same internal order whatever order the data came
in.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sparserec_np.errors import InputError
from sparserec_np.utils.csr import entries_of_rows, indptr_from_counts

if TYPE_CHECKING:
    import numpy.typing as npt

Id: TypeAlias = "int | str"
IdSequence: TypeAlias = "Sequence[Any] | npt.NDArray[Any]"

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
EXACT_FLOATS = 2.0**53
"""Above this, not every integer has a float64 of its own."""

BLANKS = " \t\r\n\v\f\u00a0\ufeff"
"""Characters around an id that are no part of it."""

_INTEGRAL_FLOAT = re.compile(r"(-?[1-9][0-9]*|0)\.0+")

# Above this share of the vocabulary a call of ``StrIds.locate`` builds a dict for its own duration
# instead of searching id by id: a binary search costs about as much as 20 dict insertions.
_SEARCHES_WORTH_A_DICT = 1 / 20


def canonical(text: str) -> str:
    """Return an id as vocabularies have it: without blanks around it, ``7.0`` as ``7``."""
    bare = text.strip(BLANKS)
    integral = _INTEGRAL_FLOAT.fullmatch(bare)
    return bare if integral is None else integral[1]


def listed(ids: Any, name: str, known: Ids) -> Any:
    """Return ids as a list or array, checked to be of the kind of a vocabulary.

    Args:
        ids: Any iterable of ids but a text or a dict.
        name: What they are, for messages, such as ``"history"``.
        known: The vocabulary.

    Raises:
        InputError: They are no such iterable, or an id is text where ids are integers, or the other
            way round.
    """
    if isinstance(ids, (str, bytes, dict)) or not hasattr(ids, "__iter__"):
        raise InputError(f"{name} is a list of ids, not {ids!r:.80}: give [{ids!r:.80}]")
    if getattr(ids, "ndim", 1) != 1:
        raise InputError(f"{name} is a list of ids, not an array of shape {ids.shape}")
    if isinstance(ids, np.ndarray):
        if ids.dtype.kind in "iu" and known.kind == "int":
            return ids
        ids = ids.tolist()
    values: list[Any] = list(ids)
    other: Any = str if known.kind == "int" else (int, np.integer)
    wrong = next((value for value in values if isinstance(value, other)), None)
    if wrong is not None:
        kind = "integers" if known.kind == "int" else "text"
        raise InputError(f"{name}: the ids are {kind}, but {wrong!r} is a {type(wrong).__name__}")
    return values


class Ids(ABC):
    """A sorted vocabulary of unique ids, all integers or all strings.

    Position ``p`` is the internal index of the ``p``-th smallest id.
    """

    kind: str
    """``"int"`` or ``"str"``."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def locate(self, ids: IdSequence) -> npt.NDArray[np.int64]:
        """Find the internal index of each id.

        Args:
            ids: Any number of ids, known or not.

        Returns:
            int64 array of shape [len(ids)]: positions, -1 where an id is unknown. A value of
            another type than the vocabulary's is unknown; so is a ``bool``; a float with an
            integral value counts as that integer. Text that is unknown is looked up once more as
            :func:`canonical` writes it.
        """

    @abstractmethod
    def take(self, positions: npt.ArrayLike) -> list[Any]:
        """Return the ids at some internal indices.

        Args:
            positions: Integers of shape [n], each in [0, len(self)).

        Returns:
            list of ``int`` or of ``str``.

        Raises:
            IndexError: A position is out of range (-1, the mark of an unknown id, too).
        """

    @abstractmethod
    def parse(self, text: str) -> Id:
        """Read one id of this vocabulary's kind from text, as a command line has it.

        Raises:
            InputError: The ids are integers and ``text`` is not one.
        """

    @abstractmethod
    def column(self, positions: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return the ids at some internal indices as an array: int64, or ``str`` objects."""

    @abstractmethod
    def select(self, positions: npt.NDArray[np.int64]) -> Ids:
        """Return the vocabulary of the ids at some internal indices, int64, ascending."""

    def slice(self, first: int, last: int) -> Ids:
        """Return the vocabulary of the ids at the internal indices ``first`` to ``last - 1``."""
        return self.select(np.arange(first, last))

    @abstractmethod
    def union(self, other: Ids) -> Ids:
        """Return the vocabulary of all ids of two; strings, if one of them has strings."""

    @abstractmethod
    def positions_in(self, other: Ids) -> npt.NDArray[np.int64]:
        """Find every id in another vocabulary.

        Integers and strings that read the same are one id here: which of both a file gives depends
        on the other ids in it.

        Returns:
            int64 array of shape [len(self)], -1 where ``other`` lacks the id.
        """

    @abstractmethod
    def as_strings(self) -> StrIds:
        """Return the vocabulary with every id as a string."""

    @property
    @abstractmethod
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """The arrays that ``IntIds`` or ``StrIds``, whichever :attr:`kind` says, is made from."""

    def _checked(self, positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        found = np.asarray(positions, dtype=np.int64)
        if found.size and not found.view(np.uint64).max() < len(self):  # negative ones are huge
            raise IndexError(f"positions must be in [0, {len(self)})")
        return found


class _Integers(Ids):
    """Base of the integer vocabularies."""

    kind = "int"

    @property
    @abstractmethod
    def values(self) -> npt.NDArray[np.int64]:
        """int64 array of shape [n], strictly ascending."""

    def take(self, positions: npt.ArrayLike) -> list[int]:
        """Return the ids at some positions as Python integers; see :meth:`Ids.take`."""
        return self.column(self._checked(positions)).tolist()  # type: ignore[no-any-return]

    def parse(self, text: str) -> int:
        """Read an integer; see :meth:`Ids.parse`."""
        literal = canonical(text)
        digits = literal[1:] if literal[:1] in {"+", "-"} else literal
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 40):
            raise InputError(f"the ids are integers, but {text[:40]!r} is not one")
        return int(literal)

    def select(self, positions: npt.NDArray[np.int64]) -> IntIds:
        """Return the vocabulary of some ids; see :meth:`Ids.select`."""
        return IntIds(self.column(positions))

    def union(self, other: Ids) -> Ids:
        """Return the vocabulary of all ids of two; see :meth:`Ids.union`."""
        if isinstance(other, _Integers):
            return IntIds(np.union1d(self.values, other.values))
        return self.as_strings().union(other)

    def positions_in(self, other: Ids) -> npt.NDArray[np.int64]:
        """Find every id in another vocabulary; see :meth:`Ids.positions_in`."""
        return other.locate(self.values if other.kind == "int" else list(map(str, self._listed())))

    def as_strings(self) -> StrIds:
        """Return the ids as Python writes them; see :meth:`Ids.as_strings`."""
        return strings_from_bytes(sorted(str(value).encode() for value in self._listed()))

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """The integers; see :attr:`Ids.arrays`."""
        return (self.values,)

    def _listed(self) -> list[int]:
        listed: list[int] = self.values.tolist()
        return listed


class IntIds(_Integers):
    """Integer ids in the whole range of int64.

    Args:
        values: int64 array of shape [n], strictly ascending. Kept, not copied.
    """

    def __init__(self, values: npt.NDArray[np.int64]) -> None:
        """Keep ``values``; see the class."""
        self._values = values

    @property
    def values(self) -> npt.NDArray[np.int64]:
        """int64 array of shape [n], strictly ascending."""
        return self._values

    def __len__(self) -> int:
        return len(self._values)

    def locate(self, ids: IdSequence) -> npt.NDArray[np.int64]:
        """Find ids by binary search; see :meth:`Ids.locate`."""
        wanted, valid = _as_int64(ids)
        if not len(self):
            return np.full(len(wanted), -1, dtype=np.int64)
        found = np.searchsorted(self._values, wanted).astype(np.int64, copy=False)
        np.minimum(found, len(self) - 1, out=found)
        hit = self._values[found] == wanted
        return np.where(hit if valid is None else hit & valid, found, -1)

    def column(self, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the ids at some positions, int64; see :meth:`Ids.column`."""
        values: npt.NDArray[np.int64] = self._values[positions]
        return values


class RangeIds(_Integers):
    """The ids ``start`` to ``start + count - 1``, which take no memory.

    Args:
        start: The smallest id.
        count: How many there are.
    """

    def __init__(self, start: int, count: int) -> None:
        """Keep the two numbers; see the class."""
        self._start = start
        self._count = count

    @property
    def values(self) -> npt.NDArray[np.int64]:
        """int64 array of shape [n], strictly ascending; made anew at each use."""
        return np.arange(self._count, dtype=np.int64) + self._start

    def __len__(self) -> int:
        return self._count

    def locate(self, ids: IdSequence) -> npt.NDArray[np.int64]:
        """Find ids by subtraction; see :meth:`Ids.locate`."""
        wanted, valid = _as_int64(ids)
        found = wanted - np.int64(self._start)  # wraps around, so that one comparison will do
        hit = found.view(np.uint64) < np.uint64(self._count)
        return np.where(hit if valid is None else hit & valid, found, -1)

    def column(self, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the ids at some positions, int64; see :meth:`Ids.column`."""
        return positions.astype(np.int64) + self._start


class StrIds(Ids):
    """String ids: any Unicode without lone surrogates, the empty string included.

    Args:
        blob: uint8 array: the UTF-8 bytes of all ids, one after the other. Kept, not copied.
        offsets: int64 array of shape [n + 1], ascending: id ``p`` is
            ``blob[offsets[p]:offsets[p + 1]]``. Kept, not copied.
    """

    kind = "str"

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        """Keep both arrays; see the class."""
        self.blob = blob
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> bytes:
        """UTF-8 bytes of the id at ``position``: what a binary search compares."""
        return self.blob[self.offsets[position] : self.offsets[position + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        return (self[position] for position in range(len(self)))

    def locate(self, ids: IdSequence) -> npt.NDArray[np.int64]:
        """Find ids by binary search, or by a dict if there are many; see :meth:`Ids.locate`."""
        wanted = ids.tolist() if isinstance(ids, np.ndarray) else ids
        if len(wanted) > _SEARCHES_WORTH_A_DICT * len(self):
            position_of = {id_: p for p, id_ in enumerate(self._listed())}
            found = [position_of.get(id_, -1) if isinstance(id_, str) else -1 for id_ in wanted]
        else:
            found = [self._search(id_) for id_ in wanted]
        for place, (id_, position) in enumerate(zip(wanted, found, strict=True)):
            if position < 0 and isinstance(id_, str) and (other := canonical(id_)) != id_:
                found[place] = self._search(other)
        return np.array(found, dtype=np.int64)

    def _search(self, id_: object) -> int:
        if not isinstance(id_, str):
            return -1
        try:
            key = id_.encode()
        except UnicodeEncodeError:  # a lone surrogate is in no vocabulary
            return -1
        from bisect import bisect_left

        position = bisect_left(self, key)
        return position if position < len(self) and self[position] == key else -1

    def take(self, positions: npt.ArrayLike) -> list[str]:
        """Return the ids at some positions as strings; see :meth:`Ids.take`."""
        chosen = self._checked(positions)
        starts, ends = self.offsets[chosen].tolist(), self.offsets[chosen + 1].tolist()
        blob = self.blob.data
        return [str(blob[a:b], "utf-8") for a, b in zip(starts, ends, strict=True)]

    def parse(self, text: str) -> str:
        """Return the text: any is an id; see :meth:`Ids.parse`."""
        return text if self._search(text) >= 0 else canonical(text)

    def column(self, positions: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return the ids at some positions as ``str`` objects; see :meth:`Ids.column`."""
        return np.array(self.take(positions), dtype=object)

    def select(self, positions: npt.NDArray[np.int64]) -> StrIds:
        """Return the vocabulary of some ids; see :meth:`Ids.select`."""
        lengths = np.diff(self.offsets)[positions]
        blob = self.blob[entries_of_rows(self.offsets, positions)]
        return StrIds(blob, indptr_from_counts(lengths))

    def slice(self, first: int, last: int) -> StrIds:
        """Return the vocabulary of a range of the ids, without a copy; see :meth:`Ids.slice`."""
        offsets = self.offsets[first : last + 1]
        return StrIds(self.blob[offsets[0] : offsets[-1]], offsets - offsets[0])

    def union(self, other: Ids) -> StrIds:
        """Return the vocabulary of all ids of two; see :meth:`Ids.union`."""
        return strings_from_bytes(sorted({*self, *other.as_strings()}))

    def positions_in(self, other: Ids) -> npt.NDArray[np.int64]:
        """Find every id in another vocabulary; see :meth:`Ids.positions_in`."""
        if other.kind == "str":
            return other.locate(self._listed())
        return other.locate([int(text) if _is_integer(text) else text for text in self._listed()])

    def as_strings(self) -> StrIds:
        """Return the vocabulary itself; see :meth:`Ids.as_strings`."""
        return self

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Bytes and offsets; see :attr:`Ids.arrays`."""
        return self.blob, self.offsets

    def _listed(self) -> list[str]:
        return self.take(np.arange(len(self)))


def concatenated(parts: Sequence[Ids]) -> Ids:
    """Put vocabularies of one kind together, each of which ends before the next one begins.

    Args:
        parts: At least one.
    """
    arrays = [part.arrays for part in parts]
    if parts[0].kind == "int":
        return IntIds(np.concatenate([values for (values,) in arrays]))
    lengths = np.concatenate([np.diff(offsets) for _, offsets in arrays])
    return StrIds(np.concatenate([blob for blob, _ in arrays]), indptr_from_counts(lengths))


def from_arrays(kind: str, arrays: Sequence[npt.NDArray[Any]]) -> Ids:
    """Make a vocabulary of what its :attr:`Ids.arrays` and :attr:`Ids.kind` gave."""
    return IntIds(*arrays) if kind == "int" else StrIds(*arrays)


def from_values(values: Iterable[Any]) -> Ids:
    """Build the vocabulary of some ids: sorted, each once.

    Args:
        values: Integers (Python's or numpy's, in the range of int64, or floats of integral value),
            or strings. None at all give an empty integer vocabulary.

    Returns:
        :class:`IntIds` or :class:`StrIds`.

    Raises:
        InputError: The ids are of mixed or other types, an integer is out of the range of int64,
            a float is no integer or above 2^53, or a string holds a lone surrogate, which no file
            can store.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return IntIds(np.unique(_int64_or_error(values)))
    try:
        unique = set(values.tolist() if isinstance(values, np.ndarray) else values)
    except TypeError:
        raise InputError(
            "ids must be integers or strings, but some are lists or the like"
        ) from None
    types = {type(value) for value in unique}
    if all(issubclass(t, str) for t in types) and types:
        return _from_strings(unique)
    if all(issubclass(t, (int, float, np.integer, np.floating)) and t is not bool for t in types):
        integers = sorted({_integer(value) for value in unique})
        if integers and not (integers[0] >= INT64_MIN and integers[-1] <= INT64_MAX):
            out = integers[-1] if integers[-1] > INT64_MAX else integers[0]
            raise InputError(f"integer ids must fit in 64 bits with a sign, but one is {out}")
        return IntIds(np.array(integers, dtype=np.int64))
    names = ", ".join(sorted(t.__name__ for t in types))
    raise InputError(f"ids must be all integers or all strings, but their types are: {names}")


def _integer(value: Any) -> int:
    """Return the integer that a number is."""
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            raise InputError("some ids are missing (NaN) or infinite")
        if not float(value).is_integer():
            raise InputError(f"ids must be integers or text, not fractions such as {value}")
        if abs(value) > EXACT_FLOATS:
            raise InputError(
                f"the id {value:.0f} is a float above 2^53, which may have lost digits: give "
                "integers or text"
            )
    return int(value)


def _from_strings(unique: set[str]) -> StrIds:
    try:
        encoded = sorted(value.encode() for value in unique)
    except UnicodeEncodeError as error:
        raise InputError(
            f"the id {error.object!r} holds a lone surrogate (U+{ord(error.object[error.start]):X})"
            " and is no valid Unicode text: repair it in the data"
        ) from error
    return strings_from_bytes(encoded)


def strings_from_bytes(encoded: Sequence[bytes]) -> StrIds:
    """Put UTF-8 strings, already unique and ascending, one after the other."""
    lengths = np.array([len(value) for value in encoded], dtype=np.int64)
    return StrIds(np.frombuffer(b"".join(encoded), dtype=np.uint8), indptr_from_counts(lengths))


def _is_integer(text: str) -> bool:
    """Tell whether text is an integer as Python writes it."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and text == str(int(text))


def _int64_or_error(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if values.dtype == np.uint64 and values.size and values.max() > INT64_MAX:
        raise InputError(f"integer ids must fit in 64 bits with a sign, but one is {values.max()}")
    return values.astype(np.int64, copy=False)


def _as_int64(ids: IdSequence) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]:
    """Read ids as int64; the second array marks which of them are integers (None: all are)."""
    if isinstance(ids, np.ndarray):
        if ids.dtype.kind == "i" or (ids.dtype.kind == "u" and ids.dtype.itemsize < 8):
            return ids.astype(np.int64, copy=False), None
        ids = ids.tolist()
    if set(map(type, ids)) == {int}:  # exact types: numpy would read True as 1 and "7" as text
        try:
            return np.array(ids, dtype=np.int64), None
        except OverflowError:
            pass
    wanted = np.zeros(len(ids), dtype=np.int64)
    valid = np.zeros(len(ids), dtype=np.bool_)
    for index, value in enumerate(ids):
        integral = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if isinstance(value, (float, np.floating)):
            integral = float(value).is_integer()
        if integral and INT64_MIN <= int(value) <= INT64_MAX:
            wanted[index], valid[index] = int(value), True
    return wanted, valid


def first_disorder(ids: StrIds) -> int | None:
    """Find the first id that is not above the one before it; None if all are in order.

    Neighbours are compared eight bytes at a time, all pairs at once, as big-endian numbers; the few
    that agree in their first 32 bytes one by one.
    """
    lengths = np.diff(ids.offsets)
    padded = np.concatenate([ids.blob, np.zeros(8, dtype=np.uint8)])
    words = np.ndarray((len(padded) - 7,), ">u8", padded, 0, (1,))

    def word(positions: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.uint64]:
        """Bytes ``depth`` to ``depth + 7`` of each id, zeros beyond its end."""
        inside = np.clip(lengths[positions] - depth, 0, 8)
        starts = np.minimum(ids.offsets[positions] + depth, len(words) - 1)
        beyond = (8 * (8 - inside)).astype(np.uint64)
        whole: npt.NDArray[np.uint64] = words[starts].astype(np.uint64)
        whole >>= np.minimum(beyond, np.uint64(63))
        whole <<= np.minimum(beyond, np.uint64(63))
        whole[inside == 0] = 0
        return whole

    pairs = np.arange(1, len(ids))
    falls = [len(ids)]
    for depth in range(0, 32, 8):
        before, after = word(pairs - 1, depth), word(pairs, depth)
        falls.extend(pairs[before > after][:1].tolist())
        pairs = pairs[before == after]
    falls.extend(p for p in pairs.tolist() if ids[p] <= ids[p - 1])
    first = min(falls)
    return first if first < len(ids) else None
