"""Sharded interactions: each worker holds those of its users, read from files or sent to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import (
    Interactions,
    NothingLeftError,
    ReadReport,
    assemble,
    list_files,
    read,
)
from sparserec_np.data.files.paths import check_seen
from sparserec_np.data.selection import drop_rare_of_shard
from sparserec_np.errors import InputError
from sparserec_np.utils.communicator import communicator
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import Ids, IntIds, concatenated, from_arrays


class Files:
    """Files that the workers read, some each.

    Args:
        paths: One or many paths, globs or URLs that mean the same files here and on every worker.
        options: Of :func:`sparserec_np.read`.

    Raises:
        InputError: A file is not there, or can be read only once as standard input.
        MissingExtraError: A package for the store behind a URL is not installed.
    """

    def __init__(self, paths: Any, **options: Any) -> None:
        listed = list_files(paths)
        self.paths = [path for path, _ in listed]
        self.options = options
        self._bytes = [size for _, size in listed]

    def shares(self, size: int) -> list[list[int]]:
        """Assign the files to workers, the largest first, to the one with least; return numbers."""
        shares: list[list[int]] = [[] for _ in range(size)]
        loads = [0] * size
        for file in sorted(range(len(self.paths)), key=lambda file: -self._bytes[file]):
            least = loads.index(min(loads))
            shares[least].append(file)
            loads[least] += self._bytes[file]
        return [sorted(share) for share in shares]


@dataclass(frozen=True, eq=False)
class ShardedInteractions(Interactions):
    """Interactions that workers hold, without the items: what the client knows of them."""

    name: str = "whole"
    """Name of the interactions on the workers."""
    degrees: NDArray[np.int64] | None = None
    """Users of each item, int64[n_items]."""
    timed: bool = False
    """Whether the workers know when each interaction happened."""
    prints: int = 0
    """Value of :meth:`fingerprint`."""

    @property
    def has_times(self) -> bool:
        """Tell whether each interaction has a time."""
        return self.timed

    @property
    def nnz(self) -> int:
        """Number of distinct interactions."""
        return int(self.indptr[-1])

    def item_degrees(self) -> NDArray[np.int64]:
        """Count the users of each item; int64[n_items]."""
        assert self.degrees is not None  # always given
        return self.degrees

    def fingerprint(self, users_before: int = 0) -> int:
        """Sum up the interactions; see :meth:`Interactions.fingerprint`."""
        return self.prints


def known_of(name: str, own: Interactions) -> ShardedInteractions:
    """Return what the client is to know of the interactions of this worker.

    The ids and degrees of the items are reported by worker 0 alone, those of the users once.
    """
    comm = communicator()
    before, degrees = comm.exclusive_scan(own.n_users), comm.all_reduce(own.item_degrees())
    return ShardedInteractions(
        own.indptr,
        own.items[:0],
        own.user_ids if name == "whole" else own.user_ids.slice(0, 0),
        own.item_ids if comm.rank == 0 else own.item_ids.slice(0, 0),
        report=own.report,
        name=name,
        degrees=degrees if comm.rank == 0 else None,
        timed=own.has_times,
        prints=own.fingerprint(before),
    )


def joined(
    parts: list[ShardedInteractions], whole: Interactions | None = None
) -> ShardedInteractions:
    """Join what the workers report of their interactions, by rank, but for the reports of files.

    The user ids are those of ``whole``, if that is given.
    """
    return replace(
        parts[0],
        indptr=indptr_from_counts(np.concatenate([part.user_degrees() for part in parts])),
        user_ids=whole.user_ids if whole else concatenated([part.user_ids for part in parts]),
        prints=sum(part.prints for part in parts) & ((1 << 64) - 1),
        report=None,
    )


def cuts(user_degrees: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Cut the users into consecutive ranges of about as many interactions; int64[size + 1]."""
    ends = np.cumsum(user_degrees)
    total = int(ends[-1]) if ends.size else 0
    inner = np.searchsorted(ends, [total * r // size for r in range(1, size)])
    return np.concatenate(([0], inner, [ends.size])).astype(np.int64)


def read_together(paths: list[str], options: dict[str, Any]) -> Interactions:
    """Read the files of this worker, and exchange rows so that each user is on one worker.

    Peak memory: that of :func:`sparserec_np.read` for the files read here; then the ids of all
    users and items, and 16 bytes an interaction of the files and of the users here, 32 with times.

    Args:
        paths: The files of this worker, perhaps none.
        options: Of :func:`sparserec_np.read`.

    Returns:
        The interactions of the users of this worker, with a report of its files.

    Raises:
        InputError: A file is not found here or cannot be used, or no file has a usable row.
    """
    comm = communicator()
    rules = "min_user_interactions", "min_item_interactions"
    least_items_of_user, least_users_of_item = (options.get(rule, 1) for rule in rules)
    check_seen(paths)
    none = IntIds(np.zeros(0, np.int64))
    here = Interactions(np.zeros(1, np.int64), np.zeros(0, np.int32), none, none)
    nothing = None
    if paths:
        try:
            here = read(paths, **{**options, **dict.fromkeys(rules, 1)})
        except NothingLeftError as error:  # other files may have usable rows
            nothing = error
            here = replace(here, report=error.report)
    if comm.all_reduce_count(here.nnz) == 0:
        raise nothing or InputError("no file has a usable row")
    report = here.report
    user_ids, item_ids = _of_all(here.user_ids), _of_all(here.item_ids)
    users = here.user_ids.positions_in(user_ids)[here.user_of_entry()]
    items = here.item_ids.positions_in(item_ids)[here.items]
    timed = comm.all_reduce_count(int(here.times is not None or not here.nnz)) == comm.world_size
    times = here.times if timed else None
    bounds = cuts(comm.all_reduce(np.bincount(users, minlength=len(user_ids))), comm.world_size)
    del here
    pairs = np.stack([users, items], axis=1).astype(np.int32)
    owners = np.searchsorted(bounds, users, side="right") - 1
    # A range may be empty, so that equal bounds follow each other: its successor owns the users.
    ranks = range(comm.world_size)
    came = comm.all_to_all({r: pairs[owners == r].tobytes() for r in ranks})
    mine = np.concatenate([np.frombuffer(came[r], np.int32) for r in sorted(came)]).reshape(-1, 2)
    if timed:
        if times is None:  # of nothing
            times = np.zeros(0)
        came = comm.all_to_all({r: times[owners == r].tobytes() for r in ranks})
        times = np.concatenate([np.frombuffer(came[r], np.float64) for r in sorted(came)])
    del users, items, owners, pairs, came
    first, last = bounds[comm.rank], bounds[comm.rank + 1]
    own_ids = user_ids.slice(first, last)
    own, repeated = assemble(mine[:, 0] - first, mine[:, 1], own_ids, item_ids, times)
    if report is not None:
        report = replace(report, duplicates=report.duplicates + repeated)
    own = replace(own, report=report or ReadReport((), (), 0, duplicates=repeated))
    return drop_rare_of_shard(own, least_items_of_user, least_users_of_item, comm.all_reduce)


def _of_all(ids: Ids) -> Ids:
    """Return the vocabulary of all workers' ids; strings, if one of them has strings."""
    comm = communicator()
    if comm.all_reduce_count(int(ids.kind == "str")):
        ids = ids.as_strings()
    whole = ids
    for arrays in zip(*map(comm.broadcast_in_turn, ids.arrays), strict=True):
        whole = whole.union(from_arrays(ids.kind, arrays))
    return whole
