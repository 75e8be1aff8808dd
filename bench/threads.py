"""Training speed with one thread and with two, and the worth of the second core meanwhile.

    python bench/threads.py [--data gowalla movielens-1m] [--rounds 120]

Two virtual cores may be two cores or the two hardware threads of one, and this changes within
seconds; a second thread on a busy core speeds up any program by a half. So in each round an epoch
with one thread and one with two take turns, each after a warm-up. Before, between and after them,
arithmetic in registers is timed with one thread and with two, which tells two cores (2.0 times as
fast) from one (1.5 times). All rounds are shown; the bar is for two cores, so its verdict is that
of their rounds alone. All epochs belong to two long trainings, and all of them explore.
"""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

import common
import numpy as np
from numba import njit
from peers import triples_model

from sparserec_np.training.state import EpochMetrics
from sparserec_np.utils.parallel import run_parallel, thread_count

THREADS = (1, 2)
TWO_CORES = 1.75  # least speed-up of arithmetic by a second thread that shows a second core
BAR = 1.7  # least speed-up of training to reach there

_PARTS, _CHAINS, _ROUNDS, _REPEATS = 64, 32, 4_000, 5


@njit(nogil=True, cache=True)
def _calculate(seat, n_seats, sums):
    for part in range(seat, sums.size, n_seats):
        x = np.arange(_CHAINS) + 0.5
        for _ in range(_ROUNDS):
            for chain in range(_CHAINS):
                x[chain] = 0.999 * x[chain] + 0.5
        sums[part] = x.sum()


def _seconds(threads: int) -> float:
    """Time arithmetic that touches no memory."""
    seconds = []
    with thread_count(threads):
        run_parallel(_calculate, np.zeros(threads))  # starts the threads
        for _ in range(_REPEATS):
            began = time.perf_counter()
            run_parallel(_calculate, np.zeros(_PARTS))
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def _tell_cores(pipe: Connection) -> None:
    """Send, whenever asked, the speed-up of arithmetic by a second thread."""
    while True:
        one, two = map(_seconds, THREADS)
        pipe.send(one / two)
        pipe.recv()


def _train(pipe: Connection, data: str, threads: int) -> None:
    """Train for two epochs more whenever asked, and send the triples a second of the latter."""

    def take_turns(metrics: EpochMetrics) -> None:
        if metrics.epoch % 2 == 0:  # the one before has warmed the caches
            pipe.send(metrics.triples_per_second)
            pipe.recv()

    known, _ = common.load_for_test(data)
    triples_model(threads, epochs=10_000).fit(known, on_epoch=take_turns)


class _Worker:
    """A process that does its work whenever it is asked to."""

    def __init__(self, work, *args) -> None:
        context = get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=work, args=(there, *args), daemon=True)
        self._process.start()
        there.close()  # so that the end of a process that failed is noticed
        self._pipe.recv()  # the first time compiles
        self()

    def __call__(self) -> float:
        self._pipe.send(None)
        answer: float = self._pipe.recv()
        return answer

    def end(self) -> None:
        self._process.kill()


def measure(data: str, rounds: int) -> common.Result:
    """Let the epochs take turns.

    Returns:
        For each number of threads, triples a second in each round; and, under "cores", the speed-up
        of arithmetic by a second thread before, between and after the epochs of each round.
    """
    cores = _Worker(_tell_cores)
    workers = {n: _Worker(_train, data, n) for n in THREADS}
    found: common.Result = {**{str(n): [] for n in THREADS}, "cores": []}
    for turn in range(rounds):
        worth = [cores()]
        for n in THREADS if turn % 2 == 0 else reversed(THREADS):
            found[str(n)].append(workers[n]())
            worth.append(cores())
        found["cores"].append(worth)
    for worker in (cores, *workers.values()):
        worker.end()
    return found


def tables(found: common.Result) -> str:
    """Format medians over all rounds, over those on two cores and on one; and the verdict."""
    one, two, cores = (np.array(found[name]) for name in (*map(str, THREADS), "cores"))
    on_two = cores.min(axis=1) >= TWO_CORES
    chosen = {
        "all": np.ones(one.size, bool),
        f"two cores: arithmetic always {TWO_CORES} or more": on_two,
        f"less: arithmetic always below {TWO_CORES}": cores.max(axis=1) < TWO_CORES,
    }
    rows = [
        [
            name,
            int(which.sum()),
            f"{np.median(cores[which]):.2f}",
            f"{np.median(one[which]) / 1e6:.2f}",
            f"{np.median(two[which]) / 1e6:.2f}",
            f"{np.median(two[which] / one[which]):.2f}",
        ]
        for name, which in chosen.items()
        if which.any()
    ]
    heads = ["rounds", "number", "arithmetic, 2 / 1", "1 thread, M triples/s", "2 threads", "2 / 1"]
    ratio = float(np.median((two / one)[on_two])) if on_two.any() else 0.0
    verdict = [
        "2 threads against 1, on two cores",
        f"{ratio:.2f}" if on_two.any() else "not seen",
        f"at least {BAR}",
        common.verdict(ratio >= BAR),
    ]
    return (
        f"{common.table(rows, heads)}\n\n"
        f"{common.table([verdict], ['triples/s', 'ratio', 'bar', ''])}"
    )


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla", "movielens-1m"))
    parser.add_argument("--rounds", type=int, default=120)
    args = parser.parse_args()
    results = common.Results(args.results, "threads")
    texts = []
    for data in [common.GENERATED] if args.quick else args.data:
        rounds = 3 if args.quick else args.rounds
        found = results.measure(
            {"data": data, "rounds": rounds}, lambda data=data, rounds=rounds: measure(data, rounds)
        )
        texts.append(f"**{data}**\n\n{tables(found)}")
    common.finish("threads", "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
