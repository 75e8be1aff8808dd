"""The figures of a report: plain numbers and texts that JSON can hold, no drawing.

Users and items are grouped by octaves of their number of training interactions: 0, 1, 2 to 3, 4 to
7 and so on. Groups are the same for every data set, and long tails fit in a dozen of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparserec_np.data import Interactions, align
from sparserec_np.errors import InputError
from sparserec_np.evaluation.evaluate import Ranking, rank_for_test
from sparserec_np.evaluation.metrics import find_hits, ndcg, recall
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import initialize
from sparserec_np.utils.log import logger
from sparserec_np.utils.parallel import thread_count

if TYPE_CHECKING:
    from sparserec_np.modelfile.arrays import Table
    from sparserec_np.runtime.model import Model
    from sparserec_np.training.state import EpochMetrics

Figures: TypeAlias = "dict[str, Any]"
Ints: TypeAlias = "npt.NDArray[np.int64]"
Floats: TypeAlias = "npt.NDArray[np.float64]"

_DIMENSIONS, _TOP_ITEMS = 8, 6
_RECOMMENDED, _REASONS, _SHOWN = 6, 2, 10
_POPULAR, _LEAST = "popular with everybody", 0.05  # a reason, from this share on

_log = logger(__name__)


def figures(
    model: Model,
    train: Interactions,
    test: Interactions,
    *,
    k: int = 20,
    log: Sequence[EpochMetrics] | None = None,
    examples: int = 4,
    threads: int | None = None,
) -> Figures:
    """Compute all figures of a report.

    Args:
        model: The loaded file.
        train: Interactions that the model learned from. They are the histories, and their items
            are left out of the rankings.
        test: Interactions to predict.
        k: Length of the rankings that are scored.
        log: Metrics of the epochs of the fit, or None.
        examples: Number of users to show with their recommendations; with 0 the page holds no ids
            of users.
        threads: Number of threads; None for all cores.

    Returns:
        ``info`` (as :meth:`Model.info`), ``metrics`` (as :func:`sparserec_np.evaluate`) and
        ``popular`` (the same of a popularity ranking), ``data``, ``curves``, ``weights``, ``mask``,
        ``quality``, ``bias``, ``dimensions`` and ``examples``.

    Raises:
        InputError: No user has a test item, or ``k`` is below 1.
        ModelFileError: The file is damaged.
    """
    info = model.info()
    k = min(k, info["n_items"])
    learned = align(train, None, model.item_ids, ("the training data", "the model")).interactions
    popularity = learned.item_degrees()
    ranking = rank_for_test(model, train, test, k=k, threads=threads)
    popular = ranking.of_the_popular(popularity)
    items = model.items_table()
    dimensions = _dimensions(model, items, popularity)
    return {
        "info": info,
        "metrics": {**ranking.metrics(), "model_bytes": info["bytes"]},
        "popular": popular.metrics(),
        "data": _data(train, test, ranking),
        "curves": None if not log else _curves(log),
        "weights": _weights(items, popularity),
        "mask": _mask(model, info, items, train, popularity, threads),
        "quality": {
            "by_activity": _by_activity(ranking, popular),
            "by_popularity": _by_popularity(ranking, popular, popularity),
        },
        "bias": _bias(ranking, popular, popularity),
        "dimensions": dimensions[:_DIMENSIONS],
        "examples": _examples(model, ranking, dimensions, examples),
    }


def octaves(degrees: Ints) -> Ints:
    """Number the group of each count: 0 for 0, 1 for 1, 2 for 2 to 3, 3 for 4 to 7...

    >>> octaves(np.array([0, 1, 2, 3, 4, 1000]))
    array([ 0,  1,  2,  2,  3, 10])
    """
    return np.frexp(degrees.astype(np.float64))[1].astype(np.int64)


def _groups(degrees: Ints, **values: npt.ArrayLike) -> list[dict[str, Any]]:
    """Count the members of each octave, and average their values.

    Args:
        degrees: Counts to group by, int64 array of shape [n].
        values: Values to average, float64 arrays of shape [n].

    Returns:
        For each octave, from the first to the last with members: ``low`` and ``high``, the range of
        its degrees, ``n``, and the means of the values, None where there is no member.
    """
    group = octaves(degrees)
    counts = np.bincount(group)
    sums = {name: np.bincount(group, np.asarray(value)) for name, value in values.items()}
    rows = []
    for octave in range(int(group.min()) if len(group) else 0, len(counts)):
        n = int(counts[octave])
        low, high = (1 << octave) >> 1, (1 << octave) - 1
        means = {name: float(total[octave]) / n if n else None for name, total in sums.items()}
        rows.append({"low": low, "high": max(high, low), "n": n, **means})
    return rows


def _data(train: Interactions, test: Interactions, ranking: Ranking) -> dict[str, Any]:
    def counts(part: Interactions) -> dict[str, Any]:
        users = part.user_degrees()
        users = users[users > 0]
        items = part.item_degrees()
        items = items[items > 0]
        return {
            "users": len(users),
            "items": len(items),
            "interactions": part.nnz,
            "items_a_user": float(np.median(users)) if len(users) else 0.0,
            "users_an_item": float(np.median(items)) if len(items) else 0.0,
        }

    return {
        "train": counts(train),
        "test": counts(test),
        "unknown": int(ranking.n_relevant.sum()) - ranking.relevant.nnz,
        "unserved": int((ranking.ranked[ranking.n_relevant > 0, 0] < 0).sum())
        + ranking.unserved_users,
        "users": _groups(train.user_degrees()),
        "items": _groups(train.item_degrees()),
    }


def _curves(log: Sequence[EpochMetrics]) -> list[dict[str, Any]]:
    """Return the metrics of each stage, in the order of the stages."""
    stages = dict.fromkeys(record.stage for record in log)
    names = ("epoch", "loss", "ndcg", "moved", "seconds")
    return [
        {
            "stage": stage,
            **{name: [getattr(r, name) for r in log if r.stage == stage] for name in names},
        }
        for stage in stages
    ]


def _weights(items: Table, popularity: Ints) -> dict[str, Any]:
    """Count the item weights by popularity and by dimension.

    ``half`` is the number of dimensions, the fullest first, that hold half of the weights.
    """
    by_dimension = np.sort(np.bincount(items.dims, minlength=items.dim))[::-1]
    return {
        "by_popularity": _groups(popularity, weights=np.diff(items.indptr)),
        "by_dimension": by_dimension.tolist(),
        "half": int(np.searchsorted(by_dimension.cumsum(), by_dimension.sum() / 2)) + 1,
    }


def _mask(
    model: Model,
    info: dict[str, Any],
    items: Table,
    train: Interactions,
    popularity: Ints,
    threads: int | None,
) -> dict[str, Any] | None:
    """Compare the mask with that of the initialization, computed again from data and config.

    Returns:
        ``moved``, the share of all weights whose position the initialization did not have, and
        ``by_popularity``, the same for the items; None if the data is not that of the fit,
        or there are no weights.
    """
    facts = info["facts"]
    counts = (facts.get("users"), facts.get("items"), facts.get("interactions"))
    known = train.item_ids.positions_in(model.item_ids)
    if (
        not len(items.dims)
        or counts != (train.n_users, train.n_items, train.nnz)
        or not np.array_equal(known, np.arange(info["n_items"]))
        or model.dim != info["config"].get("dim")
    ):
        return None
    try:
        config = Config(**info["config"])
    except (TypeError, InputError):  # written by a version with other hyperparameters
        return None
    users = model.users_table() if model.users == "embedding" else None
    budgets = (len(items.dims), 0 if users is None else len(users.dims))
    _log.info("computing the initialization again, to see which weights exploration moved")
    with thread_count(threads):
        began = initialize(train, config, Budget(*budgets))
    moved = _moved(items, began.items.rows.indptr, began.items.rows.dims)
    total = int(moved.sum())
    if users is not None:
        total += int(_moved(users, began.users.indptr, began.users.dims).sum())
    share = moved / np.maximum(np.diff(items.indptr), 1)
    return {"moved": total / sum(budgets), "by_popularity": _groups(popularity, moved=share)}


def _moved(table: Table, indptr: Ints, dims: npt.NDArray[Any]) -> Ints:
    """Count the positions of each row that another table of as many rows does not have."""

    def keys(indptr: Ints, dims: npt.NDArray[Any]) -> Ints:
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        return rows * table.dim + dims.astype(np.int64)

    mine = keys(table.indptr, table.dims)
    new = mine[~np.isin(mine, keys(indptr, dims), assume_unique=True)]
    return np.bincount(new // table.dim, minlength=len(table)).astype(np.int64)


def _by_activity(ranking: Ranking, popular: Ranking) -> list[dict[str, Any]]:
    counted = ranking.n_relevant > 0
    n_relevant = ranking.n_relevant[counted]
    values: dict[str, Floats] = {}
    for name, one in (("", ranking), ("popular_", popular)):
        hits = find_hits(one.ranked, one.relevant)[counted]
        values[f"{name}recall"] = recall(hits, n_relevant)
        values[f"{name}ndcg"] = ndcg(hits, n_relevant)
    return _groups(ranking.known.user_degrees()[counted], **values)


def _by_popularity(ranking: Ranking, popular: Ranking, popularity: Ints) -> list[dict[str, Any]]:
    """Average over test interactions, by popularity of the item: found in the ranking or not."""
    relevant = ranking.relevant
    wanted = relevant.user_of_entry().astype(np.int64) * relevant.n_items + relevant.items
    found = {}
    for name, one in (("found", ranking), ("popular_found", popular)):
        users, places = np.nonzero(find_hits(one.ranked, relevant))
        hits = users * relevant.n_items + one.ranked[users, places]
        found[name] = np.isin(wanted, hits).astype(np.float64)
    return _groups(popularity[relevant.items], **found)


def _bias(ranking: Ranking, popular: Ranking, popularity: Ints) -> dict[str, Any]:
    """Compare the popularity of recommended items with that of the items of the test part."""
    served = np.zeros(len(popularity))
    served[ranking.ranked[ranking.ranked >= 0]] = 1
    groups = _groups(popularity, covered=served)
    first = int(octaves(popularity).min())
    means = {}
    for name, items in (
        ("test", ranking.relevant.items),
        ("model", ranking.ranked[ranking.ranked >= 0]),
        ("popular", popular.ranked[popular.ranked >= 0]),
    ):
        degrees = popularity[items]
        counts = np.bincount(octaves(degrees), minlength=first + len(groups))[first:]
        for group, n in zip(groups, counts.tolist(), strict=True):
            group[name] = n / max(len(items), 1)
        means[name] = float(degrees.mean()) if len(items) else 0.0
    return {"groups": groups, "mean": means, "items": int(served.sum())}


def _titles(model: Model, ids: list[Any]) -> list[str]:
    labels = model.labels_of(ids)
    return [str(label or id_) for id_, label in zip(ids, labels, strict=True)]


def _dimensions(model: Model, items: Table, popularity: Ints) -> list[dict[str, Any]]:
    """Describe each dimension by its items of largest weight, the most used dimensions first.

    The use of a dimension is the sum of ``|v_id|`` over all interactions. Items are ordered by
    ``v_id n / (n + 10)``, which damps the weights of items that few users ``n`` have.
    """
    rows = np.repeat(np.arange(len(items)), np.diff(items.indptr))
    degrees = popularity[rows]
    used = np.bincount(items.dims, np.abs(items.values) * degrees, minlength=items.dim)
    strength = items.values * (degrees / (degrees + 10.0))
    order = np.lexsort((-strength, items.dims))
    starts = np.searchsorted(items.dims[order], np.arange(items.dim + 1))
    found = []
    for dim in np.argsort(-used, kind="stable").tolist():
        entries = order[starts[dim] : starts[dim + 1]]
        best = entries[:_TOP_ITEMS][items.values[entries[:_TOP_ITEMS]] > 0]
        found.append(
            {
                "dimension": dim,
                "share": float(used[dim] / max(used.sum(), 1e-12)),
                "weights": len(entries),
                "items": _titles(model, model.item_ids.take(rows[best])),
                "values": [float(value) for value in items.values[best]],
            }
        )
    return found


def _examples(
    model: Model, ranking: Ranking, dimensions: list[dict[str, Any]], n: int
) -> list[dict[str, Any]]:
    """Show ``n`` users at even steps of the order by activity, from low to high."""
    degrees = ranking.known.user_degrees()
    served = np.flatnonzero((ranking.n_relevant > 0) & (ranking.ranked[:, 0] >= 0) & (degrees > 0))
    served = served[np.argsort(degrees[served], kind="stable")]
    places = [(2 * i + 1) * len(served) // (2 * n) for i in range(n)] if len(served) else []
    meaning = {row["dimension"]: row["items"][:2] for row in dimensions}
    chosen = served[list(dict.fromkeys(places))].tolist()
    return [_example(model, ranking, meaning, user) for user in chosen]


def _example(
    model: Model, ranking: Ranking, meaning: dict[int, list[str]], user: int
) -> dict[str, Any]:
    def row(part: Interactions) -> list[Any]:
        return model.item_ids.take(part.items_of(user))

    (user_id,) = ranking.known.user_ids.take([user])
    known, wanted = row(ranking.known), set(row(ranking.relevant))
    by_history = model.users == "history"
    request = {"history": known} if by_history else {"user": user_id}
    ids = model.item_ids.take([i for i in ranking.ranked[user][:_RECOMMENDED].tolist() if i >= 0])
    shares: dict[Any, float] = dict.fromkeys(known, 0.0)
    recommended = []
    for id_, title in zip(ids, _titles(model, ids), strict=True):
        why = model.explain(id_, **request)
        positive = [(name, share) for name, share in why.parts if share > 0]
        total = sum(share for _, share in positive) + max(why.bias, 0.0)
        if by_history:
            for name, share in positive:
                shares[name] += share
        causes = [
            (share, _titles(model, [name]) if by_history else meaning[name])
            for name, share in positive[:_REASONS]
        ]
        if why.bias > _LEAST * total:
            causes.append((why.bias, [_POPULAR]))
        causes = sorted(causes, key=lambda cause: -cause[0])[:_REASONS]
        reasons = [{"share": share / total, "because": because} for share, because in causes]
        recommended.append(
            {"title": title, "score": why.score, "held_out": id_ in wanted, "why": reasons}
        )
    shown = sorted(known, key=lambda item: -shares[item])[:_SHOWN]
    return {
        "user": str(user_id),
        "n": len(known),
        "held_out": len(wanted),
        "known": _titles(model, shown),
        "recommended": recommended,
    }
