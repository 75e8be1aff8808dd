"""The parts of a training on several workers, over real connections, against one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster, Worker
from reference import embeddings, interactions

from sparserec_np import InputError
from sparserec_np.data import drop_rare, read
from sparserec_np.data.selection import drop_rare_of_shard, slice_users
from sparserec_np.data.splitting import hold_out, hold_out_of_shard
from sparserec_np.distributed.communicator import ConnectionLostError, DaskCommunicator
from sparserec_np.distributed.sharding import cuts, read_together
from sparserec_np.training import nmf
from sparserec_np.training.budget import Budget
from sparserec_np.training.config import Config
from sparserec_np.training.initialization import initialize, starting_rows
from sparserec_np.training.kernels.arrays import Embeddings, GradientAccumulator
from sparserec_np.training.kernels.selection import threshold
from sparserec_np.training.kernels.sparse_coding import Factor
from sparserec_np.training.prune_and_grow import explore
from sparserec_np.training.trainer import Trainer
from sparserec_np.utils.communicator import Communicator, communicating, communicator


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[list[Worker]]:
    """Four Dask workers in this process, which reach each other over TCP."""
    with LocalCluster(
        n_workers=4, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        together.workers = list(cluster.workers.values())
        yield together.workers


class Together:
    """Runs a function in several workers, threads of this process; returns the results by rank."""

    workers: list[Worker]

    def __call__(self, size: int, work: Callable[[Communicator], Any]) -> list[Any]:
        comms = [DaskCommunicator(worker, "tests") for worker in self.workers[:size]]
        addresses = [worker.address for worker in self.workers[:size]]

        def run(rank: int) -> Any:
            try:
                comms[rank].join(rank, addresses)
                with communicating(comms[rank]):
                    return work(comms[rank])
            except BaseException:
                comms[rank].close()
                raise

        with ThreadPoolExecutor(size) as pool:
            try:
                return [done.result() for done in [pool.submit(run, rank) for rank in range(size)]]
            finally:
                for comm in comms:
                    comm.close()


together = Together()


def joined(parts: list[Embeddings]) -> Embeddings:
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    rest = [np.concatenate([part[field] for part in parts]) for field in (1, 2, 3)]
    return Embeddings(np.concatenate(([0], np.cumsum(lengths))), *rest)


def check_same(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def data():
    return interactions.random_interactions(7, n_users=60, n_items=40, mean=6)


@pytest.mark.parametrize("length", [0, 3, 200_000, 20_000_000])
def test_messages_of_any_length_arrive(length):
    def work(comm: Communicator) -> dict[int, bytes]:
        # To the next worker and to itself; no worker sends to the one before it.
        return comm.all_to_all(
            {r: bytes([comm.rank]) * length for r in (comm.rank, (comm.rank + 1) % comm.world_size)}
        )

    for rank, received in enumerate(together(3, work)):
        assert {r: bytes(data) for r, data in received.items()} == {
            r: bytes([r]) * length for r in (rank, (rank - 1) % 3)
        }


def test_sums_and_gathering():
    def work(comm: Communicator) -> Any:
        own = np.arange(2 * comm.rank, dtype=np.int64).reshape(-1, 2)
        return (
            comm.all_gather_concat(own),
            comm.all_reduce(np.array([1, 10]) * comm.rank),
            comm.exclusive_scan(comm.rank + 1),
            [part.shape for part in comm.broadcast_in_turn(own)],
        )

    for rank, (whole, total, before, shapes) in enumerate(together(3, work)):
        assert whole.tolist() == [[0, 1], [0, 1], [2, 3]]
        assert total.tolist() == [3, 30]
        assert before == sum(range(rank + 1))
        assert shapes == [(0, 2), (1, 2), (2, 2)]


def test_an_ordered_reduce_adds_by_rank():
    values = np.float32([1e8, 1.0, -1e8])  # another order gives another sum

    def work(comm: Communicator) -> float:
        total = np.zeros(1, np.float32)
        comm.ordered_reduce(total, lambda part: part.__iadd__(values[comm.rank]))
        return float(total[0])

    in_order = float((values[0] + values[1]) + values[2])
    assert in_order != float((values[0] + values[2]) + values[1])
    assert together(3, work) == [in_order] * 3


def test_all_others_end_when_a_worker_is_gone():
    def work(comm: Communicator) -> str:
        if comm.rank == 1:
            comm.close()
            return "gone"
        with pytest.raises(ConnectionLostError, match="one of 3 workers is gone"):
            while True:
                comm.all_to_all({})
        return "ended"

    assert together(3, work) == ["ended", "gone", "ended"]


def test_a_worker_of_another_training_does_not_join(workers, monkeypatch):
    monkeypatch.setattr("sparserec_np.distributed.communicator._PATIENCE", 0.2)
    addresses = [worker.address for worker in workers[:2]]
    own, stranger = (DaskCommunicator(workers[rank], f"group {rank}") for rank in (0, 1))
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(stranger.join, 1, addresses)
        with pytest.raises(ConnectionLostError):
            own.join(0, addresses)
        joining.result()  # it has connected, and finds out with the first message
    with pytest.raises(ConnectionLostError):
        stranger.all_to_all({0: b"x"})


@pytest.mark.parametrize("largest", [False, True])
def test_a_threshold_among_all_values_and_ties_to_the_lower_ranks(rng, largest):
    values = rng.integers(0, 6, 300).astype(np.float32)
    bits = values.view(np.uint32)
    key, ties = threshold(bits, 120, largest)

    def work(comm: Communicator) -> Any:
        return threshold(np.array_split(bits, 4)[comm.rank], 120, largest)

    found = together(4, work)
    assert {one for one, _ in found} == {key}
    left = ties
    for (_, own), part in zip(found, np.array_split(bits, 4), strict=True):
        assert own == min(left, int((part == key).sum()))
        left -= own
    assert left == 0


def test_user_embeddings_explore_as_a_whole(rng):
    rows = embeddings.random_rows(rng, 40, 9, 5)
    rows.values[:] = np.round(rows.values, 1)  # so that there are ties
    slot = np.full(40, -1, np.int32)
    slot[::3] = np.arange(14)
    sums = np.round(rng.normal(size=(14, 9)), 1).astype(np.float32)
    copy = Embeddings(*map(np.copy, rows))
    expected, moved = explore(copy, GradientAccumulator(slot, sums.copy()), 0.6, 0.01)
    bounds = [0, 11, 11, 40]

    def work(comm: Communicator) -> Any:
        first, last = bounds[comm.rank], bounds[comm.rank + 1]
        some = slice(rows.indptr[first], rows.indptr[last])
        own = Embeddings(
            rows.indptr[first : last + 1] - rows.indptr[first],
            *(array[some].copy() for array in rows[1:]),
        )
        mine = np.isin(np.arange(14), slot[first:last])[:, None]
        accumulator = GradientAccumulator(slot[first:last], np.where(mine, sums, np.float32(0.0)))
        return explore(own, accumulator, 0.6, 0.01)

    found = together(3, work)
    assert moved > 5
    assert {own for _, own in found} == {moved}
    check_same(joined([part for part, _ in found]), expected)


def test_starting_rows_are_those_of_the_whole(rng):
    factor = Factor(
        np.tile(np.arange(4, dtype=np.uint16), (30, 1)),
        np.round(rng.uniform(0.1, 1, (30, 4)), 1).astype(np.float32),
        np.full(30, 4, np.int32),
    )
    factor.values[5], factor.counts[5] = 0, 0
    how = (8, 150, 0.3, 0.01, np.uint64(3))
    expected = starting_rows(Factor(*map(np.copy, factor)), *how)
    bounds = [0, 4, 30]

    def work(comm: Communicator) -> Embeddings:
        some = slice(bounds[comm.rank], bounds[comm.rank + 1])
        return starting_rows(Factor(*(array[some].copy() for array in factor)), *how)

    check_same(joined(together(2, work)), expected)


def test_the_same_interactions_are_held_out(data):
    expected = hold_out(data, fraction=0.3, seed=5)
    bounds = cuts(data.user_degrees(), 3)

    def work(comm: Communicator) -> Any:
        own = slice_users(data, bounds[comm.rank], bounds[comm.rank + 1])
        return hold_out_of_shard(
            own,
            fraction=0.3,
            seed=5,
            users_before=comm.exclusive_scan(own.n_users),
            interactions_before=comm.exclusive_scan(own.nnz),
        )

    found = together(3, work)
    for part, whole in enumerate(expected):
        np.testing.assert_array_equal(np.concatenate([f[part].items for f in found]), whole.items)
        prints = [
            f[part].fingerprint(int(first)) for f, first in zip(found, bounds[:-1], strict=True)
        ]
        assert sum(prints) % (1 << 64) == whole.fingerprint()
    assert expected[0].fingerprint() != expected[1].fingerprint()


@pytest.mark.parametrize("size", [2, 3])
def test_factors_are_those_of_one_worker(data, monkeypatch, size):
    monkeypatch.setattr(nmf, "BLOCK_ITEMS", 7)  # several turns
    how = {"user_width": 3, "item_width": 3, "sweeps": 3}
    expected = nmf.factorize(data, 8, rng=np.random.default_rng(1), **how)
    bounds = cuts(data.user_degrees(), size)

    def work(comm: Communicator) -> tuple[Factor, Factor]:
        own = slice_users(data, bounds[comm.rank], bounds[comm.rank + 1])
        return nmf.factorize(own, 8, rng=np.random.default_rng(1), **how)

    found = together(size, work)
    users = Factor(*map(np.concatenate, zip(*(users for users, _ in found), strict=True)))
    for factor, whole in ((users, expected[0]), *((items, expected[1]) for _, items in found)):
        np.testing.assert_array_equal(factor.counts, whole.counts)
        np.testing.assert_array_equal(factor.values, whole.values)
        used = factor.values > 0
        np.testing.assert_array_equal(factor.dims[used], whole.dims[used])


@pytest.mark.parametrize("users", ["history", "embedding"])
@pytest.mark.parametrize("candidates", [1, 4])
def test_epochs_are_those_of_one_worker(users, candidates):
    """Several batches, with exploration: the same parameters to the bit."""
    data = interactions.random_interactions(13, n_users=300, n_items=80, mean=20)
    config = Config(users=users, dim=16, candidates=candidates, pool=64, sweeps=1, epochs=4)
    bounds = cuts(data.user_degrees(), 3)

    def work(comm: Communicator) -> Any:
        own = data
        if comm.world_size > 1:
            own = slice_users(data, bounds[comm.rank], bounds[comm.rank + 1])
        budget = Budget(320, 0 if users == "history" else 1200)
        trainer = Trainer(initialize(own, config, budget), own, config)
        return [trainer.epoch(epoch, 1.0) for epoch in range(2)], trainer.parameters

    results, expected = work(communicator())
    assert all(result.moved > 10 for result in results)
    found = together(3, work)
    for own_results, own in found:
        for result, whole in zip(own_results, results, strict=True):
            assert (result.triples, result.moved) == (whole.triples, whole.moved)
            assert result.loss == pytest.approx(whole.loss, rel=1e-12)
        check_same(own.items.rows, expected.items.rows)
        check_same(own.items[1:], expected.items[1:])
    check_same(joined([own.users for _, own in found]), expected.users)


def test_rare_users_and_items_are_dropped_as_on_one_machine(data):
    expected = drop_rare(data, 3, 3)
    bounds = cuts(data.user_degrees(), 3)

    def work(comm: Communicator) -> Any:
        own = slice_users(data, bounds[comm.rank], bounds[comm.rank + 1])
        return drop_rare_of_shard(own, 3, 3, comm.all_reduce)

    found = together(3, work)
    assert expected.n_users < data.n_users
    np.testing.assert_array_equal(np.concatenate([f.items for f in found]), expected.items)
    assert all(f.item_ids.values.tolist() == expected.item_ids.values.tolist() for f in found)


@pytest.mark.parametrize("users", ["{}", "user {}"])
def test_files_read_by_several_are_those_read_by_one(tmp_path: Path, users: str):
    pairs = [(users.format(n % 13), n % 7) for n in range(60)]
    files = []
    for n in range(3):
        # In the last file an item has a name, which makes text of all the others.
        lines = [f"{user},{item}" for user, item in pairs[n::2]] + (["x,seven"] if n == 2 else [])
        files.append(tmp_path / f"{n}.csv")
        files[-1].write_text("\n".join(["user,item", *lines]))
    expected = read(files, min_user_interactions=2)

    def work(comm: Communicator) -> Any:
        paths = [str(path) for path in files[comm.rank :: 4]]
        return read_together(paths, {"min_user_interactions": 2})

    found = together(4, work)  # one of them has no file
    np.testing.assert_array_equal(np.concatenate([own.items for own in found]), expected.items)
    ids = [id_ for own in found for id_ in own.user_ids.take(np.arange(own.n_users))]
    assert ids == expected.user_ids.take(np.arange(expected.n_users))
    assert found[0].item_ids.take(np.arange(expected.n_items)) == expected.item_ids.take(
        np.arange(expected.n_items)
    )
    assert sum(own.report.duplicates for own in found) == expected.report.duplicates
    assert sum(own.report.dropped_users for own in found) == expected.report.dropped_users > 0


def test_files_with_nothing_and_files_that_are_not_there(tmp_path):
    for name, rating in (("low", 1), ("high", 5)):
        (tmp_path / f"{name}.csv").write_text(f"user,item,rating\n1,1,{rating}\n1,2,{rating}\n")

    def work(least: float, *names: str) -> Callable[[Communicator], Any]:
        paths = [[str(tmp_path / name)] for name in names]
        return lambda comm: read_together(paths[comm.rank], {"min_rating": least})

    found = together(2, work(3, "low.csv", "high.csv"))
    assert sum(own.nnz for own in found) == 2
    assert [own.report.below_min_rating for own in found] == [2, 0]
    with pytest.raises(InputError, match="all 2 ratings are below 6"):
        together(2, work(6, "low.csv", "high.csv"))
    with pytest.raises((InputError, ConnectionLostError)) as caught:
        together(2, work(3, "none.csv", "high.csv"))
    assert "none.csv: is not to be found on" in str(caught.value)


def test_a_single_process_has_everything():
    counts = np.array([1, 2])
    comm = communicator()
    assert comm.all_reduce(counts) is counts
    assert comm.all_gather_concat(counts) is counts
    assert comm.exclusive_scan(7) == 0
    assert comm.all_reduce_count(7) == 7
