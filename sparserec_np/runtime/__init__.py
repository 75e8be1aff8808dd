"""The light runtime: load a model file and recommend, with NumPy alone."""

from __future__ import annotations

from sparserec_np.runtime.model import Explanation, Model, load

__all__ = ["Explanation", "Model", "load"]
