"""Interactions: files, frames and matrices become sorted rows with id vocabularies.

The names below are the interface; the modules beginning with an underscore are its parts.
"""

from __future__ import annotations

from sparserec_np.interactions._combine import (
    Aligned,
    align,
    merge,
    positions_in,
    take_users,
    union_of,
)
from sparserec_np.interactions._core import Interactions, drop_rare
from sparserec_np.interactions._files import read
from sparserec_np.interactions._frames import from_frame
from sparserec_np.interactions._memory import from_any, from_matrix, from_pairs, ids_of
from sparserec_np.interactions._report import BadRow, Columns, ReadReport

__all__ = [
    "Aligned",
    "BadRow",
    "Columns",
    "Interactions",
    "ReadReport",
    "align",
    "drop_rare",
    "from_any",
    "from_frame",
    "from_matrix",
    "from_pairs",
    "ids_of",
    "merge",
    "positions_in",
    "read",
    "take_users",
    "union_of",
]
