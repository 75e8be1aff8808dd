"""What it costs to open a model: time and memory of a fresh process up to its first answer.

    python bench/opening.py MODEL.srec [--repeats 30] [--history 20]

Compares, side by side in one run, `python -c "import numpy"`, loading and one recommendation with
the NumPy runtime, and the same with the standard-library runtime; then later requests within one
process. Prints one JSON object. Times are medians of fresh processes in ms, alternating between
the kinds; memory is the peak resident set in bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEAK = "import resource as r; print(r.getrusage(r.RUSAGE_SELF).ru_maxrss * 1024)"
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


def fresh(code: str) -> tuple[float, int]:
    """Wall time in ms and peak memory in bytes of a fresh interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall = 1e3 * (time.perf_counter() - start)
    memory = subprocess.run([sys.executable, "-c", code + PEAK], check=True, capture_output=True)
    return wall, int(memory.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--history", type=int, default=20, help="items of the request")
    args = parser.parse_args()

    import sparserec_np

    model = sparserec_np.load(args.model)
    step = max(1, len(model.item_ids) // args.history)
    history = model.item_ids.take(range(0, len(model.item_ids), step)[: args.history])
    stdlib = str(Path(sparserec_np.__file__).with_name("runtime_stdlib.py"))
    names = {"path": str(args.model), "history": history, "stdlib": stdlib}
    codes = {
        "numpy": NUMPY,
        "runtime": RUNTIME.format(**names),
        "stdlib": STDLIB.format(**names),
    }
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in codes}
    for code in codes.values():
        fresh(code)  # warm-up: byte code, page cache
    for _ in range(args.repeats):
        for name, code in codes.items():
            runs[name].append(fresh(code))
    result: dict[str, object] = {"file_bytes": os.path.getsize(args.model)}
    for name, pairs in runs.items():
        result[f"{name}_ms"] = round(statistics.median(wall for wall, _ in pairs), 1)
        result[f"{name}_peak_bytes"] = int(statistics.median(peak for _, peak in pairs))
    for name in ("runtime", "stdlib"):
        later = LATER.format(repeats=3 * args.repeats, **names).replace(
            "history=", "history=" if name == "runtime" else ""
        )
        output = subprocess.run(
            [sys.executable, "-c", codes[name] + later], check=True, capture_output=True
        )
        result[f"{name}_later_ms"] = round(float(output.stdout), 3)
    numpy_ms, runtime_ms = float(str(result["numpy_ms"])), float(str(result["runtime_ms"]))
    extra = int(str(result["runtime_peak_bytes"])) - int(str(result["numpy_peak_bytes"]))
    result["time_ratio"] = round(runtime_ms / numpy_ms, 3)
    result["memory_over_numpy_in_files"] = round(extra / int(str(result["file_bytes"])), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
