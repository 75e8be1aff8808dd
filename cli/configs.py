"""Files of hyperparameters, which ``tune`` writes and ``fit --config`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparserec_np.errors import InputError
from sparserec_np.training.config import HYPERPARAMETERS, Config

_LIMITS = ("sparsity", "max_size")


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write hyperparameters as a JSON object, one a line."""
    from sparserec_np.utils.atomic_write import write

    write(path, (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())


def read_config(path: Path) -> dict[str, Any]:
    """Read hyperparameters and a limit of the size: arguments of ``SparseRec``, by name.

    Raises:
        InputError: The file is no JSON object, a name is unknown, or a value is out of range.
    """
    from sparserec_np.modelfile.container import strict_json
    from sparserec_np.training.budget import SizeLimit
    from sparserec_np.utils.text_file import read_text

    try:
        config = strict_json(read_text(path))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{path}: is no JSON object of hyperparameters, as tune writes it ({error})"
        ) from error
    known = [*HYPERPARAMETERS, *_LIMITS, "fast"]
    for name in config:
        if name not in known:
            raise InputError(f"{path}: unknown name {name!r}; there are: {', '.join(known)}")
    given = {name: value for name, value in config.items() if value is not None}
    try:
        SizeLimit.parse(**{name: value for name, value in given.items() if name in _LIMITS})
        Config(**{name: value for name, value in given.items() if name in HYPERPARAMETERS})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return given


def merge(config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Complete the options given on the command line with those of a file.

    >>> merge({"dim": 64, "max_size": "1MB"}, {"sparsity": 0.9})
    {'dim': 64, 'sparsity': 0.9}
    """
    instead = _LIMITS if any(name in given for name in _LIMITS) else ()  # each sets the budget
    return {**{name: config[name] for name in config if name not in instead}, **given}
