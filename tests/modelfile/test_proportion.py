"""Time and memory of every reader are in proportion to the file (FORMAT.md, section 6)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.conformance import load_fuzz

from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.vocabulary import from_values

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

Make = Callable[..., ModelArrays]

FACTOR, BESIDES = 512, 256 << 20  # as FORMAT.md states them
SECONDS = 300  # compilation included

PROGRAM = """
import sys
from support.conformance import load_fuzz

fuzz = load_fuzz()
data = open(sys.argv[2], "rb").read()
reader = fuzz.JavaScript(4096) if sys.argv[1] == "javascript" else getattr(fuzz, sys.argv[1])
if sys.argv[1] == "compiled":
    reader(fuzz.samples()[0])

def peak():
    process = reader.process.pid if sys.argv[1] == "javascript" else "self"
    fields = dict(line.split(":") for line in open(f"/proc/{process}/status"))
    return int(fields["VmHWM"].split()[0]) * 1024

before = peak()
try:
    reader(data)
except fuzz.ModelFileError:
    pass
print(peak() - before)
"""


def bit_items(good: bytes, fuzz: Any) -> bytes:
    """Two items a byte, the most there may be, of one bit each and no weights."""
    parts, n = fuzz.Parts(good), 500_000
    model = parts.model
    model |= {"n_items": n, "bias_bits": 1, "history_bits": 1}
    model["items"] = {"weights": 0, "low_bits": 56, "value_bits": 1}
    model["item_ids"]["span"] = str(n)
    for name in ("items", "bias", "history"):
        parts.bytes[f"{name}.levels"] = np.array([1, 2], "<f4").tobytes()
    return padded(parts, model, n)


def padded(parts: Any, model: dict[str, Any], n: int) -> bytes:
    """Fill up a file to as many bytes as its items need."""
    parts.model = model
    parts.mend()
    parts.bytes["filler"], parts.dtypes["filler"] = bytes(n // 2), "U8"
    joined: bytes = parts.join()
    return joined


def inflating(words: bytes, fuzz: Any, raw: bytes, said: int) -> bytes:
    """Ids whose stream inflates to ``raw``; the header says ``said`` bytes of texts."""
    parts, stored = fuzz.Parts(words), zlib.compress(raw, 9)
    model = parts.model
    model["item_ids"] |= {"bytes": said, "width": 4, "stored": len(stored), "deflated": True}
    parts.model = model
    parts.bytes["item_ids.texts"] = stored
    joined: bytes = parts.join()
    return joined


@pytest.fixture(scope="module")
def bombs(random_model: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    fuzz = load_fuzz()
    n = 12
    whole = encode(random_model(1, n_items=n, dim=4, ids="range"))
    words = encode(random_model(1, n_items=n, dim=4, ids="str"))
    text = b"a" * (15 << 20) + "\U0001f3ac".encode()  # four bytes a character in memory
    lengths = np.r_[np.zeros(n), np.ones(n - 1), len(text)].astype("<u4").tobytes()
    one_text = lengths + b"".join(bytes([48 + i]) for i in range(n - 1)) + text
    digits = from_values([f"{i:07d}" for i in range(300_000)])
    many = replace(random_model(1, n_items=300_000, dim=4), item_ids=digits)
    folder = tmp_path_factory.mktemp("bombs")
    files = {
        "items of one bit": bit_items(whole, fuzz),
        "a text of 16 MB": inflating(words, fuzz, one_text, n - 1 + len(text)),
        "more than it says": inflating(words, fuzz, bytes(300 << 20), 500),
        "many texts": encode(many),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


@pytest.mark.parametrize("bomb", ["items of one bit", "a text of 16 MB", "more than it says",
                                  "many texts"])  # fmt: skip
@pytest.mark.parametrize("reader", ["exercise", "compiled", "standard_library", "javascript"])
def test_memory_is_in_proportion_to_the_file(
    bombs: dict[str, Path], project: Path, reader: str, bomb: str
) -> None:
    if reader == "javascript" and shutil.which("node") is None:
        pytest.skip("needs node")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, reader, bombs[bomb]],
        env={"PYTHONPATH": str(project / "tests"), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < FACTOR * bombs[bomb].stat().st_size + BESIDES
