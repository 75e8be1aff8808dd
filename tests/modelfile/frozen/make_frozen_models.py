"""Write the frozen models:  python tests/modelfile/frozen/make_frozen_models.py FOLDER

The files in this folder were made by this command and are never made again: what is tested is that
files written once can be read for ever. A new format version gets new files beside them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import write
from sparserec_np.vocabulary import Ids, from_values


def table(rows: int, dim: int) -> Table:
    """Row r has 1 + r % 3 weights, of values that need no rounding."""
    dims = [sorted({(r * 5 + 7 * n) % dim for n in range(1 + r % 3)}) for r in range(rows)]
    indptr = np.r_[0, np.cumsum([len(row) for row in dims])]
    flat = np.concatenate([np.array(row) for row in dims]).astype(np.uint16)
    values = (np.arange(len(flat)) % 13 - 6.5).astype(np.float32) / 4
    return Table(indptr, flat, values, dim)


def neighbours() -> Neighbours:
    """Item j adds to the items j + 1 and j + 5, but for the last ones."""
    items = [[j + step for step in (1, 5) if j + step < 40] for j in range(40)]
    flat = np.array([item for row in items for item in row], np.int32)
    values = (np.arange(len(flat)) % 11 - 2.5).astype(np.float32) / 2
    return Neighbours(np.r_[0, np.cumsum([len(row) for row in items])], flat, values)


def model(users: str, item_ids: Ids, power: float = 1.0, recency: float = 0.0) -> ModelArrays:
    """A model of 40 items."""
    embedding = users == "embedding"
    return ModelArrays(
        users="embedding" if embedding else "history",
        dim=11,
        item_ids=item_ids,
        items=table(40, 11),
        item_bias=(np.arange(40) % 7).astype(np.float32) / 8,
        history_weights=None if embedding else (1 + np.arange(40) % 4).astype(np.float32) / 2,
        history_exponent=0.0 if embedding else 0.5,
        history_power=power,
        history_recency=recency,
        user_ids=from_values([f"user {n}" for n in range(600)]) if embedding else None,
        user_rows=table(600, 11) if embedding else None,
        labels=None if embedding else [f"Título {n}" for n in range(40)],
        value_bits=4,
        config={"dim": 11},
        facts={"note": "frozen"},
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    odd = from_values([-(2**63), 2**63 - 1, *range(0, 38 * 38, 38)])
    write(folder / "history-1.0.srec", encode(model("history", odd)))
    write(folder / "history-2.0.srec", encode(model("history", odd, power=0.875)))
    write(folder / "history-3.0.srec", encode(model("history", odd, power=0.875, recency=0.75)))
    recent = model("history", odd, power=0.875, recency=0.75)
    write(folder / "history-4.0.srec", encode(replace(recent, neighbours=neighbours())))
    write(folder / "embedding-1.0.srec", encode(model("embedding", from_values(range(7, 47)))))
