"""Draws the pictures of the documentation, by ``python docs/pictures.py``.

Nothing in them is painted by hand that can be computed: masks come from the real start of a
training, moves from the rule of exploration, bytes from a real file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sparserec_np import SparseRec
from sparserec_np.data import from_pairs
from sparserec_np.data.synthetic import generate
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import initialize

# Colours for a file looked at alone; within the pages static/pages.css sets the same variables.
_STYLE = """<style>
svg.pic{--p-ink:#3d4450;--p-line:#c9ced6;--p-soft:#edf0f4;--p-a:#1565c0;--p-b:#d9881c;--p-c:#1b7f4b}
@media(prefers-color-scheme:dark){svg.pic{--p-ink:#c3cad4;--p-line:#4a525e;--p-soft:#262c35;\
--p-a:#64a9f5;--p-b:#e0a84f;--p-c:#5fcf95}}
svg.pic text{fill:var(--p-ink);font-family:system-ui,sans-serif;font-size:18px}
svg.pic .a{fill:var(--p-a)}svg.pic .b{fill:var(--p-b)}svg.pic .c{fill:var(--p-c)}
svg.pic .cell{fill:var(--p-soft)}svg.pic .box{fill:var(--p-soft);stroke:var(--p-line)}
svg.pic .arrow{fill:none;stroke:var(--p-ink);stroke-width:2}svg.pic .tip{fill:var(--p-ink)}
svg.pic .cut{fill:none;stroke:var(--p-b);stroke-width:2.5}svg.pic .bold{font-weight:600}
</style>"""
WIDTH = 680


def picture(title: str, height: int, parts: list[str]) -> str:
    """One SVG file of the common width."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pic" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{title}">\n<title>{title}</title>\n{_STYLE}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """A line of text; ``kind`` is a class."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def rect(x: float, y: float, w: float, h: float, kind: str, opacity: float = 1, r: int = 2) -> str:
    """A rectangle; ``kind`` is a class."""
    faint = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r}" class="{kind}"{faint}/>'
    )


def grid(x: float, y: float, size: int, strength: np.ndarray, kind: str = "a") -> list[str]:
    """A table: 0 is a cell that is not stored, everything else is shaded by its magnitude."""
    most = np.abs(strength).max() or 1
    return [
        rect(x + c * size, y + r * size, size - 2, size - 2, kind, 0.25 + 0.75 * abs(v) / most)
        if v
        else rect(x + c * size, y + r * size, size - 2, size - 2, "cell")
        for r, row in enumerate(strength)
        for c, v in enumerate(row)
    ]


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight arrow, level or upright."""
    if y1 == y2:
        back = -9 if x2 > x1 else 9
        tip = f"{x2},{y2} {x2 + back},{y2 - 5} {x2 + back},{y2 + 5}"
    else:
        back = -9 if y2 > y1 else 9
        tip = f"{x2},{y2} {x2 - 5},{y2 + back} {x2 + 5},{y2 + back}"
    return f'<path d="M{x1} {y1}L{x2} {y2}" class="arrow"/><polygon points="{tip}" class="tip"/>'


def box(x: float, y: float, w: float, h: float, *lines: str) -> list[str]:
    """A box whose first line is bold."""
    first = y + h / 2 - 11 * (len(lines) - 1) + 6
    return [rect(x, y, w, h, "box", r=10)] + [
        text(x + w / 2, first + 22 * i, line, "middle", "" if i else "bold")
        for i, line in enumerate(lines)
    ]


def flow() -> str:
    """The whole job."""
    parts = [
        *box(10, 15, 180, 84, "Interactions", "who liked what"),
        arrow(190, 57, 248, 57),
        *box(250, 15, 180, 84, "Sparse NMF", "where weights go"),
        arrow(430, 57, 488, 57),
        *box(490, 15, 180, 84, "Train", "hard negatives"),
        arrow(560, 99, 560, 158),
        arrow(600, 158, 600, 101),
        *box(490, 160, 180, 84, "Explore", "prune and grow"),
        text(480, 135, "every epoch", "end"),
        arrow(490, 202, 432, 202),
        *box(250, 160, 180, 84, "One file", "6 bits a weight"),
        arrow(250, 202, 192, 202),
        *box(10, 160, 180, 84, "Anywhere", "NumPy or browser"),
    ]
    return picture("From interactions to a file that recommends", 260, parts)


def tables() -> str:
    """The same number of weights, narrow and dense or wide and sparse."""
    rng = np.random.default_rng(1)
    narrow = rng.uniform(0.2, 1, (10, 4))
    wide = np.zeros((10, 20))
    for row in wide:
        row[rng.choice(20, 4, replace=False)] = rng.uniform(0.2, 1, 4)
    parts = [
        *grid(50, 40, 20, narrow),
        *grid(250, 40, 20, wide),
        text(90, 22, "narrow, dense", "middle", "bold"),
        text(450, 22, "wide, sparse", "middle", "bold"),
        text(90, 266, "4 columns", "middle"),
        text(90, 288, "40 weights", "middle"),
        text(450, 266, "20 columns", "middle"),
        text(450, 288, "40 weights, each row its own columns", "middle"),
    ]
    return picture("Two tables with the same number of weights", 300, parts)


def nmf() -> str:
    """A small real start beside a random one."""
    rng = np.random.default_rng(5)
    n_users, n_items, dim, budget = 30, 18, 12, 45
    pairs = [
        (u, i)
        for u in range(n_users)
        for i in range(n_items)
        if rng.random() < (0.75 if u * 3 // n_users == i * 3 // n_items else 0.03)
    ]
    pairs += [(n_users - 1, i) for i in range(n_items)]
    data = from_pairs(*zip(*pairs, strict=True))
    rows = initialize(data, Config(dim=dim, sweeps=8, seed=2), Budget(budget, 0)).items.rows
    mask = np.zeros((n_items, dim))
    mask[np.repeat(np.arange(n_items), np.diff(rows.indptr)), rows.dims] = np.abs(rows.values)
    mask = mask[:, np.lexsort((mask.argmax(axis=0), -mask.sum(axis=0)))]
    random = np.zeros((n_items, dim))
    random.flat[rng.choice(n_items * dim, int((mask > 0).sum()), replace=False)] = 1
    seen = np.zeros((n_items, n_users))
    for user, item in pairs:
        seen[item, user] = 1
    parts = [
        *grid(10, 40, 8, seen, "c"),
        *grid(300, 40, 13, random, "b"),
        *grid(500, 40, 13, mask),
        text(130, 24, "18 items x 30 users", "middle", "bold"),
        text(378, 24, "random mask", "middle", "bold"),
        text(578, 24, "mask from NMF", "middle", "bold"),
        text(130, 212, "three groups of users", "middle"),
        text(130, 234, "with three tastes", "middle"),
        text(378, 300, "knows nothing", "middle"),
        text(578, 300, "like goes with like", "middle"),
    ]
    return picture("A random mask and one from a matrix factorisation", 314, parts)


def explore() -> str:
    """One step of exploration, by its rule."""
    rng = np.random.default_rng(8)
    rows, dim, moves, size = 7, 8, 5, 21
    values = np.where(rng.random((rows, dim)) < 0.45, rng.uniform(0.05, 1, (rows, dim)), 0)
    values[values.max(axis=1) == 0, 0] = 0.5
    largest = values.argmax(axis=1)
    free = values.copy()
    free[np.arange(rows), largest] = 0  # never pruned: no row is left empty
    stored = np.flatnonzero(free)
    pruned = stored[np.argsort(free.flat[stored])[:moves]]
    sampled = [1, 2, 4, 5]
    gradient = np.zeros((rows, dim))
    gradient[sampled] = rng.exponential(1, (len(sampled), dim))
    gradient[values > 0] = 0
    grown = np.argsort(-gradient.ravel())[:moves]
    after = values.copy()
    after.flat[pruned] = 0

    def marks(x: float, places: np.ndarray) -> list[str]:
        return [
            rect(x + p % dim * size, 40 + p // dim * size, size - 2, size - 2, "cut")
            for p in places.tolist()
        ]

    new = [
        rect(495 + p % dim * size, 40 + p // dim * size, size - 2, size - 2, "c")
        for p in grown.tolist()
    ]
    parts = [
        *grid(15, 40, size, values),
        *marks(15, pruned),
        *grid(255, 40, size, gradient, "c"),
        *marks(255, grown),
        *grid(495, 40, size, after),
        *new,
        text(98, 24, "smallest weights", "middle", "bold"),
        text(338, 24, "gradient elsewhere", "middle", "bold"),
        text(578, 24, "after the step", "middle", "bold"),
        text(98, 214, f"{moves} are pruned", "middle"),
        text(338, 214, f"{moves} are grown,", "middle"),
        text(338, 236, "in a sample of rows", "middle"),
        text(578, 214, "as many weights", "middle"),
        text(578, 236, "as before", "middle"),
        arrow(193, 112, 243, 112),
        arrow(433, 112, 483, 112),
    ]
    return picture("One step of exploration: prune and grow", 250, parts)


def history() -> str:
    """A user is the sum of what they had."""
    rng = np.random.default_rng(3)
    items = np.zeros((3, 20))
    for row, columns in zip(items, ([2, 5, 11], [5, 11, 16], [2, 5, 18]), strict=True):
        row[columns] = rng.uniform(0.4, 1, 3)
    user = items.sum(axis=0, keepdims=True)
    other = np.zeros((1, 20))
    other[0, [5, 7, 11]] = [0.9, 0.5, 0.7]
    both = np.flatnonzero((user[0] > 0) & (other[0] > 0)).tolist()
    names = ("Alien", "Aliens", "Contact")
    parts = []
    for i, name in enumerate(names):
        parts += grid(220, 20 + 34 * i, 22, items[i : i + 1])
        parts.append(text(205, 36 + 34 * i, name, "end"))
    parts += [
        text(205, 154, "the user: their sum", "end", "bold"),
        *grid(220, 138, 22, user, "c"),
        text(205, 206, "Gravity", "end"),
        *grid(220, 190, 22, other),
        *[rect(218 + 22 * c, 134, 24, 82, "cut", r=5) for c in both],
        text(440, 244, "score: where both have weights, the sum of products", "middle"),
        rect(220, 124, 438, 2, "cell"),
    ]
    return picture("The history model: a user is the sum of the items they had", 260, parts)


def negatives() -> str:
    """Hard negatives."""
    scores = np.array([0.35, 0.62, 0.2, 0.91, 0.48, 0.3, 0.7, 0.12])
    parts = [text(165, 33, "an item they had", "end", "bold"), rect(180, 18, 345, 20, "c")]
    for i, score in enumerate(scores):
        best = i == scores.argmax()
        parts.append(
            rect(180, 62 + 24 * i, 340 * score, 16, "b" if best else "a", 1 if best else 0.35)
        )
    place = 62 + 24 * int(scores.argmax())
    parts += [
        text(165, 76, "drawn at random", "end"),
        text(180 + 340 * scores.max() + 12, place + 14, "learn from this one"),
        text(180, 284, "score"),
    ]
    return picture(
        "Of several items drawn at random, the best scored one is learned from", 296, parts
    )


def file() -> str:
    """Draw the parts of a real file, by their bytes."""
    data = generate(0)
    model = SparseRec(epochs=1, seed=0).fit(data.interactions, labels=data.titles).model_
    info = model.info()
    names = {
        "items": ("item weights", "a"),
        "labels": ("titles", "c"),
        "header": ("header: config, facts", "b"),
    }
    sizes: dict[str, int] = {}
    for tensor, n in info["parts"].items():
        prefix = tensor.partition(".")[0]
        sizes[prefix if prefix in names else "rest"] = (
            sizes.get(prefix if prefix in names else "rest", 0) + n
        )
    names["rest"] = ("biases, history weights, ids", "b")
    parts, x = [], 20.0
    for i, (prefix, n) in enumerate(sorted(sizes.items(), key=lambda part: -part[1])):
        words, kind = names[prefix]
        width = 640 * n / info["bytes"]
        faint = 0.55 if prefix == "rest" else 1
        parts.append(rect(x, 20, max(width - 2, 1), 46, kind, faint))
        parts.append(rect(20, 86 + 28 * i, 16, 16, kind, faint))
        parts.append(text(46, 100 + 28 * i, f"{words}: {n:,} bytes"))
        x += width
    parts.append(
        text(
            20,
            222,
            f"{info['n_items']:,} films, {info['weights']:,} weights: {info['bytes']:,} bytes",
            kind="bold",
        )
    )
    return picture("The parts of a model file", 240, parts)


def packages() -> str:
    """The way of the data through the packages, in a fit and in a request."""
    left, middle, right, w, h = 10, 245, 480, 190, 72
    parts = [
        text(left, 30, "A fit: estimator and cli stand on training.fit", kind="bold"),
        *box(left, 48, w, h, "data", "interactions"),
        arrow(left + w, 84, middle - 2, 84),
        *box(middle, 48, w, h, "training", "nmf, initialization"),
        arrow(middle + w, 84, right - 2, 84),
        *box(right, 48, w, h, "training", "trainer, kernels"),
        arrow(right + 70, 48 + h, right + 70, 168),
        arrow(right + 120, 170, right + 120, 50 + h),
        *box(right, 170, w, h, "training", "prune_and_grow"),
        arrow(right, 206, middle + w + 2, 206),
        *box(middle, 170, w, h, "evaluation", "validation: NDCG"),
        text(middle + w + 22, 150, "every epoch", "middle"),
        arrow(middle, 206, left + w + 2, 206),
        *box(left, 170, w, h, "modelfile", "writer"),
        arrow(left + w / 2, 170 + h, left + w / 2, 308),
        text(middle, 290, "A request", kind="bold"),
        *box(left, 310, w, h, "movies.srec", "one file"),
        arrow(left + w, 346, middle - 2, 346),
        *box(middle, 310, w, h, "modelfile", "reader"),
        arrow(middle + w, 346, right - 2, 346),
        *box(right, 310, w, h, "runtime", "NumPy alone"),
        *box(left, 414, w, h, "web", "in a browser"),
        *box(middle, 414, w, h, "runtime_stdlib", "one file to copy"),
        *box(right, 414, w, h, "retrieval", "compiled"),
        arrow(left + w / 2, 310 + h, left + w / 2, 412),
        text(middle, 404, "or the same, by", kind=""),
    ]
    return picture("The way of the data through the packages", 500, parts)


def draw(folder: Path) -> list[Path]:
    """Write all pictures; return their paths."""
    makers = (flow, tables, nmf, explore, history, negatives, file, packages)
    paths = []
    for make in makers:
        path = folder / f"{make.__name__}.svg"
        path.write_text(make(), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures"
    for path in draw(folder):
        print(path)
