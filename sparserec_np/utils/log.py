"""Loggers: silent unless the program sets up :mod:`logging`.

The light runtime logs nothing and does not import this module: to import :mod:`logging` takes as
long as all modules of the runtime, and more memory.
"""

from __future__ import annotations

import logging

logging.getLogger("sparserec_np").addHandler(logging.NullHandler())


def logger(module: str) -> logging.Logger:
    """Return the logger of a module of this package.

    Args:
        module: Its ``__name__``.
    """
    return logging.getLogger(module)
