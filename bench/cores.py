"""What the machine's cores are worth at the moment: arithmetic in registers, by 1 thread and by 2.

    python bench/cores.py

Two virtual cores may be one that is shared, with each other or with neighbours: then no program is
twice as fast with two threads, and the figure says how far from it.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import common
import numpy as np
from numba import njit, prange, set_num_threads

_PARTS, _CHAINS, _ROUNDS = 64, 32, 40_000


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


def arithmetic(threads: int) -> common.Result:
    """Measure rounds a second."""
    set_num_threads(threads)
    _work(1)
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        _work(_ROUNDS)
        seconds.append(time.perf_counter() - began)
    return {"rounds_per_second": _ROUNDS / median(seconds)}


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    one, two = (common.fresh(arithmetic, threads=n)["rounds_per_second"] for n in (1, 2))
    print(f"2 threads against 1: {two / one:.2f}")


if __name__ == "__main__":
    main()
