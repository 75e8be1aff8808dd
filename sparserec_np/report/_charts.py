"""Charts of a report, drawn by matplotlib as SVG whose colours are variables of the page's CSS.

Text stays text, so it takes the page's font and can be read out and searched. Colours are written
as placeholders and then replaced, because a page in dark mode must be able to change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparserec_np.report._figures import Figures

_MODEL, _POPULAR, _INK, _LINE = "#000001", "#000002", "#000003", "#000004"
_VARIABLES = {_MODEL: "--model", _POPULAR: "--other", _INK: "--ink", _LINE: "--line"}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sparserec-np",
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "xtick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.color": _LINE,
    "ytick.labelcolor": _INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.borderaxespad": 0.2,
    "legend.handlelength": 1.2,
}
_INCHES = (5.2, 3.0)

Draw = Callable[["Axes"], None]


def draw(figures: Figures) -> dict[str, str]:
    """Draw all charts.

    Args:
        figures: What :func:`sparserec_np.report.figures` gives.

    Returns:
        SVG elements by name.
    """
    data, quality, weights = figures["data"], figures["quality"], figures["weights"]
    bias, k = figures["bias"]["groups"], figures["metrics"]["k"]
    charts: dict[str, Draw] = {
        "users": lambda ax: _bars(ax, data["users"], [("n", "users", _MODEL)], "items they have"),
        "items": lambda ax: _bars(
            ax, data["items"], [("n", "items", _MODEL)], "users who have them"
        ),
        "activity": lambda ax: _bars(
            ax,
            quality["by_activity"],
            [("ndcg", "model", _MODEL), ("popular_ndcg", "most popular", _POPULAR)],
            "items that the user has in train",
            f"NDCG@{k}",
        ),
        "popularity": lambda ax: _bars(
            ax,
            quality["by_popularity"],
            [("found", "model", _MODEL), ("popular_found", "most popular", _POPULAR)],
            "users of the item in train",
            f"found in the first {k}",
            percent=True,
        ),
        "bias": lambda ax: _bars(
            ax,
            bias,
            [("model", "recommended", _MODEL), ("test", "really chosen", _POPULAR)],
            "users of the item in train",
            "share of all",
            percent=True,
        ),
        "weights": lambda ax: _bars(
            ax,
            weights["by_popularity"],
            [("weights", "weights", _MODEL)],
            "users of the item in train",
            "weights an item",
        ),
        "dimensions": lambda ax: _ranks(ax, weights["by_dimension"]),
    }
    if figures["mask"]:
        charts["mask"] = lambda ax: _bars(
            ax,
            figures["mask"]["by_popularity"],
            [("moved", "moved", _MODEL)],
            "users of the item in train",
            "weights that moved",
            percent=True,
        )
    for number, curve in enumerate(figures["curves"] or ()):
        charts[f"curve{number}"] = lambda ax, curve=curve: _curve(ax, curve)
        charts[f"moved{number}"] = lambda ax, curve=curve: _moved(
            ax, curve, figures["info"]["weights"]
        )
    return {name: _svg(name, chart) for name, chart in charts.items()}


def _bars(
    ax: Axes,
    groups: Sequence[dict[str, Any]],
    series: Sequence[tuple[str, str, str]],
    xlabel: str,
    ylabel: str = "",
    *,
    percent: bool = False,
) -> None:
    """Draw groups as bars; ``series`` are the name of a value, what it is called, its colour."""
    width = 0.8 / len(series)
    for i, (name, label, colour) in enumerate(series):
        places = [g + (i - (len(series) - 1) / 2) * width for g in range(len(groups))]
        values = [group[name] or 0 for group in groups]
        ax.bar(places, values, width=0.92 * width, color=colour, label=label)
    ax.set_xticks(range(len(groups)), [_short(group["low"]) for group in groups])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(f"{xlabel}, from")
    _value_axis(ax, ylabel or series[0][1], percent)
    if len(series) > 1:
        ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _ranks(ax: Axes, counts: Sequence[int]) -> None:
    ax.fill_between(range(1, len(counts) + 1), counts, step="mid", color=_MODEL, linewidth=0)
    ax.set_xlim(0.5, len(counts) + 0.5)
    ax.set_xlabel("dimensions, the fullest first")
    _value_axis(ax, "weights of items", percent=False)


def _curve(ax: Axes, curve: dict[str, Any]) -> None:
    """Draw loss and, on an axis of its own, NDCG."""
    validated = any(value is not None for value in curve["ndcg"])
    ax.plot(curve["epoch"], curve["loss"], color=_POPULAR, linewidth=2, label="loss")
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    _value_axis(ax, "loss", percent=False, from_zero=False)
    if validated:
        right = ax.twinx()
        right.plot(
            curve["epoch"],
            [float("nan") if value is None else value for value in curve["ndcg"]],
            color=_MODEL,
            linewidth=2,
            marker="o",
            markersize=4,
            label="NDCG@20 on the held-out part",
        )
        right.grid(False)
        _value_axis(right, "NDCG@20", percent=False, from_zero=False)
        lines = [*ax.get_lines(), *right.get_lines()]
        ax.legend(handles=lines, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _moved(ax: Axes, curve: dict[str, Any], weights: int) -> None:
    ax.bar(curve["epoch"], [moved / weights for moved in curve["moved"]], color=_MODEL)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("epoch")
    _value_axis(ax, "weights moved", percent=True)


def _value_axis(ax: Axes, label: str, percent: bool, from_zero: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter

    ax.set_ylabel(label)
    ax.yaxis.get_major_locator().set_params(nbins=5)
    if from_zero:
        ax.set_ylim(0, None if ax.get_ylim()[1] > 0 else 1)
    text = (lambda v, _: f"{100 * v:.3g}%") if percent else (lambda v, _: _short(v))
    ax.yaxis.set_major_formatter(FuncFormatter(text))


def _short(value: float) -> str:
    """Write a number in few characters.

    >>> _short(0.25), _short(512), _short(2048), _short(3_000_000)
    ('0.25', '512', '2k', '3M')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.2g}{unit}"
    return f"{value:.3g}"


def _svg(name: str, chart: Draw) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
        ax.patch.set_visible(False)
        chart(ax)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(name, text.getvalue())


def _for_page(name: str, svg: str) -> str:
    """Cut a file of matplotlib down to an element of a page that holds several of them."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)[\")]", svg))
    svg = re.sub(
        r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg
    )
    svg = re.sub(r"(href=\"|url\()#", rf"\1#{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg).replace("<svg ", '<svg aria-hidden="true" ', 1)
