"""The part of a training that runs in a worker: its users, its copy of the item embeddings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import finalize

import numpy as np
from distributed import get_worker

from sparserec_np.data import Interactions
from sparserec_np.data.splitting import hold_out_of_shard
from sparserec_np.distributed.communicator import DaskCommunicator
from sparserec_np.distributed.sharding import ShardedInteractions, known_of, read_together
from sparserec_np.modelfile.arrays import Neighbours
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.divergence import DivergedError
from sparserec_np.training.initialization import initialize
from sparserec_np.training.kernels.arrays import Embeddings, ItemParameters
from sparserec_np.training.neighbours import fit_neighbours
from sparserec_np.training.parameters import Parameters, empty_embeddings
from sparserec_np.training.trainer import EpochResult, Trainer
from sparserec_np.training.validation import Validator, of_all_workers
from sparserec_np.utils.communicator import communicating
from sparserec_np.utils.parallel import thread_count

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

    def read(self, paths: list[str], options: dict[str, Any]) -> ShardedInteractions:
        """Read files."""
        return self._keep("whole", read_together(paths, options))

    def take(self, interactions: Interactions) -> ShardedInteractions:
        """Copy interactions of consecutive users, which came in a message."""
        own = replace(
            interactions,
            indptr=np.array(interactions.indptr),
            items=np.array(interactions.items),
            times=None if interactions.times is None else np.array(interactions.times),
        )
        return self._keep("whole", own)

    def hold_out(self, fraction: float, seed: int) -> list[ShardedInteractions]:
        """Hold out a part of each user's interactions."""
        whole = self._data["whole"]
        parts = hold_out_of_shard(
            whole,
            fraction=fraction,
            seed=seed,
            latest=None,
            users_before=self._comm.exclusive_scan(whole.n_users),
            interactions_before=self._comm.exclusive_scan(whole.nnz),
        )
        return [self._keep(*named) for named in zip(("learned", "held"), parts, strict=True)]

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
        """Copy parameters, which came in a message and so must not be written to."""
        self._trainer = None
        own = empty_embeddings(self._data["whole"].n_users)
        if users is not None:
            own = Embeddings(*map(np.array, users))
        rows = Embeddings(*map(np.array, items.rows))
        self._parameters = Parameters(ItemParameters(rows, *map(np.array, items[1:])), own, dim)

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

    def validate(self, method: str, *neighbours: Neighbours) -> Any:
        """Call a method of the validator for the parameters, and perhaps neighbours."""
        return getattr(self._validator, method)(self._parameters, *neighbours)

    def fit_neighbours(self, name: str, config: Config, most: int) -> Neighbours | None:
        """Fit neighbours on the interactions of all workers; worker 0 returns them."""
        everybody = of_all_workers(self._data[name])
        return fit_neighbours(everybody, config, most) if self._comm.rank == 0 else None

    def _part(self) -> Part:
        parameters = self._parameters.copy()  # a client in this process would see them change
        rows = parameters.users if parameters.users.values.size else None
        return (parameters.items if self._comm.rank == 0 else None), rows

    def _keep(self, name: str, own: Interactions) -> ShardedInteractions:
        self._data[name] = own
        return known_of(name, own)
