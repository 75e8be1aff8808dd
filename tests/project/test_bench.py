"""The benchmark commands run, each in its smallest mode, on generated data."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "claims": ["--variants", "grown by the last batch, same rows", "dense -> prune -> fine-tune"],
    "cluster": ["--only", "files"],
    "first_epoch": [],
    "first_minute": [],
    "growth": ["--along", "weights"],
    "memory": ["--users", "embedding"],
    "peers": [],
    "quality_vs_bytes": [],
    "recency": [],
    "taste": [],
    "threads": [],
    "quality_vs_bytes --choices": ["--choices"],
    "quality_vs_bytes --race": ["--race"],
}
NEEDS = ("implicit", "matplotlib", "tabulate")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_measures_once_and_prints_tables(
    command: str, project: Path, tmp_path: Path
) -> None:
    for module in NEEDS:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the benchmarks need the extra [bench]: {module} is not installed")
    name = command.split()[0]
    line = [sys.executable, str(project / "bench" / f"{name}.py"), "--quick"]
    line += ["--results", str(tmp_path), *COMMANDS[command]]
    first = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    assert "|--" in first.stdout
    records = (tmp_path / f"{name}.jsonl").read_text().splitlines()
    assert all({"key", "what", "machine", "result"} == json.loads(one).keys() for one in records)
    again = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert "measuring" not in again.stderr
