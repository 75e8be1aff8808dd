"""Growth of training time and memory with interactions, with weights and with dim.

    python bench/growth.py [--max 50000000] [--along interactions weights dim] [--users history]

Generated data with a long tail, 20,000 items, some 50 interactions a user; each point in a fresh
process with compiled code loaded beforehand; medians of three, of the largest a single run. Along
one axis the others stay as they are: 1,000,000 interactions, 12 weights an item, dim 256. Prints a
table and the slope in the log-log plane in words for each, and draws a plot each.
"""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from time import perf_counter

import common
import numpy as np
from common import MB, Result

from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.defaults import config_for
from sparserec_np.training.initialization import initialize
from sparserec_np.training.state import TrainingState
from sparserec_np.training.trainer import Trainer, train
from sparserec_np.utils.parallel import thread_count

N_ITEMS = 20_000
PER_USER = 50
EPOCHS = 2
REPEATS = 3
LARGE = 10_000_000  # interactions from which on one run has to do
LAST = 3  # points whose slope is put in words: below them, what does not grow hides what does
CANDIDATES = 16  # what the data would choose follows its size, and would hide how time grows
BASE = {"interactions": 1_000_000, "weights": 12, "dim": 256}
ALONG = {
    "interactions": (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000, 50_000_000),
    "weights": (2, 4, 8, 16, 32, 64),
    "dim": (64, 128, 256, 512, 1024, 2048, 4096),
}
SMALL = {"interactions": 20_000, "weights": 4, "dim": 64}  # for --quick
SMALL_ALONG = {"interactions": (20_000, 40_000), "weights": (4, 8), "dim": (64, 128)}
AXES = {
    "interactions": "interactions",
    "weights": "weights a row",
    "dim": "dim, 12 weights a row",
}
FIGURES = {
    "NMF, s": lambda one: one["nmf_seconds"],
    "epoch, s": lambda one: one["epoch_seconds"],
    "peak above interactions, MB": lambda one: one["peak_bytes"] / MB,
}
PANELS = {"seconds": ("NMF, s", "epoch, s"), "MB": ("peak above interactions, MB",)}


def measure(users: str, interactions: int, weights: int, dim: int) -> Result:
    """Measure time and peak memory of the initialization and of an epoch.

    Args:
        users: User model.
        interactions: Number of interactions to generate, about.
        weights: Mean weights a row.
        dim: Columns.
    """
    common.warm_up(users)
    data = common.gathered(max(1, interactions // PER_USER), N_ITEMS, PER_USER)
    config = config_for(data, {"users": users, "dim": dim, "candidates": CANDIDATES})
    user_nnz = weights * data.n_users if users == "embedding" else 0
    budget = Budget(weights * data.n_items, user_nnz)
    nmf_seconds, epoch_seconds, peaks = [], [], []
    for _ in range(1 if interactions >= LARGE else REPEATS):
        loaded, began = common.settled_bytes(), perf_counter()
        with thread_count(None):
            parameters = initialize(data, config, budget)
            nmf_seconds.append(perf_counter() - began)
            train(Trainer(parameters, data, config), TrainingState(parameters), epochs=EPOCHS)
        epoch_seconds.append((perf_counter() - began - nmf_seconds[-1]) / EPOCHS)
        peaks.append(common.peak_bytes() - loaded)
        del parameters
    return {
        "interactions": data.nnz,
        "weights": sum(budget),
        "dim": dim,
        "nmf_seconds": median(nmf_seconds),
        "epoch_seconds": median(epoch_seconds),
        "peak_bytes": max(peaks),
    }


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the least-squares line through the points in the log-log plane."""
    return float(np.polyfit(np.log(x), np.log(np.maximum(y, 1e-9)), 1)[0])


def in_words(power: float) -> str:
    """Return the meaning of a slope in words."""
    if power < 0.15:
        return "hardly grows"
    if power < 0.85:
        return "grows slower than linearly"
    if power <= 1.15:
        return "grows linearly"
    return "grows faster than linearly"


def report(along: str, points: list[Result]) -> str:
    """Format a table and the slopes in words."""
    rows = [
        [f"{one[along]:,}", *(f"{figure(one):.3g}" for figure in FIGURES.values())]
        for one in points
    ]
    x = [float(one[along]) for one in points]
    words = []
    for name, figure in FIGURES.items():
        y = [figure(one) for one in points]
        power = slope(x[-LAST:], y[-LAST:])
        words.append(
            f"{name.partition(',')[0]} {in_words(power)} (slope {power:.2f}, {slope(x, y):.2f} "
            "from end to end)"
        )
    return (
        f"**Along {AXES[along]}**, over the last {LAST} points: {'; '.join(words)}.\n\n"
        f"{common.table(rows, [along, *FIGURES])}\n\n"
        f"![Time and memory along {AXES[along]}](results/growth_{along}.png)"
    )


def plot(along: str, points: list[Result], path: Path) -> None:
    """Draw times and memory along one axis, log-log, with linear growth as dashed lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    x = np.array([one[along] for one in points], float)
    for axis, (unit, names) in zip(panels, PANELS.items(), strict=True):
        drawn = []
        for name in names:
            y = np.array([FIGURES[name](one) for one in points])
            (line,) = axis.plot(x, y, marker="o", label=name.rpartition(", ")[0])
            axis.plot(x, y[-1] * x / x[-1], "--", lw=1, alpha=0.6, color=line.get_color())
            drawn.append(y)
        axis.plot([], [], "--", lw=1, color="gray", label="linear growth")
        axis.set(xscale="log", yscale="log", xlabel=AXES[along], ylabel=unit)
        axis.set_ylim(np.min(drawn) / 1.5, np.max(drawn) * 3)  # the dashed lines leave the panel
        if along == "interactions":
            axis.xaxis.set_major_formatter(ticker.EngFormatter(sep=" "))
        else:
            axis.set_xticks(x, [f"{value:,.0f}" for value in x])
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(ticker.NullLocator())
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--max", type=float, default=math.inf, help="most interactions")
    parser.add_argument("--along", nargs="+", choices=ALONG, default=list(ALONG))
    parser.add_argument("--users", choices=("history", "embedding"), default="history")
    args = parser.parse_args()
    results = common.Results(args.results, "growth")
    base, axes = (SMALL, SMALL_ALONG) if args.quick else (BASE, ALONG)
    texts = []
    for along in args.along:
        points = []
        for value in axes[along]:
            point = {**base, along: value}
            if point["interactions"] > args.max:
                continue
            config = Config(users=args.users, dim=point["dim"], candidates=CANDIDATES).to_dict()
            what = {"users": args.users, **point, "config": config}
            result = results.measure(
                what, lambda point=point: common.fresh(measure, users=args.users, **point)
            )
            # Weights are reported a row, as they are asked for.
            points.append({**result, "weights": point["weights"]})
        plot(along, points, args.results / f"growth_{along}.png")
        texts.append(report(along, points))
    common.finish("growth", "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
