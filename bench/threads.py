"""Training with one thread and with two, where the second core is there and where it is not.

    python bench/threads.py [--data gowalla] [--rounds 60]

Two virtual cores may be one that is shared, with each other or with neighbours: then no program is
twice as fast with two threads. So before and after each epoch arithmetic in registers alone is
timed with one thread and with two. The epochs take turns, in processes that live as long as this;
all of them explore.
"""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

import common
import numpy as np
from numba import njit, prange, set_num_threads
from peers import triples_model

from sparserec_np.records import EpochRecord

THREADS = (1, 2)
WHOLE = 1.75  # times that arithmetic is faster with two threads where there are two cores

_PARTS, _CHAINS, _ROUNDS, _SHORT = 64, 32, 40_000, 4_000


@njit(parallel=True, cache=True)
def _work(rounds):
    sums = np.zeros(_PARTS)
    for part in prange(_PARTS):
        x = np.arange(_CHAINS) + 0.5
        for _ in range(rounds):
            for chain in range(_CHAINS):
                x[chain] = 0.999 * x[chain] + 0.5
        sums[part] = x.sum()
    return sums


def arithmetic(threads: int, rounds: int = _ROUNDS, repeats: int = 30) -> common.Result:
    """Measure rounds a second."""
    set_num_threads(threads)
    _work(1)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        _work(rounds)
        seconds.append(time.perf_counter() - began)
    return {"rounds_per_second": rounds / median(seconds)}


def _tell_cores(pipe: Connection) -> None:
    """Whenever asked, say how many times as fast arithmetic is with two threads."""
    while True:
        one, two = (arithmetic(n, _SHORT, 5)["rounds_per_second"] for n in THREADS)
        pipe.send(two / one)
        pipe.recv()


def _train(pipe: Connection, data: str, threads: int) -> None:
    """Do one epoch more whenever asked, and say how many triples a second it made."""

    def take_turns(record: EpochRecord) -> None:
        pipe.send(record.triples_per_second)
        pipe.recv()

    known, _ = common.load_for_test(data)
    triples_model(threads, epochs=10_000).fit(known, on_epoch=take_turns)


class _Worker:
    """A process that does one thing whenever it is asked."""

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
        For each number of threads, triples a second of the epochs, and the smaller and the larger
        of the figures for arithmetic before and after each.
    """
    cores = _Worker(_tell_cores)
    workers = {n: _Worker(_train, data, n) for n in THREADS}
    found: common.Result = {str(n): {"triples": [], "low": [], "high": []} for n in THREADS}
    for _ in range(rounds):
        for n, train in workers.items():
            before, triples, after = cores(), train(), cores()
            found[str(n)]["triples"].append(triples)
            found[str(n)]["low"].append(min(before, after))
            found[str(n)]["high"].append(max(before, after))
    for worker in (cores, *workers.values()):
        worker.end()
    return found


def table(found: common.Result) -> str:
    """Medians of all epochs, and of those with two cores, and with less."""
    arrays = {n: {name: np.array(found[str(n)][name]) for name in found[str(n)]} for n in THREADS}
    chosen = {
        "all epochs": lambda one: one["low"] > 0,
        f"arithmetic at least {WHOLE} before and after": lambda one: one["low"] >= WHOLE,
        f"arithmetic below {WHOLE} before and after": lambda one: one["high"] < WHOLE,
    }
    rows = []
    for name, which in chosen.items():
        triples = {n: one["triples"][which(one)] for n, one in arrays.items()}
        if min(part.size for part in triples.values()) == 0:
            continue
        one, two = (float(np.median(triples[n])) for n in THREADS)
        worth = np.median(
            np.concatenate([a[k][which(a)] for a in arrays.values() for k in ("low", "high")])
        )
        sizes = ", ".join(str(part.size) for part in triples.values())
        rows.append(
            [
                name,
                sizes,
                f"{worth:.2f}",
                f"{one / 1e6:.2f}",
                f"{two / 1e6:.2f}",
                f"{two / one:.2f}",
            ]
        )
    heads = [
        "",
        "epochs, 1 and 2 threads",
        "arithmetic, 2 against 1",
        "1 thread, M/s",
        "2 threads, M/s",
        "2 against 1",
    ]
    return common.table(rows, heads)


def main() -> None:
    parser = common.parser(__doc__, default=("gowalla",))
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    results = common.Results(args.results, "threads")
    texts = []
    for data in [common.GENERATED] if args.quick else args.data:
        rounds = 3 if args.quick else args.rounds
        found = results.measure(
            {"data": data, "rounds": rounds}, lambda data=data, rounds=rounds: measure(data, rounds)
        )
        texts.append(f"**{data}**\n\n{table(found)}")
    common.finish("threads", "\n\n".join(texts), args.write_readme)


if __name__ == "__main__":
    main()
