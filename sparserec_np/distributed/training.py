"""A fit whose stages run on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np.data import Interactions, from_any
from sparserec_np.distributed.cluster import connected
from sparserec_np.distributed.sharding import (
    Files,
    ShardedInteractions,
    cuts,
    merged_report,
    part_of,
)
from sparserec_np.distributed.team import WorkerGroup
from sparserec_np.distributed.worker import Facts, Part
from sparserec_np.training.config import Config
from sparserec_np.training.fit import Backend, EpochValidator
from sparserec_np.training.initialization import empty_rows
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.state import Parameters
from sparserec_np.training.trainer import Run
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import concatenated


@contextmanager
def training_on(dask: Any, *, threads: int | None = None) -> Iterator[Backend]:
    """Connect to a cluster to train on.

    Args:
        dask: Address of its scheduler, or a ``distributed.Client``.
        threads: Threads of a worker; None: as many as Dask gives it.

    Yields:
        What does the stages of a fit there.

    Raises:
        InputError: No scheduler answers, there is no worker, or a worker has other versions.
        ClusterError: The cluster is lost on the way.
    """
    with connected(dask) as client:
        team = WorkerGroup(client, threads)
        try:
            yield DaskBackend(team)
        finally:
            team.disband()


class DaskBackend(Backend):
    """Does the stages on a team of workers.

    Args:
        team: The workers.
    """

    def __init__(self, team: WorkerGroup) -> None:
        self._team = team
        self._tables: Parameters | None = None  # those that the workers have as well
        self.make_run = self._make_run

    def take(self, X: Any) -> Interactions:
        """Let the workers read files, or send them the interactions of their users."""
        if isinstance(X, (str, Path)) or (
            isinstance(X, (list, tuple)) and X and all(isinstance(x, (str, Path)) for x in X)
        ):
            X = Files(X, with_times=None)
        if isinstance(X, Files):
            files = X

            def share(rank: int, size: int) -> tuple[list[str], dict[str, Any]]:
                return [files.paths[file] for file in files.shares(size)[rank]], files.options

            facts = self._team.call("read", share, step="load")
            whole = self._spread("whole", facts)
            order = [file for share in files.shares(len(facts)) for file in share]
            reports = [fact.report for fact in facts if fact.report is not None]
            return replace(whole, report=merged_report(reports, order))
        data = from_any(X)

        def part(rank: int, size: int) -> tuple[Interactions]:
            bounds = cuts(data.user_degrees(), size)
            return (part_of(data, int(bounds[rank]), int(bounds[rank + 1])),)

        whole = self._spread("whole", self._team.call("take", part, step="load"))
        return replace(whole, report=data.report)

    def hold_out(
        self, data: Interactions, fraction: float, seed: int
    ) -> tuple[Interactions, Interactions]:
        """Hold out a part of each user's interactions, where they are."""
        pairs = self._team.call("hold_out", lambda rank, size: (fraction, seed), step="hold_out")
        learned, held = zip(*pairs, strict=True)
        return self._spread("learned", list(learned), data), self._spread("held", list(held), data)

    def start(
        self, data: Interactions, config: Config, dim: int, weights: tuple[int, int]
    ) -> Parameters:
        """Make the tables that training starts from; only then is a held-out part forgotten."""
        name = _name(data)
        for step in ("tables", "run"):
            self._team.steps.pop(step, None)
        if name == "whole" and "hold_out" in self._team.steps:
            for step in ("hold_out", "validator"):
                self._team.steps.pop(step, None)
            self._team.call("forget", lambda rank, size: ())
        parts = self._team.call("start", lambda rank, size: (name, config, dim, weights))
        self._tables = _joined(parts, data.n_users, dim)
        self._team.steps["tables"] = ("go_to", self._share_of_tables)
        return self._tables

    def validator(self, data: Interactions, held: Interactions, config: Config) -> EpochValidator:
        """Make what says how good the tables of the workers are."""
        given = None if isinstance(held, ShardedInteractions) else held
        name = _name(data)
        chooses = self._team.call(
            "make_validator", lambda rank, size: (name, given, config), step="validator"
        )
        return _RemoteValidator(self, chooses_recency=chooses[0])

    def judge(self, method: str, tables: Parameters) -> Any:
        """Call a method of the workers' validators for some tables."""
        self._bring(tables)
        return self._team.call(method, lambda rank, size: ())[0]

    def epoch(self, epoch: int, rate: float) -> tuple[tuple[float, int, int], Parameters]:
        """Do one epoch; return what it was like, and the tables after it."""
        before = self._tables
        assert before is not None
        done = self._team.call("epoch", lambda rank, size: (epoch, rate))
        n_users = before.users.indptr.size - 1
        self._tables = _joined([part for _, part in done], n_users, before.dim)
        return done[0][0], self._tables

    def prepare(self, tables: Parameters, data: Interactions, config: Config) -> None:
        """Get ready to train from some tables."""
        self._team.steps.pop("run", None)
        self._bring(tables)
        name = _name(data)
        self._team.call("make_run", lambda rank, size: (name, config), step="run")

    def bytes_sent(self) -> list[int]:
        """Count what each worker has sent to the others so far."""
        return [int(n) for n in self._team.call("sent", lambda rank, size: ())]

    def _make_run(self, tables: Parameters, data: Interactions, config: Config) -> Run:
        return _RemoteRun(self, tables, data, config)

    def _bring(self, tables: Parameters) -> None:
        """Give the workers tables, unless they have them."""
        if tables is not self._tables:
            self._tables = tables
            self._team.call("go_to", self._share_of_tables, step="tables")

    def _share_of_tables(self, rank: int, size: int) -> tuple[Any, ...]:
        tables = self._tables
        assert tables is not None
        if not tables.users.values.size:
            return tables.items, None, tables.dim
        counts = [fact.user_degrees.size for fact in self._team.latest["load"]]
        first = sum(counts[:rank])
        users = tables.users
        indptr = users.indptr[first : first + counts[rank] + 1]
        some = slice(indptr[0], indptr[-1])
        own = Embeddings(
            indptr - indptr[0], users.dims[some], users.values[some], users.squares[some]
        )
        return tables.items, own, tables.dim

    def _spread(
        self, name: str, facts: list[Facts], whole: Interactions | None = None
    ) -> ShardedInteractions:
        degrees = np.concatenate([fact.user_degrees for fact in facts])
        user_ids = (
            whole.user_ids
            if whole
            else concatenated([fact.user_ids for fact in facts if fact.user_ids is not None])
        )
        item_ids = facts[0].item_ids
        assert item_ids is not None  # peer 0 says it
        return ShardedInteractions(
            indptr_from_counts(degrees),
            np.zeros(0, np.int32),
            user_ids,
            item_ids,
            name=name,
            degrees=facts[0].item_degrees,
            timed=facts[0].timed,
            prints=sum(fact.fingerprint for fact in facts) & ((1 << 64) - 1),
        )


class _RemoteValidator:
    """Stands here for the validators of the workers."""

    def __init__(self, engine: DaskBackend, *, chooses_recency: bool) -> None:
        self._engine = engine
        self.chooses_recency = chooses_recency

    def __call__(self, tables: Parameters) -> float:
        return float(self._engine.judge("validate", tables))

    def choose_recency(self, tables: Parameters) -> tuple[float, float]:
        recency, score = self._engine.judge("choose_recency", tables)
        return recency, score


class _RemoteRun(Run):
    """Stands here for the runs of the workers."""

    def __init__(
        self, engine: DaskBackend, tables: Parameters, data: Interactions, config: Config
    ) -> None:
        # Not that of the base class: everything is elsewhere, but for the tables.
        self._engine = engine
        self._prepare = lambda tables: engine.prepare(tables, data, config)
        self.go_to(tables)

    def go_to(self, tables: Parameters) -> None:
        self.tables = tables
        self._prepare(tables)

    def epoch(self, epoch: int, rate: float) -> tuple[float, int, int]:
        done, self.tables = self._engine.epoch(epoch, rate)
        return done


def _name(data: Interactions) -> str:
    assert isinstance(data, ShardedInteractions)  # all that the engine hands out is
    return data.name


def _joined(parts: list[Part], n_users: int, dim: int) -> Parameters:
    """Put the tables of all peers together."""
    items = parts[0][0]
    assert items is not None  # peer 0 has them
    own = [users for _, users in parts if users is not None]
    if not own:
        return Parameters(items, empty_rows(n_users), dim)
    lengths = np.concatenate([np.diff(rows.indptr) for rows in own])
    users = Embeddings(
        indptr_from_counts(lengths),
        *(np.concatenate([rows[field] for rows in own]) for field in (1, 2, 3)),
    )
    return Parameters(items, users, dim)
