"""The part of a training that runs in a worker: its users, its copy of the item embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from weakref import finalize

import numpy as np
from distributed import get_worker
from numpy.typing import NDArray

from sparserec_np.data import Interactions, ReadReport
from sparserec_np.data.splitting import hold_out_of_shard
from sparserec_np.distributed.communicator import DaskCommunicator
from sparserec_np.distributed.sharding import read_together
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.divergence import DivergedError
from sparserec_np.training.initialization import initialize
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.trainer import EpochResult, Trainer
from sparserec_np.training.validation import Validator
from sparserec_np.utils.communicator import communicating
from sparserec_np.utils.parallel import thread_count
from sparserec_np.vocabulary import Ids


@dataclass
class Facts:
    """Facts that a worker reports of its interactions."""

    user_degrees: NDArray[np.int64]
    fingerprint: int
    timed: bool
    user_ids: Ids | None = None
    item_degrees: NDArray[np.int64] | None = None
    """Of all users; reported by worker 0 alone."""
    item_ids: Ids | None = None
    """The same."""
    report: ReadReport | None = None


Part = tuple["ItemParameters | None", "Embeddings | None"]
"""A worker's part of the parameters: those of the items, from worker 0 alone; the embeddings of its
users, if there are any."""


class TrainingWorker:
    """A worker of a training. Lives in a Dask worker, as long as the client holds on to it.

    Args:
        threads: Threads of compiled code; None: as many as Dask gives the worker.
        group: Name that the workers of this training share.
    """

    def __init__(self, threads: int | None, group: str) -> None:
        worker = get_worker()
        self._threads = threads or worker.state.nthreads
        self._comm = DaskCommunicator(worker, group)
        finalize(self, self._comm.close).atexit = False
        self._data: dict[str, Interactions] = {}
        self._validator: Validator | None = None
        self._trainer: Trainer | None = None

    def __reduce__(self) -> Any:
        raise TypeError("a worker of a training stays where it is")

    def is_ready(self) -> bool:
        """Tell that the others may join."""
        return True

    def join(self, rank: int, addresses: list[str]) -> None:
        """Connect with the other workers, all of which are made."""
        self._comm.join(rank, addresses)

    def call(self, name: str, *args: Any) -> Any:
        """Call a method that all workers call at once; if it fails, the others end as well."""
        try:
            with thread_count(self._threads), communicating(self._comm):
                return getattr(self, name)(*args)
        except DivergedError:  # on all workers at once
            raise
        except BaseException:
            self._comm.close()
            raise

    def read(self, paths: list[str], options: dict[str, Any]) -> Facts:
        """Read files."""
        own, report = read_together(paths, options)
        return self._facts("whole", own, report)

    def take(self, interactions: Interactions) -> Facts:
        """Copy interactions of consecutive users, which came in a message."""
        own = replace(
            interactions,
            indptr=np.array(interactions.indptr),
            items=np.array(interactions.items),
            times=None if interactions.times is None else np.array(interactions.times),
        )
        return self._facts("whole", own, None)

    def hold_out(self, fraction: float, seed: int) -> tuple[Facts, Facts]:
        """Hold out a part of each user's interactions."""
        whole = self._data["whole"]
        learned, held = hold_out_of_shard(
            whole,
            fraction=fraction,
            seed=seed,
            latest=None,
            users_before=self._comm.exclusive_scan(whole.n_users),
            interactions_before=self._comm.exclusive_scan(whole.nnz),
        )
        return self._facts("learned", learned, None), self._facts("held", held, None)

    def forget(self) -> None:
        """Free what choosing the epoch has needed."""
        self._trainer = self._validator = None
        self._data = {"whole": self._data["whole"]}

    def initialize(self, name: str, config: Config, budget: Budget) -> Part:
        """Find the parameters to start from."""
        self._trainer = None
        self._parameters = initialize(self._data[name], config, budget)
        return self._part()

    def go_to(self, items: ItemParameters, users: Embeddings | None, dim: int) -> None:
        """Copy parameters, which came in a message."""
        self._trainer = None
        items = ItemParameters(_own_rows(items.rows), *map(np.array, items[1:]))
        n_users = self._data["whole"].n_users
        users = empty_embeddings(n_users) if users is None else _own_rows(users)
        self._parameters = Parameters(items, users, dim)

    def make_trainer(self, name: str, config: Config) -> None:
        """Make a trainer of the parameters."""
        self._trainer = None
        self._trainer = Trainer(self._parameters, self._data[name], config)

    def epoch(self, epoch: int, rate: float) -> tuple[EpochResult, Part]:
        """Train for one epoch; see :meth:`sparserec_np.training.trainer.Trainer.epoch`."""
        assert self._trainer is not None
        result = self._trainer.epoch(epoch, rate)
        self._parameters = self._trainer.parameters
        return result, self._part()

    def make_validator(self, name: str, held: Interactions | None, config: Config) -> bool:
        """Make a validator on the held-out part, or on interactions that are given.

        Returns:
            Whether there is a recency to choose.
        """
        if held is None:
            held = self._data["held"]
        self._validator = Validator(self._data[name], held, config)
        return self._validator.chooses_recency

    def validate(self) -> float:
        """Score the parameters."""
        assert self._validator is not None
        return self._validator(self._parameters)

    def choose_recency(self) -> tuple[float, float]:
        """Find the recency that suits the parameters best, and the score with it."""
        assert self._validator is not None
        return self._validator.choose_recency(self._parameters)

    def _part(self) -> Part:
        parameters = self._parameters.copy()  # a client in this process would see them change
        rows = parameters.users if parameters.users.values.size else None
        return (parameters.items if self._comm.rank == 0 else None), rows

    def _facts(self, name: str, own: Interactions, report: ReadReport | None) -> Facts:
        self._data[name] = own
        before = self._comm.exclusive_scan(own.n_users)
        item_degrees = self._comm.all_reduce(own.item_degrees())
        degrees, prints = own.user_degrees(), own.fingerprint(before)
        facts = Facts(degrees, prints, own.has_times, report=report)
        if name == "whole":
            facts.user_ids = own.user_ids
        if self._comm.rank == 0:
            facts.item_degrees, facts.item_ids = item_degrees, own.item_ids
        return facts


def _own_rows(rows: Embeddings) -> Embeddings:
    """Copy embeddings that came in a message, which must not be written to."""
    return Embeddings(*map(np.array, rows))
