"""A fit whose stages run on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np.data import Interactions, from_any
from sparserec_np.data.read_report import merged_report
from sparserec_np.data.selection import slice_users
from sparserec_np.distributed.cluster import connected
from sparserec_np.distributed.sharding import (
    Files,
    ShardedInteractions,
    cuts,
    joined,
)
from sparserec_np.distributed.worker import Part
from sparserec_np.distributed.worker_group import WorkerGroup
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.fit import Backend, EpochValidator
from sparserec_np.training.kernels.arrays import Embeddings
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.trainer import EpochResult, EpochTrainer
from sparserec_np.utils.csr import indptr_from_counts


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
            yield DaskBackend(group, threads)
        finally:
            group.disband()


class DaskBackend(Backend):
    """Runs the stages of a fit on a group of workers.

    Args:
        group: The workers.
        threads: Number of threads of each worker; None: as many as Dask gives it.
    """

    runs_here = False

    def __init__(self, group: WorkerGroup, threads: int | None) -> None:
        super().__init__(threads)
        self.group = group
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

            parts = self.group.call("read", share, step="load")
            order = [file for share in files.shares(len(parts)) for file in share]
            reports = [part.report for part in parts]
            return replace(joined(parts), report=merged_report(reports, order))
        data = from_any(X)

        def part(rank: int, size: int) -> tuple[Interactions]:
            bounds = cuts(data.user_degrees(), size)
            return (slice_users(data, int(bounds[rank]), int(bounds[rank + 1])),)

        return replace(joined(self.group.call("take", part, step="load")), report=data.report)

    def hold_out(
        self, data: Interactions, fraction: float, seed: int
    ) -> tuple[Interactions, Interactions]:
        """Hold out a part of each user's interactions, where they are."""
        pairs = self.group.call("hold_out", lambda rank, size: (fraction, seed), step="hold_out")
        learned, held = zip(*pairs, strict=True)
        return joined(list(learned), data), joined(list(held), data)

    def initialize(self, data: Interactions, config: Config, budget: Budget) -> Parameters:
        """Find the parameters to start from; only then is a held-out part forgotten."""
        name, steps = _name(data), self.group.steps
        done = ["parameters", "trainer"]
        if name == "whole" and "hold_out" in steps:
            done += ["hold_out", "validator"]
            self.group.call("forget", lambda rank, size: ())
        for step in done:
            steps.pop(step, None)
        parts = self.group.call("initialize", lambda rank, size: (name, config, budget))
        self._parameters = _joined(parts, data.n_users, config.dim)
        steps["parameters"] = ("go_to", self._own_parameters)
        return self._parameters

    def validator(self, data: Interactions, held: Interactions, config: Config) -> EpochValidator:
        """Make a validator on a held-out part of the workers, or on interactions from here."""
        given = None if isinstance(held, ShardedInteractions) else held
        name = _name(data)
        chooses = self.group.call(
            "make_validator", lambda rank, size: (name, given, config), step="validator"
        )
        return _RemoteValidator(self, chooses_recency=chooses[0])

    def fit_neighbours(self, data: Interactions, config: Config, most: int) -> Neighbours:
        """Let a worker fit neighbours; it needs room for the interactions of all."""
        name = _name(data)
        fitted = self.group.call("fit_neighbours", lambda rank, size: (name, config, most))[0]
        assert isinstance(fitted, Neighbours)
        return fitted

    def trainer(self, parameters: Parameters, data: Interactions, config: Config) -> EpochTrainer:
        """Make a trainer that stands for those of the workers."""
        return _RemoteTrainer(self, parameters, data, config)

    def send(self, parameters: Parameters) -> None:
        """Send parameters to the workers, unless they have them."""
        if parameters is not self._parameters:
            self._parameters = parameters
            self.group.call("go_to", self._own_parameters, step="parameters")

    def epoch(self, epoch: int, rate: float) -> tuple[EpochResult, Parameters]:
        """Train for one epoch; return its sums, and the parameters after it."""
        before = self._parameters
        assert before is not None
        done = self.group.call("epoch", lambda rank, size: (epoch, rate))
        n_users = before.users.indptr.size - 1
        self._parameters = _joined([part for _, part in done], n_users, before.dim)
        return done[0][0], self._parameters

    def _own_parameters(self, rank: int, size: int) -> tuple[Any, ...]:
        parameters = self._parameters
        assert parameters is not None
        users, own = parameters.users, None
        if users.values.size:
            bounds = np.cumsum([0, *(part.n_users for part in self.group.latest["load"])])
            indptr = users.indptr[bounds[rank] : bounds[rank + 1] + 1]
            some = slice(indptr[0], indptr[-1])
            rest = users.dims[some], users.values[some], users.squares[some]
            own = Embeddings(indptr - indptr[0], *rest)
        return parameters.items, own, parameters.dim


class _RemoteValidator:
    """Stands here for the validators of the workers."""

    def __init__(self, backend: DaskBackend, *, chooses_recency: bool) -> None:
        self._backend = backend
        self.chooses_recency = chooses_recency

    def __call__(self, parameters: Parameters) -> float:
        return float(self._ask("__call__", parameters))

    def choose_recency(self, parameters: Parameters) -> tuple[float, float]:
        recency, score = self._ask("choose_recency", parameters)
        return recency, score

    def with_neighbours(
        self, parameters: Parameters, *several: Neighbours
    ) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = self._ask("with_neighbours", parameters, *several)
        return found

    def choose_scale(
        self, parameters: Parameters, neighbours: Neighbours
    ) -> tuple[float, float, float]:
        recency, scale, score = self._ask("choose_scale", parameters, neighbours)
        return recency, scale, score

    def _ask(self, method: str, parameters: Parameters, *neighbours: Neighbours) -> Any:
        self._backend.send(parameters)
        return self._backend.group.call("validate", lambda rank, size: (method, *neighbours))[0]


class _RemoteTrainer:
    """Stands here for the trainers of the workers."""

    def __init__(
        self, backend: DaskBackend, parameters: Parameters, data: Interactions, config: Config
    ) -> None:
        self.config = config
        self._backend = backend
        self._name = _name(data)
        self.go_to(parameters)

    def go_to(self, parameters: Parameters) -> None:
        self.parameters = parameters
        group, name, config = self._backend.group, self._name, self.config
        group.steps.pop("trainer", None)
        self._backend.send(parameters)
        group.call("make_trainer", lambda rank, size: (name, config), step="trainer")

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
    indptr = indptr_from_counts(np.concatenate([np.diff(rows.indptr) for rows in own]))
    rest: Any = (np.concatenate([rows[field] for rows in own]) for field in (1, 2, 3))
    return Parameters(items, Embeddings(indptr, *rest), dim)
