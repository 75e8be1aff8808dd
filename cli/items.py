"""Printing of a ranked list of items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import print_json
from .tables import print_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparserec_np.runtime.model import Model


def print_items(
    model: Model,
    ids: list[Any],
    scores: npt.NDArray[np.float32],
    *,
    as_json: bool,
    like: Any = None,
) -> None:
    """Print ids, scores and, where the model has them, titles.

    Args:
        model: The model that ranked them, which has their titles.
        ids: Item ids, best first.
        scores: float32[len(ids)].
        as_json: Print ``{"items", "scores"}`` and ``"labels"`` if there are any, not a table.
        like: For a list of similar items, the item that they are similar to.
    """
    labels = model.labels_of(ids)
    labelled = any(label is not None for label in labels)
    if as_json:
        result: dict[str, Any] = {"items": ids, "scores": [float(score) for score in scores]}
        print_json({**result, "labels": labels} if labelled else result)
        return
    columns = ["rank", "item", "score"]
    rows: list[list[object]] = [
        [rank, id_, float(score)]
        for rank, (id_, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]
    if labelled:
        columns.append("title")
        for row, label in zip(rows, labels, strict=True):
            row.append(label or "")
    print_table(columns, rows, title=None if like is None else _like(model, like))


def _like(model: Model, item: Any) -> str:
    (label,) = model.labels_of([item])
    return f"Most like {label or item}"
