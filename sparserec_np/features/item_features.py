"""Features of items, from a file or a frame: an id and some cells for each item."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sparserec_np.data.columns import ColumnIndices, ColumnOptions, asked_column, usual_role
from sparserec_np.data.files.titles import TitleColumns, read_pairs
from sparserec_np.errors import InputError, missing_extra
from sparserec_np.utils.log import logger
from sparserec_np.vocabulary import Ids, canonical, from_values

_log = logger(__name__)

MOST_COLUMNS = 64
"""Columns of features, at most."""

_FRAME = "the frame of item features"


class ItemFeatures(NamedTuple):
    """Features as they were read."""

    ids: Sequence[Any]
    """Ids of the items, each once: integers or strings."""
    columns: Mapping[str, Sequence[Any]]
    """Cells of each column, in the order of ``ids``: text, a number, a list, or None."""

    def ids_as(self, known: Ids) -> tuple[Ids, list[int]]:
        """Return the ids as a vocabulary of the kind of another, and the row of each.

        Raises:
            InputError: The other vocabulary has integers, and an id is none.
        """
        try:
            ids = [known.parse(str(id_)) for id_ in self.ids]
        except InputError as error:
            raise InputError(f"the ids of the item features: {error}") from None
        row_of = dict(zip(ids, range(len(ids)), strict=True))
        vocabulary = from_values(ids)
        return vocabulary, [row_of[id_] for id_ in vocabulary.take(range(len(vocabulary)))]

    def titles(self, known: Ids) -> dict[Any, str]:
        """Return titles by id, from the first column whose name is one of titles.

        Args:
            known: A vocabulary of the kind that the ids are to be of.
        """
        for name, cells in self.columns.items():
            if TitleColumns().usual(name) == "item":
                ids = (known.parse(str(id_)) for id_ in self.ids)
                pairs = zip(ids, cells, strict=True)
                return {id_: str(cell) for id_, cell in pairs if cell is not None}
        return {}


def read_features(
    source: Any, *, item_col: str | None = None, columns: Sequence[str] | None = None
) -> ItemFeatures:
    """Read features of items.

    Args:
        source: A frame of pandas, polars, Arrow or others; or a file of any kind that
            :func:`sparserec_np.read` takes, as ``"movies.csv"`` or, with the names or numbers of
            the columns of ids and features, ``"movies.csv:movieId,genres,title"``.
        item_col: Column of the item ids; None: found by its name.
        columns: Columns of features; None: all others.

    Raises:
        InputError: There is no such file or column, the column of the ids cannot be told, or an
            item is in several rows.
        MissingExtraError: DuckDB or narwhals is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        found = _from_file(os.fspath(source), item_col, columns)
    else:
        found = _from_frame(source, item_col, columns)
    id_, rows = next(iter(Counter(found.ids).most_common(1)), (None, 0))
    if rows > 1:
        raise InputError(
            f"the item features have {rows:,} rows for the item {id_!r}: keep one row for each item"
        )
    if not found.ids:
        raise InputError("the item features hold no rows")
    return found


@dataclass(frozen=True)
class _FeatureColumns(ColumnOptions):
    """Columns of ids, as ``user``, and of one feature, as ``item``; sees the names of all."""

    seen: list[str] = field(default_factory=list)

    def usual(self, name: str) -> str | None:
        return "user" if _may_be_id(name) else "item"

    def choose(
        self,
        source: str,
        names: Sequence[str] | None,
        width: int,
        sample: Sequence[Sequence[str]] = (),
    ) -> ColumnIndices:
        self.seen[:] = names or map(str, range(1, width + 1))
        chosen = _id_column(source, self.seen, self.user)
        if self.item is not None:
            return ColumnIndices(chosen, asked_column(source, names, width, self.item, "feature"))
        return ColumnIndices(chosen, chosen)


def _from_file(spec: str, item_col: str | None, columns: Sequence[str] | None) -> ItemFeatures:
    file, _, names = spec.rpartition(":")
    if os.path.isfile(os.path.expanduser(spec)) or not file:
        file = spec
    elif item_col is None and columns is None:
        item_col, *named = names.split(",")
        columns = named or None
    look = _FeatureColumns(item_col)
    rows, _ = read_pairs(file, look)
    ids = [canonical(id_) for id_, _ in rows]
    id_name = look.seen[_id_column(file, look.seen, item_col)]
    cells: dict[str, list[Any]] = {}
    for name in columns or [name for name in look.seen if name != id_name]:
        _check_count(len(cells) + 1)
        rows, notes = read_pairs(file, _FeatureColumns(item_col, name))
        for note in notes:
            if "UTF-8" in note:
                _log.warning("%s", note)
        values = {canonical(id_): text.strip() for id_, text in rows}
        cells[name] = [values.get(id_) or None for id_ in ids]
    return ItemFeatures(ids, cells)


def _from_frame(frame: Any, item_col: str | None, columns: Sequence[str] | None) -> ItemFeatures:
    try:
        import narwhals as nw
    except ImportError as error:
        raise missing_extra("narwhals", "train", "reading data frames") from error
    try:
        table = nw.from_native(frame)
    except TypeError as error:
        raise InputError(
            f"item features are a file or a frame of pandas, polars or Arrow, not a "
            f"{type(frame).__name__}"
        ) from error
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    names = list(table.columns)
    chosen = names[_id_column(_FRAME, names, item_col)]
    ids = table[chosen].to_list()
    if any(id_ is None or id_ != id_ for id_ in ids):
        raise InputError(f"{_FRAME} has rows without an id: fill or drop them")
    from_values(ids)  # checks that they are all integers or all strings
    whole = [int(id_) if not isinstance(id_, str) else canonical(id_) for id_ in ids]
    wanted = columns or [name for name in names if name != chosen]
    _check_count(len(wanted))
    places = [asked_column(_FRAME, names, len(names), name, "feature") for name in wanted]
    return ItemFeatures(
        whole, {names[i]: [_cell(value) for value in table[names[i]].to_list()] for i in places}
    )


def _cell(value: Any) -> Any:
    """Return a value as text, a number or a list; None where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return [str(part) for part in value]
    return str(value)


def _may_be_id(name: str) -> bool:
    plain = "".join(filter(str.isalnum, name)).casefold()
    return plain == "id" or usual_role(name) == "item"


def _id_column(source: str, names: Sequence[str], asked: str | None) -> int:
    if asked is not None:
        return asked_column(source, names, len(names), asked, "ids")
    usual = [i for i, name in enumerate(names) if _may_be_id(name)]
    if len(usual) != 1:
        several = "several columns may hold" if usual else "cannot tell which column holds"
        raise InputError(
            f"{source}: {several} the item ids; its columns are: {', '.join(names)}. Name "
            "it, as in movies.csv:movieId,genres,title (item_col= in Python)"
        )
    return usual[0]


def _check_count(n_columns: int) -> None:
    if n_columns > MOST_COLUMNS:
        raise InputError(
            f"the item features have more than {MOST_COLUMNS} columns: name those to use, as in "
            "movies.csv:movieId,genres,title (columns= in Python)"
        )
