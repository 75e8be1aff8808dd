"""Interactions: files, frames and matrices become sorted rows with id vocabularies.

The names below are the interface; the modules beginning with an underscore are its parts.
"""

from __future__ import annotations

from sparserec_np.data.alignment import (
    Aligned,
    align,
    merge,
    take_users,
)
from sparserec_np.data.assembly import assemble
from sparserec_np.data.files.paths import list_files
from sparserec_np.data.files.read import read
from sparserec_np.data.from_any import from_any, ids_of
from sparserec_np.data.from_arrays import from_matrix, from_pairs
from sparserec_np.data.from_frames import from_frame
from sparserec_np.data.interactions import Interactions, drop_rare
from sparserec_np.data.read_report import (
    EXAMPLES,
    BadRow,
    Columns,
    NothingLeftError,
    ReadReport,
)

__all__ = [
    "EXAMPLES",
    "Aligned",
    "BadRow",
    "Columns",
    "Interactions",
    "NothingLeftError",
    "ReadReport",
    "align",
    "assemble",
    "drop_rare",
    "from_any",
    "from_frame",
    "from_matrix",
    "from_pairs",
    "ids_of",
    "list_files",
    "merge",
    "read",
    "take_users",
]
