"""The cost of opening a model: time and memory of a fresh process up to its first answer.

    python bench/opening.py MODEL.srec [--repeats 30] [--history 20]

Compares, side by side in one run, `python -c "import numpy"`, loading and one recommendation with
the NumPy runtime, and the same with the standard-library runtime; then later requests within one
process. Prints one JSON object. Times are medians of fresh processes in ms, alternating between
the kinds; memory is the peak resident set in bytes. Byte code is cached, as an installation does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sparserec_np

PEAK = """
print(*[l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM")])
"""
NUMPY = "import numpy\n"
RUNTIME = """
import sparserec_np
model = sparserec_np.load({path!r})
model.recommend(history={history!r}, k=10)
"""
STDLIB = """
import importlib.util as u
s = u.spec_from_file_location("r", {stdlib!r}); m = u.module_from_spec(s); s.loader.exec_module(m)
model = m.load({path!r})
model.recommend({history!r}, k=10)
"""
LATER = """
import time
from statistics import median
times = []
for _ in range({repeats}):
    start = time.perf_counter()
    model.recommend(history={history!r}, k=10)
    times.append(1e3 * (time.perf_counter() - start))
print(median(times))
"""


def run(code: str, cache: str) -> str:
    """Run a fresh interpreter; its output."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return done.stdout.decode()


def fresh(code: str, cache: str) -> tuple[float, int]:
    """Wall time in ms and peak memory in bytes of a fresh interpreter."""
    start = time.perf_counter()
    run(code, cache)
    wall = 1e3 * (time.perf_counter() - start)
    return wall, int(run(code + PEAK, cache)) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--history", type=int, default=20, help="items of the request")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        print(json.dumps(measure(args.model, args.repeats, args.history, cache)))


def measure(path: Path, repeats: int, history_length: int, cache: str) -> dict[str, float]:
    """Measure everything; see the module."""

    model = sparserec_np.load(path)
    step = max(1, len(model.item_ids) // history_length)
    history = model.item_ids.take(range(0, len(model.item_ids), step)[:history_length])
    stdlib = str(Path(sparserec_np.__file__).with_name("runtime_stdlib.py"))
    names = {"path": str(path), "history": history, "stdlib": stdlib}
    codes = {
        "numpy": NUMPY,
        "runtime": RUNTIME.format(**names),
        "stdlib": STDLIB.format(**names),
    }
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in codes}
    for code in codes.values():
        fresh(code, cache)  # warm-up: byte code, page cache
    for _ in range(repeats):
        for name, code in codes.items():
            runs[name].append(fresh(code, cache))
    result: dict[str, float] = {"file_bytes": os.path.getsize(path)}
    for name, pairs in runs.items():
        result[f"{name}_ms"] = round(statistics.median(wall for wall, _ in pairs), 1)
        result[f"{name}_peak_bytes"] = int(statistics.median(peak for _, peak in pairs))
    for name in ("runtime", "stdlib"):
        later = LATER.format(repeats=3 * repeats, **names).replace(
            "history=", "history=" if name == "runtime" else ""
        )
        result[f"{name}_later_ms"] = round(float(run(codes[name] + later, cache)), 3)
    extra = result["runtime_peak_bytes"] - result["numpy_peak_bytes"]
    result["time_ratio"] = round(result["runtime_ms"] / result["numpy_ms"], 3)
    result["memory_over_numpy_in_files"] = round(extra / result["file_bytes"], 2)
    return result


if __name__ == "__main__":
    main()
