"""Processes that open one model share its pages (Linux shows it in /proc)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import write
from sparserec_np.vocabulary import from_values

PROGRAM = """
import sys
import sparserec_np

model = sparserec_np.load(sys.argv[1])
for user in range(0, 50_000, 256):  # one request in each block of the user table
    model.recommend(user=user)
print("ready", flush=True)
sys.stdin.read()
"""


def mapping(pid: int, path: Path) -> dict[str, int]:
    """Sums of the fields of /proc/PID/smaps over the mappings of a file, in kB."""
    sums: dict[str, int] = {}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            inside = line.endswith(str(path))
        elif inside and len(rest) == 2 and rest[1] == "kB":
            sums[key[:-1]] = sums.get(key[:-1], 0) + int(rest[0])
    return sums


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_four_processes_share_one_model(tmp_path: Path, rng: np.random.Generator) -> None:
    users, dim, weights = 50_000, 64, 10
    dims = np.sort(rng.random((users, dim)).argsort(axis=1)[:, :weights], axis=1)
    rows = Table(
        np.arange(users + 1) * weights,
        dims.ravel().astype(np.uint16),
        rng.standard_normal(users * weights).astype(np.float32),
        dim,
    )
    items = Table(rows.indptr[:101], rows.dims[:1000], rows.values[:1000], dim)
    path = tmp_path / "model.srec"
    model = ModelArrays(
        users="embedding",
        dim=dim,
        item_ids=from_values(range(100)),
        items=items,
        item_bias=np.zeros(100, np.float32),
        user_ids=from_values(range(users)),
        user_rows=rows,
    )
    write(path, encode(model))
    size = path.stat().st_size // 1024
    assert size > 600
    command = [sys.executable, "-c", PROGRAM, str(path)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        shares = [mapping(process.pid, path) for process in processes]
    finally:
        for process in processes:
            process.communicate("")
    for share in shares:
        assert share["Rss"] > 0.8 * size  # the table is mapped and has been touched
        assert share["Private_Dirty"] == 0 and share["Anonymous"] == 0  # nothing was copied
        assert share["Pss"] < 0.4 * share["Rss"]  # each is charged a quarter
