"""The chart of ``sparserec-np tune --plot``, drawn by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparserec_np.errors import InputError, missing_extra

if TYPE_CHECKING:
    from sparserec_np.tuning.tune import Tuned

_FORMATS = (".png", ".svg", ".pdf")


def check_chart(path: Path) -> None:
    """Check that a chart can be written to a file, before the work that leads to it.

    Raises:
        InputError: The name has another ending than a chart's, or the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    from sparserec_np.utils.atomic_write import check_writable

    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("matplotlib", "plot", "--plot") from error
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"--plot {path}: the name must end in {', '.join(_FORMATS)}")
    check_writable(path)


def draw_chart(found: Sequence[Tuned], path: Path) -> None:
    """Draw NDCG@20 against bytes, for the best config of each size and for the defaults."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    from sparserec_np.utils.atomic_write import write

    from .output import format_size

    figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for trials, label, colour, line, offset in (
        ([tuned.best for tuned in found], "tuned", "#1f6feb", "o-", 8),
        ([tuned.default for tuned in found], "defaults", "#6e7781", "s--", -15),
    ):
        points = [(trial.bytes or 0, trial.ndcg or 0.0) for trial in trials]
        axes.plot(*zip(*points, strict=True), line, label=label, color=colour, linewidth=2)
        for point in points:
            axes.annotate(
                f"{point[1]:.4f}",
                point,
                (0, offset),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=colour,
            )
    axes.set_xscale("log")
    axes.set_xticks(
        [tuned.best.bytes or 0 for tuned in found],
        [tuned.config.get("max_size") or format_size(tuned.best.bytes or 0) for tuned in found],
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.12, y=0.2)
    axes.set_xlabel("size of the model file")
    axes.set_ylabel("NDCG@20 on the validation part")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    drawing = io.BytesIO()
    figure.savefig(drawing, format=path.suffix[1:].lower())
    write(path, drawing.getvalue())
