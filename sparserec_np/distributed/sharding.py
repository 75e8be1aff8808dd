"""Sharded interactions: each worker holds those of its users, read from files or sent to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparserec_np.data import (
    EXAMPLES,
    Interactions,
    NothingLeftError,
    ReadReport,
    assemble,
    list_files,
    read,
)
from sparserec_np.data.files.remote import is_url
from sparserec_np.data.selection import drop_rare_of_shard
from sparserec_np.errors import InputError, SparseRecError
from sparserec_np.utils.communicator import communicator
from sparserec_np.vocabulary import Ids, IntIds, from_arrays


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


def check_seen(paths: list[str]) -> None:
    """Check that files are there, on the machine where this runs.

    Raises:
        InputError: One is not, or what reads it is not installed.
    """
    for path in paths:
        if is_url(path):
            try:
                list_files(path)
            except SparseRecError as error:
                raise InputError(f"{error} (seen from {gethostname()})") from error
        elif not Path(path).exists():
            raise InputError(
                f"{path}: is not to be found on {gethostname()}: put the files where every worker "
                "finds them under the same name"
            )


@dataclass(frozen=True, eq=False)
class ShardedInteractions(Interactions):
    """Interactions that workers hold: what the client knows of them.

    ``indptr`` and the ids are those of the whole; ``items`` is empty.
    """

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


def cuts(user_degrees: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Cut the users into consecutive ranges of about as many interactions; int64[size + 1]."""
    ends = np.cumsum(user_degrees)
    total = int(ends[-1]) if ends.size else 0
    inner = np.searchsorted(ends, [total * r // size for r in range(1, size)])
    return np.concatenate(([0], inner, [ends.size])).astype(np.int64)


def part_of(interactions: Interactions, first: int, last: int) -> Interactions:
    """Cut out a range of users."""
    indptr = interactions.indptr[first : last + 1]
    return Interactions(
        indptr - indptr[0],
        interactions.items[indptr[0] : indptr[-1]],
        interactions.user_ids.slice(first, last),
        interactions.item_ids,
        None if interactions.times is None else interactions.times[indptr[0] : indptr[-1]],
    )


def read_together(
    paths: list[str], options: dict[str, Any]
) -> tuple[Interactions, ReadReport | None]:
    """Read the files of this worker, and exchange rows so that each user is on one worker.

    Peak memory: that of :func:`sparserec_np.read` for the files read here; then the ids of all
    users and items, and 16 bytes an interaction of the files and of the users here, 32 with times.

    Args:
        paths: The files of this worker, perhaps none.
        options: Of :func:`sparserec_np.read`.

    Returns:
        The interactions of the users of this worker, and a report of its files.

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
    own = drop_rare_of_shard(own, least_items_of_user, least_users_of_item, comm.all_reduce)
    return replace(own, report=None), own.report


def _of_all(ids: Ids) -> Ids:
    """Return the vocabulary of all workers' ids; strings, if one of them has strings."""
    comm = communicator()
    if comm.all_reduce_count(int(ids.kind == "str")):
        ids = ids.as_strings()
    whole = ids
    for arrays in zip(*map(comm.broadcast_in_turn, ids.arrays), strict=True):
        whole = whole.union(from_arrays(ids.kind, arrays))
    return whole


def merged_report(reports: list[ReadReport], order: list[int]) -> ReadReport:
    """Add up the reports of all workers.

    Args:
        reports: By rank.
        order: Numbers of the files that the reports name, in their order.
    """
    files = [file for report in reports for file in report.files]
    columns = [column for report in reports for column in report.columns]
    ranked = sorted(range(len(files)), key=lambda place: order[place])
    return ReadReport(
        files=tuple(files[place] for place in ranked),
        columns=tuple(columns[place] for place in ranked),
        rows=sum(report.rows for report in reports),
        bad_rows=sum(report.bad_rows for report in reports),
        bad_examples=tuple(row for report in reports for row in report.bad_examples)[:EXAMPLES],
        below_min_rating=sum(report.below_min_rating for report in reports),
        duplicates=sum(report.duplicates for report in reports),
        dropped_users=sum(report.dropped_users for report in reports),
        dropped_items=reports[0].dropped_items,
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
    )
