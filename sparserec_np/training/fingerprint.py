"""Fingerprints: all that the result of a fit or a search depends on, to compare with another run.

A fingerprint maps names that never change to values that JSON can hold. The words in which
differences are told to a person stand apart from it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparserec_np._version import __version__
from sparserec_np.data import Interactions

Fingerprint = dict[str, Any]

WORDS = {
    "version": "version of sparserec-np",
    "item_nnz": "item weights",
    "user_nnz": "user weights",
    "neighbour_nnz": "neighbours",
    "chooses_epochs": "epochs found by validation",
    "warm_start": "checksum of the model to continue",
    "fixed": "set hyperparameters",
    "labels": "checksum of the labels",
}
for _part, _name in (("train", "training data"), ("valid", "validation data")):
    for _fact in ("users", "items", "interactions", "checksum"):
        WORDS[f"{_part}_{_fact}"] = f"{_fact} of the {_name}"


def fingerprint(
    config: Mapping[str, Any], train: Interactions, valid: Interactions | None, **more: Any
) -> Fingerprint:
    """Make the fingerprint of a fit.

    Args:
        config: Hyperparameters by name, as JSON can hold them.
        train: Interactions to learn from.
        valid: Interactions to validate on, or None.
        more: Anything else, as JSON can hold it.
    """
    found: Fingerprint = {"version": __version__, **config, **more}
    for data, part in ((train, "train"), (valid, "valid")):
        if data is None:
            found[f"{part}_interactions"] = None
            continue
        found[f"{part}_users"] = data.n_users
        found[f"{part}_items"] = data.n_items
        found[f"{part}_interactions"] = data.nnz
        found[f"{part}_checksum"] = _checksum_of_data(data)
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name the differences of two fingerprints in words; nothing where they are the same."""
    return ", ".join(
        f"{WORDS.get(name, name)} was {there.get(name)} and is {here.get(name)}"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    )


def checksum(content: bytes) -> str:
    """Return 16 characters that tell contents apart."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def file_checksum(path: str | os.PathLike[str]) -> str:
    """Return the :func:`checksum` of a file."""
    return checksum(Path(path).read_bytes())


def _checksum_of_data(data: Interactions) -> str:
    pairs = np.array([data.fingerprint()], np.uint64)
    parts = (pairs, *data.user_ids.arrays, *data.item_ids.arrays)
    return checksum(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
