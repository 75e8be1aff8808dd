"""Speed and peak memory of reading a large file of ratings.

    python bench/reading.py [--rows 20_000_000] [--repeats 3] [--threads 2] [--folder DIR]

Generates the same ratings in several forms (300,000 users, 100,000 items with a long tail; numbers
or text as ids), reads each in fresh processes, and prints a table (medians) and one JSON line a
form. The files are read from the page cache, so what is measured is the reading, not the disk.
Seconds and peak memory are those of `read` in a process of its own; the import of DuckDB counts.
CPU-seconds, of all threads and the whole process, compare versions on a machine that does other
work too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

# hash() rather than random(): the same rows whatever the number of threads.
ROWS = """
SELECT {user} AS userId, {item} AS movieId, (hash(n, 3) % 10 + 1) / 2.0 AS rating,
       900000000 + hash(n, 4) % 100000000 AS timestamp
FROM (SELECT range AS n, (hash(range, 1) % 300000)::BIGINT AS u,
             (pow((hash(range, 2) % 1000000) / 1e6, 3) * 100000)::BIGINT AS i FROM range({rows}))
"""
NUMBERS = {"user": "u", "item": "i"}
WORDS = {"user": "'user-' || u", "item": "'B' || lpad(i::VARCHAR, 9, '0')"}
# name: ids, ending, options of COPY, options of read
KINDS = {
    "csv": (NUMBERS, ".csv", "HEADER", {}),
    "csv, times, rating >= 3": (NUMBERS, ".csv", "HEADER", {"with_times": True, "min_rating": 3}),
    "csv, text ids": (WORDS, ".csv", "HEADER", {}),
    "csv, quoted text ids": (WORDS, ".q.csv", "HEADER, FORCE_QUOTE (userId, movieId)", {}),
    "csv.gz": (NUMBERS, ".csv.gz", "HEADER, COMPRESSION gzip", {}),
    "json lines": (NUMBERS, ".jsonl", "FORMAT json", {}),
    "parquet": (NUMBERS, ".parquet", "FORMAT parquet", {}),
}
READ = """
import json, resource, sys, time
start = time.perf_counter()
from sparserec_np.data import read
interactions = read(sys.argv[1], **json.loads(sys.argv[2]))
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
report = interactions.report
print(json.dumps({"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime,
                  "peak_bytes": used.ru_maxrss * 1024, "rows": report.rows,
                  "users": interactions.n_users, "items": interactions.n_items,
                  "interactions": interactions.nnz}))
"""


def generate(folder: Path, rows: int, kind: str) -> Path:
    """Write the ratings in one form, unless they are there."""
    ids, ending, options, _ = KINDS[kind]
    path = folder / f"{'numbers' if ids is NUMBERS else 'words'}-{rows}{ending}"
    if not path.exists():
        part = path.with_name("part-" + path.name)
        duckdb.sql(f"COPY ({ROWS.format(rows=rows, **ids)}) TO '{part}' ({options})")
        part.rename(path)
    return path


def measure(path: Path, options: dict[str, object], repeats: int) -> dict[str, object]:
    """Read a file several times, each in a fresh process; medians of time and memory."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, "-c", READ, str(path), json.dumps(options)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    seconds, cpu_seconds = (
        statistics.median(run[name] for run in runs) for name in ("seconds", "cpu_seconds")
    )
    return {
        **runs[0],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "all_seconds": [round(run["seconds"], 2) for run in runs],
        "rows_per_second": round(runs[0]["rows"] / seconds),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "file_bytes": path.stat().st_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the generated files here")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sparserec-bench-") as scratch:
        folder = arguments.folder or Path(scratch)
        print(f"{arguments.rows:,} rows\n")
        print("| read from | file | seconds | CPU-seconds | rows/s | peak memory |")
        print("|---|---:|---:|---:|---:|---:|", flush=True)
        results = []
        for kind in arguments.kinds:
            path = generate(folder, arguments.rows, kind)
            options = {**KINDS[kind][3], "threads": arguments.threads}
            result = measure(path, options, arguments.repeats)
            results.append({"kind": kind, "threads": arguments.threads, **result})
            print(
                f"| {kind} | {result['file_bytes'] / 1e6:,.0f} MB | {result['seconds']} "
                f"| {result['cpu_seconds']} | {result['rows_per_second']:,} "
                f"| {result['peak_bytes'] / 1e6:,.0f} MB |",
                flush=True,
            )
    for result in results:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
