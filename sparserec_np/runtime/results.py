"""Results of requests: ids and scores, shown with titles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sparserec_np.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Titles = Callable[[Sequence[Any]], list[str | None]]

_SHOWN = 20  # rows of a table that stands for a result
_FRAMES = ("pandas", "polars")


class _Pair(NamedTuple):
    ids: list[Any]
    scores: npt.NDArray[Any]


class Recommendation(_Pair):
    """Items, best first, and their scores: a pair ``(ids, scores)`` that shows as a table.

    Attributes:
        ids: Their ids.
        scores: float32 array of the same length.
    """

    _titles: Titles | None

    def __new__(cls, ids: list[Any], scores: Any, titles: Titles | None = None) -> Recommendation:
        """Keep ids and scores, and what finds titles when they are wanted."""
        made = super().__new__(cls, ids, scores)
        made._titles = titles
        return made

    def titles(self) -> list[str | None]:
        """Return the titles of the items; None for one that has none."""
        return [None] * len(self.ids) if self._titles is None else self._titles(self.ids)

    def to_frame(self) -> Any:
        """Return a frame with the columns ``item``, ``score`` and, if there are any, ``title``.

        Returns:
            A frame of pandas or of polars: the one that the program has imported, else the one that
            is installed.

        Raises:
            MissingExtraError: Neither is installed.
        """
        from importlib import import_module

        for name in sorted(_FRAMES, key=lambda name: name not in sys.modules):
            try:
                return import_module(name).DataFrame(self._columns())
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
        raise MissingExtraError("to_frame needs pandas or polars: pip install pandas")

    def _columns(self) -> dict[str, Any]:
        columns = {"item": self.ids, "score": self.scores}
        titles = self.titles()
        return {**columns, "title": titles} if any(titles) else columns

    def _rows(self) -> list[tuple[str, ...]]:
        """The cells of the first rows, under their header."""
        columns = self._columns()
        columns["score"] = [f"{score:.4f}" for score in self.scores]
        cells = zip(*(column[:_SHOWN] for column in columns.values()), strict=True)
        rows = [tuple("" if cell is None else str(cell) for cell in row) for row in cells]
        return [tuple(columns), *rows]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        more = len(self.ids) - _SHOWN
        return "\n".join([*lines, f"... and {more:,} more"] if more > 0 else lines)

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        body = [html_row(head, "th"), *(html_row(row) for row in rows)]
        more = len(self.ids) - _SHOWN
        rest = f"<p>and {more:,} more</p>" if more > 0 else ""
        return f"<table>{''.join(body)}</table>{rest}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is made of; titles are looked up for it."""
        return _remade, (self.ids, self.scores, self.titles())


def _remade(ids: list[Any], scores: Any, titles: list[str | None]) -> Recommendation:
    return Recommendation(ids, scores, (lambda _: titles) if any(titles) else None)


def html_row(cells: Sequence[str], tag: str = "td") -> str:
    """Return a row of an HTML table."""
    from html import escape

    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
