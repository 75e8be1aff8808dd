"""Loggers: silent unless the program sets up :mod:`logging`.

The light runtime has nothing to say and does without: to import :mod:`logging` takes as long as all
of its own modules, and more memory.
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
