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
from sparserec_np.distributed.worker import Facts, Part
from sparserec_np.distributed.worker_group import WorkerGroup
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.fit import Backend, EpochValidator
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.trainer import EpochResult, EpochTrainer
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import concatenated


@contextmanager
def training_on(dask: Any, *, threads: int | None = None) -> Iterator[Backend]:
    """Connect to a cluster to train on.

    Args:
        dask: Address of its scheduler, or a ``distributed.Client``.
        threads: Threads of a worker; None: as many as Dask gives it.

    Yields:
        The backend that runs the stages of a fit there.

    Raises:
        InputError: No scheduler answers, there is no worker, or a worker has other versions.
        ClusterError: The cluster is lost on the way.
    """
    with connected(dask) as client:
        group = WorkerGroup(client, threads)
        try:
            yield DaskBackend(group)
        finally:
            group.disband()


class DaskBackend(Backend):
    """Runs the stages of a fit on a group of workers.

    Args:
        group: The workers.
    """

    runs_here = False

    def __init__(self, group: WorkerGroup) -> None:
        self._group = group
        self._parameters: Parameters | None = None  # those that the workers have as well

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

            facts = self._group.call("read", share, step="load")
            whole = self._sharded("whole", facts)
            order = [file for share in files.shares(len(facts)) for file in share]
            reports = [fact.report for fact in facts if fact.report is not None]
            return replace(whole, report=merged_report(reports, order))
        data = from_any(X)

        def part(rank: int, size: int) -> tuple[Interactions]:
            bounds = cuts(data.user_degrees(), size)
            return (part_of(data, int(bounds[rank]), int(bounds[rank + 1])),)

        whole = self._sharded("whole", self._group.call("take", part, step="load"))
        return replace(whole, report=data.report)

    def hold_out(
        self, data: Interactions, fraction: float, seed: int
    ) -> tuple[Interactions, Interactions]:
        """Hold out a part of each user's interactions, where they are."""
        pairs = self._group.call("hold_out", lambda rank, size: (fraction, seed), step="hold_out")
        learned, held = zip(*pairs, strict=True)
        return self._sharded("learned", list(learned), data), self._sharded(
            "held", list(held), data
        )

    def initialize(self, data: Interactions, config: Config, budget: Budget) -> Parameters:
        """Find the parameters to start from; only then is a held-out part forgotten."""
        name = _name(data)
        for step in ("parameters", "trainer"):
            self._group.steps.pop(step, None)
        if name == "whole" and "hold_out" in self._group.steps:
            for step in ("hold_out", "validator"):
                self._group.steps.pop(step, None)
            self._group.call("forget", lambda rank, size: ())
        parts = self._group.call("initialize", lambda rank, size: (name, config, budget))
        self._parameters = _joined(parts, data.n_users, config.dim)
        self._group.steps["parameters"] = ("go_to", self._own_parameters)
        return self._parameters

    def validator(self, data: Interactions, held: Interactions, config: Config) -> EpochValidator:
        """Make a validator on a held-out part of the workers, or on interactions from here."""
        given = None if isinstance(held, ShardedInteractions) else held
        name = _name(data)
        chooses = self._group.call(
            "make_validator", lambda rank, size: (name, given, config), step="validator"
        )
        return _RemoteValidator(self, chooses_recency=chooses[0])

    def validate(self, method: str, parameters: Parameters) -> Any:
        """Call a method of the workers' validators for some parameters."""
        self._send(parameters)
        return self._group.call(method, lambda rank, size: ())[0]

    def epoch(self, epoch: int, rate: float) -> tuple[EpochResult, Parameters]:
        """Train for one epoch; return its sums, and the parameters after it."""
        before = self._parameters
        assert before is not None
        done = self._group.call("epoch", lambda rank, size: (epoch, rate))
        n_users = before.users.indptr.size - 1
        self._parameters = _joined([part for _, part in done], n_users, before.dim)
        return done[0][0], self._parameters

    def prepare(self, parameters: Parameters, data: Interactions, config: Config) -> None:
        """Make the workers' trainers of some parameters."""
        self._group.steps.pop("trainer", None)
        self._send(parameters)
        name = _name(data)
        self._group.call("make_trainer", lambda rank, size: (name, config), step="trainer")

    def trainer(self, parameters: Parameters, data: Interactions, config: Config) -> EpochTrainer:
        """Make a trainer that stands for those of the workers."""
        return _RemoteTrainer(self, parameters, data, config)

    def _send(self, parameters: Parameters) -> None:
        """Send parameters to the workers, unless they have them."""
        if parameters is not self._parameters:
            self._parameters = parameters
            self._group.call("go_to", self._own_parameters, step="parameters")

    def _own_parameters(self, rank: int, size: int) -> tuple[Any, ...]:
        parameters = self._parameters
        assert parameters is not None
        if not parameters.users.values.size:
            return parameters.items, None, parameters.dim
        counts = [fact.user_degrees.size for fact in self._group.latest["load"]]
        first = sum(counts[:rank])
        users = parameters.users
        indptr = users.indptr[first : first + counts[rank] + 1]
        some = slice(indptr[0], indptr[-1])
        own = Embeddings(
            indptr - indptr[0], users.dims[some], users.values[some], users.squares[some]
        )
        return parameters.items, own, parameters.dim

    def _sharded(
        self, name: str, facts: list[Facts], whole: Interactions | None = None
    ) -> ShardedInteractions:
        degrees = np.concatenate([fact.user_degrees for fact in facts])
        user_ids = (
            whole.user_ids
            if whole
            else concatenated([fact.user_ids for fact in facts if fact.user_ids is not None])
        )
        item_ids = facts[0].item_ids
        assert item_ids is not None  # worker 0 reports it
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

    def __init__(self, backend: DaskBackend, *, chooses_recency: bool) -> None:
        self._backend = backend
        self.chooses_recency = chooses_recency

    def __call__(self, parameters: Parameters) -> float:
        return float(self._backend.validate("validate", parameters))

    def choose_recency(self, parameters: Parameters) -> tuple[float, float]:
        recency, score = self._backend.validate("choose_recency", parameters)
        return recency, score


class _RemoteTrainer:
    """Stands here for the trainers of the workers."""

    def __init__(
        self, backend: DaskBackend, parameters: Parameters, data: Interactions, config: Config
    ) -> None:
        self.config = config
        self._backend = backend
        self._data = data
        self.go_to(parameters)

    def go_to(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._backend.prepare(parameters, self._data, self.config)

    def epoch(self, epoch: int, rate: float) -> EpochResult:
        result, self.parameters = self._backend.epoch(epoch, rate)
        return result


def _name(data: Interactions) -> str:
    assert isinstance(data, ShardedInteractions)  # all that the backend hands out is
    return data.name


def _joined(parts: list[Part], n_users: int, dim: int) -> Parameters:
    """Put the parameters of all workers together."""
    items = parts[0][0]
    assert items is not None  # worker 0 has them
    own = [users for _, users in parts if users is not None]
    if not own:
        return Parameters(items, empty_embeddings(n_users), dim)
    lengths = np.concatenate([np.diff(rows.indptr) for rows in own])
    users = Embeddings(
        indptr_from_counts(lengths),
        *(np.concatenate([rows[field] for rows in own]) for field in (1, 2, 3)),
    )
    return Parameters(items, users, dim)
