"""Helpers of the benchmark commands: data, raw results, fresh processes, memory peaks, tables.

Raw results are JSON lines in ``bench/results/``, one a measurement, keyed by a hash of what was
measured: a command that was interrupted, started again, measures only what is missing. Delete a
file to measure anew.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from sparserec_np.data import Interactions, align, from_pairs, read, select_users
from sparserec_np.utils.csr import indptr_from_counts
from sparserec_np.vocabulary import RangeIds

BENCH = Path(__file__).resolve().parent
README = BENCH / "README.md"
MB = 1_000_000

GENERATED = "generated"  # a small data set that needs no files: for trying out a command
NAMES = (
    "gowalla", "movielens-1m", "lastfm", "amazon-sports", "yelp2018", "douban-book", "food",
    "amazon-health", "retailrocket", "movietweetings", GENERATED,
)  # fmt: skip

Result = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """A data set, split by the protocol: choose on ``valid``, score once on ``test``."""

    train: Interactions
    valid: Interactions
    both: Interactions
    """``train`` and ``valid`` together: the model that is scored on ``test`` learns from them."""
    test: Interactions


def data_folder() -> Path:
    """Return the folder of the data sets; without one, end the program and say what to do."""
    folder = Path(os.environ.get("SPARSEREC_DATA", BENCH.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"no data: {folder} is not a folder; set SPARSEREC_DATA or use --data {GENERATED}")
    return folder


def load(name: str) -> Parts:
    """Read the parts of a data set."""
    if name == GENERATED:
        from sparserec_np.data import synthetic
        from sparserec_np.data.splitting import hold_out

        everything = synthetic.generate().interactions
        few = select_users(everything, np.arange(min(400, everything.n_users)))
        both, test = hold_out(few, fraction=0.2)
        return Parts(*hold_out(both, fraction=0.1), both, test)
    folder = data_folder() / name
    train, valid, test = (folder / f"{part}.csv" for part in ("train", "valid", "test"))
    return Parts(read(train), read(valid), read([train, valid]), read(test))


def load_for_test(name: str) -> tuple[Interactions, Interactions]:
    """Read train + valid, and the test part in the same numbering.

    Users of the test part whom train + valid lacks are left out: no data set has any.
    """
    parts = load(name)
    return parts.both, align(parts.test, parts.both.user_ids, parts.both.item_ids).interactions


def long_tailed(
    n_users: int, n_items: int, per_user: int, *, seed: int = 0, block: int = 20_000
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Generate interactions in bounded memory, some users at a time.

    Half of a user's draws come from the whole catalogue, half from one of 64 parts of it, the
    user's taste, so that there is something to learn. Either way the item of rank r is drawn with
    a density that falls like ``r ** (-2 / 3)``; item numbers are ranks in random order.

    Args:
        n_users: Number of users.
        n_items: Number of items.
        per_user: Draws a user; some 5 % of them are repeated and left out.
        seed: Seed of the generator.
        block: Users drawn at a time.

    Yields:
        Users and items of a block, int32 arrays, in order of users, then items.
    """
    rng = np.random.default_rng(seed)
    number = rng.permutation(n_items).astype(np.int32)
    for first in range(0, n_users, block):
        n = min(block, n_users - first)
        rank = (rng.random((n, per_user), np.float32) ** 3 * np.float32(n_items)).astype(np.int32)
        taste = rng.integers(0, 64, (n, 1), np.int32)
        own = rng.random((n, per_user), np.float32) < 0.5
        rank = np.minimum(np.where(own, rank - rank % 64 + taste, rank), n_items - 1)
        items = np.sort(number[rank], axis=1)
        new = np.ones(items.shape, bool)
        np.not_equal(items[:, 1:], items[:, :-1], out=new[:, 1:])
        users = np.repeat(np.arange(first, first + n, dtype=np.int32), new.sum(axis=1))
        yield users, items[new]


def gathered(n_users: int, n_items: int, per_user: int, *, seed: int = 0) -> Interactions:
    """Return the interactions that :func:`long_tailed` generates."""
    items = np.empty(n_users * per_user, np.int32)  # pages that are not written cost nothing
    degrees = np.zeros(n_users, np.int64)
    n = 0
    for users, part in long_tailed(n_users, n_items, per_user, seed=seed):
        items[n : n + part.size] = part
        degrees += np.bincount(users, minlength=n_users)
        n += part.size
    indptr = indptr_from_counts(degrees)
    return Interactions(indptr, items[:n], RangeIds(0, n_users), RangeIds(0, n_items))


class Results:
    """Raw results of a command: measured once, kept as JSON lines.

    Args:
        folder: Folder of the file.
        name: Name of the command.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.jsonl"
        self._known: dict[str, Result] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                record = json.loads(line)
                self._known[record["key"]] = record["result"]

    def measure(self, what: Result, run: Callable[[], Result]) -> Result:
        """Return the result of a measurement; make it if there is none yet.

        Args:
            what: Everything that the result depends on, as JSON can hold it.
            run: Makes the measurement.
        """
        text = json.dumps(_without_unset(what), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if key not in self._known:
            began = time.perf_counter()
            shown = {name: value for name, value in what.items() if name != "config"}
            print(f"measuring {json.dumps(shown)}", file=sys.stderr, flush=True)
            result = run()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            record = {"key": key, "what": what, "machine": machine(), "result": result}
            with self._path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            self._known[key] = result
            seconds = time.perf_counter() - began
            print(f"  {seconds:.1f} s: {json.dumps(result)[:200]}", file=sys.stderr, flush=True)
        return self._known[key]


def _without_unset(what: Any, within_config: bool = False) -> Any:
    """Leave out hyperparameters that are not set, so that new ones do not change old keys."""
    if not isinstance(what, dict):
        return what
    return {
        name: _without_unset(value, within_config or name == "config")
        for name, value in what.items()
        if value is not None or not within_config
    }


def fresh(function: Callable[..., Result], **arguments: Any) -> Result:
    """Call a function in a fresh process, to measure peaks of memory and start-up times.

    Args:
        function: Function of a benchmark module; arguments and result are such as JSON can hold.
        arguments: Its arguments.
    """
    module = Path(function.__code__.co_filename).stem
    code = (
        f"import json, sys; from {module} import {function.__name__} as run; "
        "print(json.dumps(run(**json.loads(sys.argv[1]))))"
    )
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, cwd=BENCH, check=True, stdout=subprocess.PIPE, text=True)
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}: peaks of memory are measured on Linux")


def settled_bytes() -> int:
    """Return all free memory to the system, and count the peak anew; return what is resident."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the largest resident memory since the start or the last :func:`settled_bytes`."""
    return _status("VmHWM")


def warm_up(users: str, **params: Any) -> None:
    """Fit tiny data, so that compiled code is loaded before anything is measured."""
    from sparserec_np import SparseRec

    pairs = np.random.default_rng(0).integers(0, 40, (800, 2))
    data = from_pairs(pairs[:, 0], pairs[:, 1])
    SparseRec(users=users, dim=16, epochs=2, **params).fit(data).model_.info()
    SparseRec(users=users, dim=16, **params).fit(data)  # with validation


def machine() -> str:
    """Return CPU, cores and the versions that matter, in one line."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "implicit"))
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}"


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    """Format a Markdown table; columns of numbers are aligned to the right, except the first."""
    rows = [[str(cell) for cell in row] for row in rows]
    sides = ["left"]
    for column in range(1, len(headers)):
        cells = [row[column] for row in rows if row[column]]
        sides.append("right" if all(cell[0] in "0123456789+-" for cell in cells) else "left")
    return tabulate(rows, headers, tablefmt="github", colalign=sides, disable_numparse=True)


def verdict(met: bool) -> str:
    """Return in words whether a goal is met."""
    return "met" if met else "**not met**"


def write_block(name: str, text: str, readme: Path = README) -> None:
    """Replace the text between ``<!-- name:begin -->`` and ``<!-- name:end -->``."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = readme.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"{readme} has no block between {begin} and {end}")
    readme.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def parser(
    doc: str | None, data: Sequence[str] = NAMES, default: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Make a parser with the options that all commands have."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if default:
        made.add_argument("--data", nargs="+", choices=data, default=list(default))
    made.add_argument("--quick", action="store_true", help="small and short: to try the command")
    made.add_argument("--results", type=Path, default=BENCH / "results", help="folder of raw data")
    made.add_argument("--write-readme", action="store_true", help="put the tables in README.md")
    return made


def finish(name: str, text: str, write_readme: bool) -> None:
    """Print the tables, and put them in the README if asked to."""
    text = f"{text}\n\nMeasured on: {machine()}."
    print(text)
    if write_readme:
        write_block(name, text)
