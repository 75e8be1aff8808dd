"""The number of threads of compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba

from sparserec_np.errors import InputError
from sparserec_np.utils.cores import granted


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """Let compiled code use so many threads, and put the number back afterwards.

    Args:
        threads: Number of threads; None for all cores, or as many as the container grants time of
            (:func:`sparserec_np.utils.cores.granted`). More than there are cores are not used.

    Raises:
        InputError: ``threads`` is below 1.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads or granted() or before, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)
