"""The log of a fit: one JSON object a line, the metrics of an epoch.

It is kept beside the model file, not in it: learning curves help those who train, while every byte
of the model is carried by all who use it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from sparserec_np.errors import InputError
from sparserec_np.modelfile.container import strict_json
from sparserec_np.training.state import EpochMetrics
from sparserec_np.utils import atomic_write
from sparserec_np.utils.text_file import read_text

_TYPES: dict[str, Any] = {"stage": str, "ndcg": (int, float, type(None))}
_NUMBER = (int, float)


EPOCHS = "sparserec_np.epochs"
"""Name of the logger that has a line an epoch."""


def epoch_line(metrics: EpochMetrics) -> str:
    """Describe an epoch in one line."""
    parts = [f"loss {metrics.loss:.4f}"]
    if metrics.ndcg is not None:
        parts.append(f"NDCG@20 {metrics.ndcg:.4f}")
    parts.append(f"{metrics.seconds:.1f} s")
    return f"{metrics.stage} epoch {metrics.epoch}/{metrics.epochs}: {', '.join(parts)}"


def write_log(path: str | os.PathLike[str], records: Sequence[EpochMetrics]) -> None:
    """Write the records of a fit, whole or not at all.

    Args:
        path: The file, by custom ``.jsonl``.
        records: One an epoch, as in ``SparseRec.epoch_metrics_``.

    Raises:
        InputError: The file cannot be written.
    """
    lines = [json.dumps(dataclasses.asdict(record)) for record in records]
    atomic_write.write(path, "".join(f"{line}\n" for line in lines).encode())


def read_log(path: str | os.PathLike[str]) -> list[EpochMetrics]:
    """Read what :func:`write_log` wrote; fields that are not known are ignored.

    Args:
        path: The file.

    Returns:
        The records, in the order of the file.

    Raises:
        InputError: The file cannot be read, or a line is no record; the message names it.
    """
    lines = read_text(path).splitlines()
    return [_record(path, number, line) for number, line in enumerate(lines, start=1)]


def _record(path: str | os.PathLike[str], number: int, line: str) -> EpochMetrics:
    try:
        return metrics_of(strict_json(line))
    except ValueError as error:
        raise InputError(
            f"{path}, line {number}: is no record of an epoch; give the file that sparserec-np fit "
            "--log wrote"
        ) from error


def metrics_of(record: Any) -> EpochMetrics:
    """Return the metrics that a JSON object holds; fields that are not known are ignored.

    Raises:
        ValueError: A field is missing or of another type.
    """
    fields = {}
    for field in dataclasses.fields(EpochMetrics):
        value = record.get(field.name) if isinstance(record, dict) else None
        if not isinstance(value, _TYPES.get(field.name, _NUMBER)):
            raise ValueError(f"no metrics of an epoch: {field.name} is {value!r:.40}")
        fields[field.name] = value
    return EpochMetrics(**fields)
