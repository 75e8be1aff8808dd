"""Results on stdout: JSON, tables, ranked items.

Tables are drawn for a person at a terminal, and tab-separated for a pipe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .terminal import echo, echo_styled, escape

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparserec_np.runtime.model import Explanation, Model

_REASONS = 3  # parts of a score that are shown


METRICS = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "hit_rate": "Hit rate",
    "mrr": "MRR",
    "coverage": "Coverage",
}
"""What people read for the metrics of an evaluation."""


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Print rows under a header.

    Args:
        columns: Names of the columns.
        rows: Cells, one for each column; a float is shown with four digits after the point,
            anything else as ``str`` writes it.
        title: Stands above the table at a terminal; left out in a pipe.
    """
    cells = [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    if not sys.stdout.isatty():
        for line in (columns, *cells):
            echo(*line)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=None if title is None else Text(escape(title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column, values in zip(columns, zip(*rows, strict=True) if rows else (), strict=False):
        numeric = all(isinstance(value, (int, float)) for value in values)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for line in cells:
        table.add_row(*(Text(escape(cell)) for cell in line))
    Console().print(table)


def print_items(
    model: Model,
    ids: list[Any],
    scores: npt.NDArray[np.float32],
    *,
    as_json: bool,
    similar_to: Any = None,
    reasons: Sequence[Explanation] | None = None,
) -> None:
    """Print a ranked list of items: ids, scores and, where the model has them, titles.

    Args:
        model: The model that ranked them.
        ids: Item ids, best first.
        scores: float32 array of shape [len(ids)].
        as_json: Print ``{"items", "scores"}``, and ``"labels"`` where there are titles, instead of
            a table.
        similar_to: The item that these are similar to, for the title of the table; or None.
        reasons: What the score of each is made of; or None.
    """
    labels = model.labels_of(ids)
    has_labels = any(label is not None for label in labels)
    if as_json:
        result: dict[str, Any] = {"items": ids, "scores": [float(score) for score in scores]}
        if has_labels:
            result["labels"] = labels
        if reasons is not None:
            result["why"] = [
                {"bias": why.bias, "parts": [{"id": id_, "share": x} for id_, x in why.parts]}
                for why in reasons
            ]
        print_json(result)
        return
    columns = ["rank", "item", "score"]
    rows: list[list[object]] = [
        [rank, id_, float(score)]
        for rank, (id_, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]
    if has_labels:
        columns.append("title")
        for row, label in zip(rows, labels, strict=True):
            row.append(label or "")
    if reasons is not None:
        columns.append("why")
        for row, why in zip(rows, reasons, strict=True):
            row.append(_reason(model, why))
    title = None
    if similar_to is not None:
        title = f"Most like {model.labels_of([similar_to])[0] or similar_to}"
    print_table(columns, rows, title=title)


def _reason(model: Model, why: Explanation) -> str:
    """Name the parts of a score that matter most, in percent of all their sizes."""
    ids = [id_ for id_, _ in why.parts]
    names: list[str] = [f"dimension {id_}" for id_ in ids]
    if model.users == "history":
        names = [label or str(id_) for id_, label in zip(ids, model.labels_of(ids), strict=True)]
    shares = [share for _, share in why.parts]
    parts = [("popular", why.bias), *zip(names, shares, strict=True)]
    total = sum(abs(share) for _, share in parts) or 1.0
    largest = sorted(parts, key=lambda part: -abs(part[1]))[:_REASONS]
    shown = [(name, share / total) for name, share in largest if abs(share) >= 0.005 * total]
    return ", ".join(f"{name} {share:+.0%}" for name, share in shown)


def print_metrics(
    ours: Mapping[str, Any],
    popularity: Mapping[str, Any] | None = None,
    *,
    title: str | None = None,
) -> None:
    """Print the metrics of a model, and beside them those of a popularity ranking.

    Args:
        ours: Result of :func:`sparserec_np.evaluation.evaluate.evaluate`.
        popularity: The same metrics of a ranking by popularity, or None.
        title: Stands above the table at a terminal.
    """
    columns = ["metric", "model"]
    rows: list[list[object]] = [
        [f"{text}@{ours['k']}", float(ours[name])] for name, text in METRICS.items()
    ]
    if popularity is not None:
        columns.append("popularity")
        for row, name in zip(rows, METRICS, strict=True):
            row.append(float(popularity[name]))
    print_table(columns, rows, title=title)


def print_facts(facts: Sequence[tuple[str, object]], *, title: str | None = None) -> None:
    """Print names and values, one pair a line, in two columns."""
    width = max(len(name) for name, _ in facts)
    if title:
        echo_styled(title, bold=True)
    for name, value in facts:
        echo_styled(name.ljust(width), f"  {value}", dim=True)


def format_size(n_bytes: int) -> str:
    """Write a size for people: in bytes up to 9,999, then in kB, then in MB.

    >>> format_size(950), format_size(45_300), format_size(3_456_789)
    ('950 bytes', '45.3 kB', '3.46 MB')
    """
    if n_bytes < 10_000:
        return f"{n_bytes:,} bytes"
    if n_bytes < 1_000_000:
        return f"{n_bytes / 1000:.1f} kB"
    return f"{n_bytes / 1_000_000:.2f} MB"
