"""``sparserec-np info``: the contents of a model file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from .log import is_verbose, log
from .options import LOCAL_FILE, common_options, json_option
from .output import format_size, print_facts, print_json


@click.command(no_args_is_help=True, short_help="Show what is in a model file.")
@click.argument("model", type=LOCAL_FILE)
@json_option
@common_options
def info(model: Path, as_json: bool) -> None:
    """Show what is in the file MODEL, after checking all of it against its checksum.

    First what it serves, its size, its quality and its data; with -v also the parts of the file and
    the hyperparameters.
    """
    from sparserec_np.runtime.model import load

    facts = load(model).info()
    if as_json:
        print_json(facts)
        return
    print_facts(
        [
            ("serves", _users(facts)),
            ("items", f"{facts['n_items']:,}, {'with' if facts['labels'] else 'without'} titles"),
            ("size", f"{format_size(facts['bytes'])}, checksum right"),
            *_quality(facts["facts"]),
            *_source(facts["facts"]),
            *_new_items(facts["facts"]),
            ("written", f"{datetime.fromtimestamp(model.stat().st_mtime):%Y-%m-%d %H:%M}"),
            *_recency(facts),
            *(_details(facts) if is_verbose() else ()),
        ],
        title=str(model),
    )
    if not is_verbose():
        log.info("with -v also: weights, parts of the file, hyperparameters")


def _details(facts: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("dim", facts["dim"]),
        ("weights", f"{facts['weights']:,} (sparsity {facts['sparsity']:.3f})"),
        *_neighbours(facts),
        *((f"bytes: {name}", f"{size:,}") for name, size in facts["parts"].items()),
        *((f"fit: {name}", _value(value)) for name, value in facts["facts"].items()),
        *((f"config: {name}", _value(value)) for name, value in facts["config"].items()),
    ]


def _quality(fitted: dict[str, Any]) -> list[tuple[str, str]]:
    ndcg = fitted.get("validation_ndcg@20")
    if ndcg is None:
        return []
    popularity = fitted.get("popularity_ndcg@20")
    beside = "" if popularity is None else f"; a ranking by popularity: {popularity:.4f}"
    return [("quality", f"NDCG@20 {ndcg:.4f} on the part that the fit held out{beside}")]


def _source(fitted: dict[str, Any]) -> list[tuple[str, str]]:
    if not {"interactions", "users"} <= fitted.keys():
        return []
    return [("fitted on", f"{fitted['interactions']:,} interactions of {fitted['users']:,} users")]


def _new_items(fitted: dict[str, Any]) -> list[tuple[str, str]]:
    if not {"items_by_features", "features_find", "chance_finds"} <= fitted.keys():
        return []
    added, found, chance = (
        fitted[name] for name in ("items_by_features", "features_find", "chance_finds")
    )
    text = f"{added:,} without interactions, by features, which find {found:.0%} of what suits best"
    return [("new items", f"{text} (chance {chance:.0%})")]


def _users(facts: dict[str, Any]) -> str:
    if facts["users"] == "history":
        return "anybody, from what they liked; no user is in the file, and no interaction"
    return f"the {facts['n_users']:,} users it was fitted on, by their ids"


def _recency(facts: dict[str, Any]) -> list[tuple[str, str]]:
    recency = facts["history_recency"]
    if not recency:
        return []
    return [("recency", f"{recency:g}: histories are ordered, the latest item last")]


def _neighbours(facts: dict[str, Any]) -> list[tuple[str, str]]:
    if not facts["neighbours"]:
        return []
    return [("neighbours", f"{facts['neighbours']:,}: what an item adds to the scores of others")]


def _value(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
