"""Interactions: files, frames and matrices become sorted rows with id vocabularies.

The names below are the interface; the modules beginning with an underscore are its parts.
"""

from __future__ import annotations

from sparserec_np.interactions._core import Interactions
from sparserec_np.interactions._files import read
from sparserec_np.interactions._memory import from_matrix, from_pairs

__all__ = ["Interactions", "from_matrix", "from_pairs", "read"]
