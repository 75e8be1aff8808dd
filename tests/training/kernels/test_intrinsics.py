"""Instructions that Numba has no name for: steps of rows against NumPy, tasks, barriers."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from sparserec_np.training.kernels.arrays import WIDTH
from sparserec_np.training.kernels.intrinsics import barrier, claim, step_row, task_at
from sparserec_np.utils.parallel import run_parallel, thread_count

THREADS = 3


@njit
def step(values, squares, first, last, limit, gradient, start, rate, reg):
    first, last, limit = np.uint64(first), np.uint64(last), np.uint64(limit)
    step_row(values, squares, first, last, limit, gradient, np.uint64(start), rate, reg)


@pytest.mark.parametrize("spare", [0, 1, WIDTH])
@pytest.mark.parametrize("length", [0, 1, 7, WIDTH, WIDTH + 1, 2 * WIDTH, 3 * WIDTH + 5])
def test_a_row_is_stepped_to_the_bit_and_no_other(length, spare):
    rng = np.random.default_rng(length)
    first, start, room = 5, 3, 6 * WIDTH
    values = rng.normal(size=first + room).astype(np.float32)
    values[first + length] = -0.0
    squares = rng.uniform(0.01, 2, first + room).astype(np.float32)
    gradient = rng.normal(size=start + room).astype(np.float32)
    rate, reg = np.float32(0.1), np.float32(0.01)
    last = first + length
    row = slice(first, last)
    g = gradient[start : start + length] + reg * values[row]
    expected_squares, expected = squares.copy(), values.copy()
    expected_squares[row] += g * g
    expected[row] -= rate * g / np.sqrt(expected_squares[row])
    step(values, squares, first, last, last + spare, gradient, start, rate, reg)
    assert values.tobytes() == expected.tobytes()
    assert squares.tobytes() == expected_squares.tobytes()


def test_no_number_of_a_row_is_touched_beyond_its_limit():
    values = np.ones(24, np.float32)
    squares = np.where(np.arange(24) < 20, 1, np.nan).astype(np.float32)
    gradient = np.full(20, np.inf, np.float32)  # what is no gradient of the row changes nothing
    gradient[2:5] = 1
    step(values, squares, 12, 15, 20, gradient, 2, np.float32(1), np.float32(0))
    assert (np.delete(values, [12, 13, 14]) == 1).all()
    assert (squares[12:15] == 2).all()
    assert (np.delete(squares[:20], [12, 13, 14]) == 1).all()


def test_a_row_may_end_where_its_arrays_do():
    values, squares = np.ones(20, np.float32), np.ones(20, np.float32)
    step(values, squares, 17, 20, 20, np.ones(3, np.float32), 0, np.float32(1), np.float32(0))
    assert (values[:17] == 1).all()
    assert (squares[17:] == 2).all()


@njit(nogil=True)
def meet(seat, n_seats, rounds, arrivals, written, seen):
    """Write the number of the round, meet the others, and sum what all have written."""
    expected = 0
    for turn in range(1, rounds + 1):
        written[seat] = turn
        expected += n_seats
        barrier(arrivals, expected)
        seen[seat, turn - 1] = written.sum()
        expected += n_seats
        barrier(arrivals, expected)


def test_threads_meet_at_a_barrier_many_times(three_cores):
    rounds = 20_000
    arrivals = np.zeros(1, np.int64)
    written, seen = np.zeros(THREADS, np.int64), np.zeros((THREADS, rounds), np.int64)
    with thread_count(THREADS):
        run_parallel(meet, rounds, arrivals, written, seen)
    assert arrivals[0] == 2 * rounds * THREADS
    assert (seen == THREADS * np.arange(1, rounds + 1)).all()  # of this round, from every thread


@njit(nogil=True)
def share_out(seat, n_seats, taken, done):
    """Claim tasks; count each time that one is done, by the thread that claimed it."""
    for turn in range(taken.size):
        task = task_at(turn, seat, n_seats, taken.size)
        if claim(taken, task):
            done[seat, task] += 1


def test_each_task_is_claimed_by_one_thread(three_cores):
    for n_tasks in (1, 2, 50_000):
        taken, done = np.zeros(n_tasks, np.int64), np.zeros((THREADS, n_tasks), np.int64)
        with thread_count(THREADS):
            run_parallel(share_out, taken, done)
        assert (taken == 1).all()
        assert (done.sum(axis=0) == 1).all()


@pytest.mark.parametrize("n_tasks", [1, 5, 16])
def test_each_thread_looks_at_every_task_and_begins_elsewhere(n_tasks):
    looks = [[task_at(turn, seat, 3, n_tasks) for turn in range(n_tasks)] for seat in range(3)]
    assert all(sorted(look) == list(range(n_tasks)) for look in looks)
    assert [look[0] for look in looks] == [0, n_tasks // 3, 2 * n_tasks // 3]
