"""Charts of a report, drawn by matplotlib as SVG whose colours are variables of the page's CSS.

Text stays text, so it takes the page's font and can be read out and searched. Colours are written
as placeholders and then replaced, because a page in dark mode must be able to change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparserec_np.report.figures import Figures

_MODEL, _OTHER, _INK, _LINE = "#000001", "#000002", "#000003", "#000004"
_VARIABLES = {_MODEL: "--model", _OTHER: "--other", _INK: "--ink", _LINE: "--line"}
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
    "axes.facecolor": "none",
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
_INCHES = (4.5, 2.8)  # so that 11 pt are 11 px in a window as wide as a phone

Draw = Callable[["Axes"], None]
Bars: TypeAlias = "tuple[Sequence[dict[str, Any]], list[tuple[str, str, str]], str, str]"
"""Groups; name, legend and colour of each series; label below; label beside. A label that begins
with % turns the values into per cent."""


def draw(figures: Figures) -> dict[str, str]:
    """Draw all charts.

    Args:
        figures: Result of :func:`sparserec_np.report.figures`.

    Returns:
        SVG elements by name.
    """
    data, quality, weights = figures["data"], figures["quality"], figures["weights"]
    bias, k = figures["bias"]["groups"], figures["metrics"]["k"]
    by_users, by_items = "users of the item in train", "items that the user has in train"
    bars: dict[str, Bars] = {
        "users": (data["users"], [("n", "users", _MODEL)], by_items, "users"),
        "items": (data["items"], [("n", "items", _MODEL)], by_users, "items"),
        "activity": (quality["by_activity"], _against("ndcg"), by_items, f"NDCG@{k}"),
        "popularity": (
            quality["by_popularity"],
            _against("found"),
            by_users,
            f"% found in the first {k}",
        ),
        "bias": (
            bias,
            [("model", "recommended", _MODEL), ("test", "really chosen", _OTHER)],
            by_users,
            "% of all",
        ),
        "covered": (bias, [("covered", "seen", _MODEL)], by_users, "% of the items"),
        "weights": (
            weights["by_popularity"],
            [("weights", "weights", _MODEL)],
            by_users,
            "weights an item",
        ),
    }
    if figures["mask"]:
        moved = figures["mask"]["by_popularity"]
        bars["mask"] = (moved, [("moved", "moved", _MODEL)], by_users, "% of the weights")
    charts: dict[str, Draw] = {name: partial(_bars, bars=one) for name, one in bars.items()}
    charts["dimensions"] = partial(_ranks, counts=weights["by_dimension"])
    for number, curve in enumerate(figures["curves"] or ()):
        charts[f"curve{number}"] = partial(_curve, curve=curve)
        charts[f"moved{number}"] = partial(_moved, curve=curve, weights=figures["info"]["weights"])
    return {name: _svg(name, chart) for name, chart in charts.items()}


def _against(name: str) -> list[tuple[str, str, str]]:
    return [(name, "model", _MODEL), (f"popular_{name}", "most popular", _OTHER)]


def _bars(ax: Axes, bars: Bars) -> None:
    groups, series, xlabel, ylabel = bars
    width = 0.8 / len(series)
    factor = 100 if ylabel.startswith("%") else 1
    for i, (name, label, colour) in enumerate(series):
        places = [g + (i - (len(series) - 1) / 2) * width for g in range(len(groups))]
        values = [factor * (group[name] or 0) for group in groups]
        ax.bar(places, values, width=0.92 * width, color=colour, label=label)
    ax.set_xticks(range(len(groups)), [_short(group["low"]) for group in groups])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(f"{xlabel}, from")
    _value_axis(ax, ylabel)
    if len(series) > 1:
        ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _ranks(ax: Axes, counts: Sequence[int]) -> None:
    ax.fill_between(range(1, len(counts) + 1), counts, step="mid", color=_MODEL, linewidth=0)
    ax.set_xlim(0.5, len(counts) + 0.5)
    ax.set_xlabel("dimensions, the fullest first")
    _value_axis(ax, "weights of items")


def _curve(ax: Axes, curve: dict[str, Any]) -> None:
    """Draw loss and, on an axis of its own, NDCG."""
    ax.plot(curve["epoch"], curve["loss"], color=_OTHER, linewidth=2, label="loss")
    _epoch_axis(ax)
    _value_axis(ax, "loss", from_zero=False)
    if all(value is None for value in curve["ndcg"]):
        return
    right = ax.twinx()
    values = [float("nan") if value is None else value for value in curve["ndcg"]]
    style: Any = {"linewidth": 2, "marker": "o", "markersize": 4}
    right.plot(curve["epoch"], values, color=_MODEL, label="NDCG@20, held out", **style)
    right.grid(False)
    _value_axis(right, "NDCG@20", from_zero=False)
    lines = [*ax.get_lines(), *right.get_lines()]
    ax.legend(handles=lines, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))


def _moved(ax: Axes, curve: dict[str, Any], weights: int) -> None:
    ax.bar(curve["epoch"], [100 * moved / weights for moved in curve["moved"]], color=_MODEL)
    _epoch_axis(ax)
    _value_axis(ax, "% of the weights")


def _epoch_axis(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _value_axis(ax: Axes, label: str, *, from_zero: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.set_ylabel(label)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    if from_zero:
        ax.set_ylim(0, None if ax.get_ylim()[1] > 0 else 1)


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

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # undoes what the user has set
        settings: Any = matplotlib.rcParams
        settings.update(_STYLE)
        figure = Figure(figsize=_INCHES, layout="constrained")
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
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
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"(href=\"|url\()#", rf"\1#{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg).replace("<svg ", '<svg aria-hidden="true" ', 1)
