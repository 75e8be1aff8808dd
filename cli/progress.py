"""How training goes, on stderr: a live bar at a terminal, else one line an epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .options import quiet

if TYPE_CHECKING:
    from sparserec_np.trainer import EpochRecord

OnEpoch = Callable[["EpochRecord"], None]


@contextmanager
def show_epochs() -> Iterator[OnEpoch]:
    """Give the function to call after each epoch; it shows nothing with ``-q``."""
    if quiet():
        yield lambda record: None
    elif sys.stderr.isatty():
        with _bar() as on_epoch:
            yield on_epoch
    else:
        yield lambda record: click.echo(_line(record), err=True)


def _figures(record: EpochRecord) -> str:
    parts = [f"loss {record.loss:.4f}"]
    if record.ndcg is not None:
        parts.append(f"NDCG {record.ndcg:.4f}")
    parts.append(f"{record.triples_per_second / 1e6:.2f} M triples/s")
    if record.moved:
        parts.append(f"{record.moved:,} weights moved")
    return "  ".join(parts)


def _line(record: EpochRecord) -> str:
    return f"{record.stage}  epoch {record.epoch}/{record.epochs}  {_figures(record)}"


@contextmanager
def _bar() -> Iterator[OnEpoch]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("[dim]{task.fields[figures]}"),
        console=Console(stderr=True),
    ) as progress:
        # No total: the bar only moves, until the first epoch is done and a real one takes over.
        start = progress.add_task("find a start", total=None, figures="")

        def on_epoch(record: EpochRecord) -> None:
            progress.update(start, visible=False)
            if record.stage not in tasks:
                tasks[record.stage] = progress.add_task(
                    record.stage, total=record.epochs, figures=""
                )
            progress.update(
                tasks[record.stage],
                completed=record.epoch,
                total=record.epochs,
                figures=_figures(record),
            )

        yield on_epoch
