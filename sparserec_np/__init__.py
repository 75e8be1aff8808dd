"""Recommendations from a file of some hundred kilobytes.

``import sparserec_np`` loads nothing heavy: each public name is imported when it is first used
(PEP 562). The names of the light runtime need NumPy alone, the others the extra ``[train]``.

Light: :func:`load`, :class:`Model` and the errors. With ``[train]``: :class:`SparseRec` (the
estimator), :class:`Interactions`, :func:`read` (files), :func:`evaluate`, :func:`extend` (new
items), :func:`hold_out`, :func:`leave_last_out`, :func:`load_compiled` (the runtime for servers),
for the searches of scikit-learn :class:`InteractionSplit` and :func:`ranking_scorer`, and with
``[tune]`` :func:`tune`.

Everything is silent unless the program sets up :mod:`logging`; the logger is ``sparserec_np``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparserec_np._version import __version__
from sparserec_np.errors import missing_extra

if TYPE_CHECKING:
    from sparserec_np.data import Interactions, read
    from sparserec_np.data.splitting import InteractionSplit, hold_out, leave_last_out
    from sparserec_np.errors import (
        ClusterError,
        InputError,
        MissingExtraError,
        ModelFileError,
        SparseRecError,
        UnknownIdError,
        UnknownIdWarning,
    )
    from sparserec_np.estimator import SparseRec
    from sparserec_np.evaluation.evaluate import evaluate, ranking_scorer
    from sparserec_np.features.extend import extend
    from sparserec_np.retrieval.compiled_model import load_compiled
    from sparserec_np.runtime.model import Model, load
    from sparserec_np.tuning.tune import tune

__all__ = [
    "ClusterError",
    "InputError",
    "InteractionSplit",
    "Interactions",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "SparseRec",
    "SparseRecError",
    "UnknownIdError",
    "UnknownIdWarning",
    "__version__",
    "evaluate",
    "extend",
    "hold_out",
    "leave_last_out",
    "load",
    "load_compiled",
    "ranking_scorer",
    "read",
    "tune",
]

_HOME = {
    "ClusterError": "errors",
    "InputError": "errors",
    "InteractionSplit": "data.splitting",
    "Interactions": "data",
    "MissingExtraError": "errors",
    "Model": "runtime.model",
    "ModelFileError": "errors",
    "SparseRec": "estimator",
    "SparseRecError": "errors",
    "UnknownIdError": "errors",
    "UnknownIdWarning": "errors",
    "evaluate": "evaluation.evaluate",
    "extend": "features.extend",
    "hold_out": "data.splitting",
    "leave_last_out": "data.splitting",
    "load": "runtime.model",
    "load_compiled": "retrieval.compiled_model",
    "ranking_scorer": "evaluation.evaluate",
    "read": "data",
    "tune": "tuning.tune",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it, at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __name__:
            raise
        raise missing_extra(error.name, "train", f"{__name__}.{name}") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
