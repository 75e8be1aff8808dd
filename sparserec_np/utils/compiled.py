"""Decorators of compiled functions.

Compilation is most of a first fit's time, and Numba compiles more than the functions themselves:
for each one a wrapper that Python calls and one that C calls. No C code calls ours, and most are
called by compiled code alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import njit

_njit = partial(njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)

kernel: Any = partial(_njit, cache=True)
"""Compile a function that Python calls; what it calls is cached with it."""

helper: Any = partial(_njit, no_cpython_wrapper=True)
"""Compile a function that compiled code calls: from Python the call would crash."""

inline: Any = partial(_njit, inline="always")
"""Compile a function as a part of those that call it."""
