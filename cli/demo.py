"""``sparserec-np demo``: the whole workflow on synthetic data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import OUTPUT_FILE, common_options, json_option
from .output import format_size, print_json, print_metrics
from .progress import show_epochs
from .terminal import echo, echo_command, escape

if TYPE_CHECKING:
    from sparserec_np.data import Interactions
    from sparserec_np.data.synthetic import DemoData
    from sparserec_np.runtime.model import Model
    from sparserec_np.training.state import EpochMetrics

_N_SHOWN = 8  # films watched and films recommended


@click.command(short_help="Show the whole job on invented data, in under a minute.")
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    default="demo.srec",
    show_default=True,
    help="The model file to write.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same demo.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads.")
@json_option
@common_options
def demo(output: Path, seed: int, threads: int | None, as_json: bool) -> None:
    """Show the whole job, in under a minute.

    Invents film fans with tastes, holds out a fifth of what they watched, learns from the rest,
    writes the model file, scores the file against a popularity ranking, and recommends to two of
    the fans.
    """
    with show_epochs() as on_epoch:
        outcome = run_demo(output, seed=seed, threads=threads, on_epoch=on_epoch)
    if as_json:
        print_json(outcome)
    elif sys.stdout.isatty():
        _print_tables(outcome)
    else:
        _print_lines(outcome)


def run_demo(
    path: Path,
    *,
    seed: int = 0,
    threads: int | None = None,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
) -> dict[str, Any]:
    """Run the whole workflow: generate, hold out, fit, save, load the file, evaluate, recommend.

    Args:
        path: Where to write the model file.
        seed: Of the data, the split and the training.
        threads: Number of threads; None for all cores.
        on_epoch: Called after each epoch of the training.

    Returns:
        A summary that JSON can hold: counts of the data, the file, its weights and bytes, the
        metrics of the model and of a popularity ranking on the held-out part, and for two users
        the films that they watched and those that the model recommends.
    """
    from sparserec_np.data.splitting import hold_out
    from sparserec_np.data.synthetic import N_ITEMS, N_USERS, generate
    from sparserec_np.estimator import SparseRec
    from sparserec_np.evaluation.evaluate import evaluate
    from sparserec_np.runtime.model import load

    data = generate(seed)
    train, test = hold_out(data.interactions, fraction=0.2, seed=seed)
    started = time.perf_counter()
    estimator = SparseRec(seed=seed, threads=threads, fast=True)
    estimator.fit(train, labels=data.titles, on_epoch=on_epoch).save(path)
    fit_seconds = time.perf_counter() - started
    model = load(path)
    metrics = evaluate(model, train, test, k=20, threads=threads)
    return {
        "interactions": data.interactions.nnz,
        "users": N_USERS,
        "items": N_ITEMS,
        "held_out": test.nnz,
        "fit_seconds": fit_seconds,
        "model": str(path),
        "model_bytes": path.stat().st_size,
        "weights": model.info()["weights"],
        "popularity": metrics.pop("popularity"),
        "metrics": metrics,
        "examples": [
            _describe_example(model, data, train, test, user) for user in _two_users(data, train)
        ],
    }


def _two_users(data: DemoData, train: Interactions) -> tuple[int, int]:
    """Return two active users: the one whose strongest taste is largest, and smallest."""
    import numpy as np

    active = np.flatnonzero(train.user_degrees() >= 20)
    strongest = data.tastes[active].max(axis=1)
    return int(active[strongest.argmax()]), int(active[strongest.argmin()])


def _describe_example(
    model: Model, data: DemoData, train: Interactions, test: Interactions, user: int
) -> dict[str, Any]:
    def films(part: Interactions) -> list[int]:
        return part.item_ids.take(part.items_of(user))

    (user_id,) = train.user_ids.take([user])
    if model.users == "history":
        ids, scores = model.recommend(history=films(train), k=_N_SHOWN)
    else:
        ids, scores = model.recommend(user=user_id, k=_N_SHOWN, exclude=films(train))
    held = set(films(test))
    return {
        "user": user_id,
        "fond_of": _main_tastes(data, user),
        "watched": [_film_facts(data, film) for film in films(train)],
        "recommended": [
            {**_film_facts(data, film), "score": float(score), "held_out": film in held}
            for film, score in zip(ids, scores, strict=True)
        ],
    }


def _main_tastes(data: DemoData, user: int) -> dict[str, float]:
    """Return the share of each kind of at least 5 %, the largest first."""
    from sparserec_np.data.synthetic import KINDS

    shares = {KINDS[kind]: round(float(data.tastes[user, kind]), 2) for kind in range(len(KINDS))}
    named = sorted(shares.items(), key=lambda share: -share[1])
    return {kind: share for kind, share in named if share >= 0.05}


def _film_facts(data: DemoData, film: int) -> dict[str, Any]:
    return {"id": film, "title": data.titles[film], "kind": data.kinds[film]}


def _data_line(outcome: dict[str, Any]) -> str:
    return (
        f"{outcome['users']:,} invented film fans watched {outcome['interactions']:,} times one of "
        f"{outcome['items']:,} films; {outcome['held_out']:,} of these were held out."
    )


def _file_line(outcome: dict[str, Any]) -> str:
    return (
        f"{outcome['model']}: {format_size(outcome['model_bytes'])}, "
        f"{outcome['weights']:,} weights, learned in {outcome['fit_seconds']:.0f} s."
    )


def _tastes_text(example: dict[str, Any]) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in example["fond_of"].items())


def _next_command(outcome: dict[str, Any]) -> str:
    film = outcome["examples"][0]["recommended"][0]["id"]
    return f"sparserec-np similar {outcome['model']} {film}"


def _film_text(film: dict[str, Any]) -> str:
    return f"{film['title']}, {film['kind']}"


def _print_lines(outcome: dict[str, Any]) -> None:
    """Print plain lines, for a pipe or a log."""
    echo(_data_line(outcome))
    echo(_file_line(outcome))
    print_metrics(outcome["metrics"], outcome["popularity"])
    lines = []
    for example in outcome["examples"]:
        lines.append(f"user {example['user']} is fond of {_tastes_text(example)}")
        lines += [f"  watched: {_film_text(film)}" for film in example["watched"][:_N_SHOWN]]
        lines += [
            f"  recommended: {_film_text(film)}" + " (held out, so right)" * film["held_out"]
            for film in example["recommended"]
        ]
    lines.append(f"Next: {_next_command(outcome)}")
    for line in lines:
        echo(line)


def _print_tables(outcome: dict[str, Any]) -> None:
    """Print tables, for a person at a terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    console.print(_data_line(outcome), style="dim")
    console.print(escape(_file_line(outcome)), style="bold green", markup=False)
    print_metrics(outcome["metrics"], outcome["popularity"], title="On the held-out part")
    for example in outcome["examples"]:
        console.print(_example_table(example))
    console.print("[green]✓[/] held out: the model did not see it, and the user did watch it")
    echo_command("Next:", _next_command(outcome))


def _example_table(example: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"User {example['user']} is fond of {_tastes_text(example)}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in (f"watched ({_N_SHOWN} of {len(example['watched'])})", "recommended"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
        table.add_column("", style="cyan", min_width=7)  # the kind, which is never cut off
    table.add_column("", style="green")
    for watched, film in zip(example["watched"][:_N_SHOWN], example["recommended"], strict=False):
        table.add_row(
            watched["title"], watched["kind"], film["title"], film["kind"], "✓" * film["held_out"]
        )
    return table
