"""Files of hyperparameters, which ``tune`` writes and ``fit --config`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparserec_np.errors import InputError
from sparserec_np.training.config import HYPERPARAMETERS, Config

_BUDGET = {"max_size", "sparsity"}


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write hyperparameters as a JSON object, one a line."""
    from sparserec_np.utils import atomic_write

    atomic_write.write(path, (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


def read_config(path: Path) -> dict[str, Any]:
    """Read hyperparameters: arguments of ``SparseRec`` by name.

    Raises:
        InputError: The file is no JSON object, a name is unknown, or a value is out of range.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as JSON ({reason})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: is no JSON object of hyperparameters, as tune writes it")
    known = [*HYPERPARAMETERS, "sparsity", "max_size"]
    for name in config:
        if name not in known:
            raise InputError(f"{path}: unknown name {name!r}; there are: {', '.join(known)}")
    given = {name: value for name, value in config.items() if value is not None}
    try:
        check_ranges(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return given


def merged(config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Complete the options of the command line by those of the file.

    >>> merged({"dim": 64, "max_size": "1MB"}, {"sparsity": 0.9})
    {'dim': 64, 'sparsity': 0.9}
    """
    instead = _BUDGET if _BUDGET & given.keys() else set()  # each of them sets the budget
    return {**{name: config[name] for name in config if name not in instead}, **given}


def check_ranges(hyperparameters: dict[str, Any]) -> None:
    """Check the ranges of hyperparameters, before the data is read.

    Raises:
        InputError: A value is out of range; the first such one is named.
    """
    from sparserec_np.training.budget import SizeLimit

    SizeLimit.parse(
        sparsity=hyperparameters.get("sparsity"), max_size=hyperparameters.get("max_size")
    )
    Config(**{name: value for name, value in hyperparameters.items() if name in HYPERPARAMETERS})
