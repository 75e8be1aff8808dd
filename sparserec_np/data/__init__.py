"""Interactions: read from files, frames, arrays and matrices; aligned, filtered and split.

All ways lead to :class:`Interactions`, sorted rows with vocabularies of ids. Hold-out splits are in
:mod:`sparserec_np.data.splitting`, the demonstration's data in :mod:`sparserec_np.data.synthetic`.
"""

from __future__ import annotations

from sparserec_np.data.alignment import Aligned, align
from sparserec_np.data.assembly import assemble
from sparserec_np.data.files import list_files, read
from sparserec_np.data.from_any import from_any, row_ids
from sparserec_np.data.from_arrays import from_matrix, from_pairs
from sparserec_np.data.from_frames import from_frame
from sparserec_np.data.interactions import Interactions
from sparserec_np.data.read_report import (
    EXAMPLES,
    BadRow,
    Columns,
    NothingLeftError,
    ReadReport,
)
from sparserec_np.data.selection import drop_rare, select_users

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
    "list_files",
    "read",
    "row_ids",
    "select_users",
]
