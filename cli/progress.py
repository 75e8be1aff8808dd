"""Progress of training on stderr: live bars at a terminal, else a line for each epoch or trial."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .log import is_quiet
from .terminal import echo

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sparserec_np.training.state import EpochMetrics
    from sparserec_np.tuning.trials import Trial

OnEpoch = Callable[["EpochMetrics"], None]
OnTrial = Callable[["Trial"], None]


@contextmanager
def show_epochs() -> Iterator[OnEpoch]:
    """Yield a function to call after each epoch; it shows nothing with ``-q``."""
    if is_quiet():
        yield lambda metrics: None
    elif sys.stderr.isatty():
        with _progress_display() as progress:
            epochs = _EpochBars(progress)
            yield epochs
            epochs.close()
    else:
        yield lambda metrics: echo(_line(metrics), err=True)


@contextmanager
def show_trials(title: str, trials: int) -> Iterator[tuple[OnEpoch, OnTrial]]:
    """Yield two functions, to call after each epoch and after each of ``trials`` trials."""
    seen = _TrialLines(title, trials)
    if is_quiet():
        yield lambda metrics: None, lambda trial: None
    elif sys.stderr.isatty():
        with _progress_display() as progress:
            task = progress.add_task(title, total=trials, figures="")
            epochs = _EpochBars(progress)

            def on_trial(trial: Trial) -> None:
                seen.add(trial)
                progress.update(task, completed=trial.number + 1, figures=seen.best())

            yield epochs, on_trial
            epochs.close(hide=True)
    else:
        yield (
            lambda metrics: None,
            lambda trial: echo(seen.add(trial), err=True),
        )


def _figures(metrics: EpochMetrics) -> str:
    ndcg = "" if metrics.ndcg is None else f"  NDCG {metrics.ndcg:.4f}"
    return f"loss {metrics.loss:.4f}{ndcg}"


def _line(metrics: EpochMetrics) -> str:
    moved = f"  {metrics.moved:,} weights moved" if metrics.moved else ""
    return (
        f"{metrics.stage}  epoch {metrics.epoch}/{metrics.epochs}  {_figures(metrics)}  "
        f"{metrics.triples_per_second / 1e6:.2f} M triples/s{moved}"
    )


class _TrialLines:
    """Lines about the trials, and the best NDCG so far."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._best = 0.0

    def add(self, trial: Trial) -> str:
        """Add a trial; return a line about it."""
        if trial.ndcg is None:
            return f"{self._title}  {trial.number + 1}/{self._total}  {trial.state}"
        self._best = max(self._best, trial.ndcg)
        what = "  (the defaults)" if trial.number == 0 else ""
        return (
            f"{self._title}  {trial.number + 1}/{self._total}  NDCG {trial.ndcg:.4f}  {self.best()}"
            f"  {trial.seconds:.1f} s{what}"
        )

    def best(self) -> str:
        """Return the best NDCG so far, as text."""
        return f"best NDCG {self._best:.4f}"


class _EpochBars:
    """A progress bar for each stage of a fit."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        # No total: the bar only moves, until the first epoch is done and a real one takes over.
        self._initialization = progress.add_task("initialize", total=None, figures="")

    def __call__(self, metrics: EpochMetrics) -> None:
        progress, tasks, stage = self._progress, self._tasks, metrics.stage
        progress.update(self._initialization, visible=False)
        if stage not in tasks:
            self.close()
            tasks[stage] = progress.add_task(stage, total=metrics.epochs, figures="")
        elif metrics.epoch == 1:
            progress.reset(tasks[stage])
        progress.update(
            tasks[stage],
            completed=metrics.epoch,
            total=metrics.epochs,
            figures=_figures(metrics),
        )

    def close(self, *, hide: bool = False) -> None:
        """Show the last stage as done: many stop before their last epoch."""
        for task in self._progress.tasks:
            if task.id in self._tasks.values():
                self._progress.update(task.id, total=task.completed, visible=not hide)


@contextmanager
def _progress_display() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),  # as wide as the terminal allows
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("[dim]{task.fields[figures]}"),
        console=Console(stderr=True),
        expand=True,
    ) as progress:
        yield progress
