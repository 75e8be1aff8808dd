"""Output of ``doctor`` for a sound installation and for broken ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest

from sparserec_np.cli import installation

BARE = """
import sys
for name in ("duckdb", "narwhals", "numba", "rich", "scipy", "sklearn", "optuna"):
    sys.modules[name] = None
from sparserec_np.cli import main
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


def run(*args: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_it_tells_versions_extras_threads_and_caches(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = installation.examine()
    assert found["problems"] == []
    assert json.loads(json.dumps(found)) == found
    for name in ("numpy", "numba", "duckdb", "optuna"):
        assert found["packages"][name]["version"] == metadata.version(name)
        assert found["packages"][name]["new_enough"]
    assert found["extras"]["train"] == []
    assert found["packages"]["numpy"]["extras"] == [""]
    assert 1 <= found["threads"]["usable"] <= found["threads"]["cores"]
    assert found["threads"]["environment"]["OMP_NUM_THREADS"] == "1"
    assert found["caches"]["writable"]


def test_it_works_with_numpy_and_click_alone(tmp_path):
    shown = run("-c", BARE, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "numpy" in shown.stdout
    assert re.search(r"^compiled code +none$", shown.stdout, re.MULTILINE)
    found = json.loads(run("-c", BARE, "--json", cwd=tmp_path).stdout)
    assert found["caches"]["numba"] is None


def test_a_folder_left_over_from_an_earlier_installation(tmp_path, project):
    (tmp_path / "sparserec_np" / "__pycache__").mkdir(parents=True)
    # From the project's folder, where the package is found whatever is left over.
    args = ("-m", "sparserec_np", "doctor", "--json")
    done = run(*args, cwd=project, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert f"rm -r '{tmp_path / 'sparserec_np'}'" in problem
    assert installation.leftovers([str(project), "", str(tmp_path / "nowhere")]) == []


@pytest.mark.usefixtures("log_as_it_was")
def test_a_package_that_is_too_old(monkeypatch, capsys):
    from sparserec_np.cli import main

    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "1.9" if name == "scipy" else version(name)
    )
    assert main(["doctor"]) == 1
    told = capsys.readouterr()
    assert "problem: scipy 1.9 is too old: pip install 'scipy>=1.1" in told.err
    assert re.search(r"^problems +1$", told.out, re.MULTILINE)


@pytest.mark.parametrize(("name", "is_a_problem"), [("distributed", True), ("cornac", False)])
def test_only_extras_that_are_installed_can_be_a_problem(monkeypatch, name, is_a_problem):
    def version(package: str) -> str:
        if package == "rectools":  # of an extra of which a part is there
            raise metadata.PackageNotFoundError
        return "0.1" if package == name else "9999"

    lines = ["numpy>=1.26", "distributed>=2024; extra == 'dask'"]
    lines += ["cornac>=2; extra == 'harness'", "rectools>=0.5; extra == 'harness'"]
    monkeypatch.setattr(metadata, "requires", lambda package: lines)
    monkeypatch.setattr(metadata, "version", version)
    found = installation.examine()
    assert found["installed"] == ["", "train", "dask"]
    assert any(name in problem for problem in found["problems"]) == is_a_problem


@pytest.mark.usefixtures("log_as_it_was")
def test_extras_that_nobody_asked_for_are_not_shown(monkeypatch, capsys):
    from sparserec_np.cli import main

    lines = ["numpy>=1.26", "no-such-package>=1; extra == 'cornac'"]
    monkeypatch.setattr(metadata, "requires", lambda package: lines)
    assert main(["doctor"]) == 0
    assert "cornac" not in capsys.readouterr().out


def test_compiled_code_that_cannot_be_kept(monkeypatch):
    from sparserec_np.utils import compiled

    monkeypatch.setattr(compiled, "FOLDER", None)
    (problem,) = installation.examine()["problems"]
    assert "set NUMBA_CACHE_DIR" in problem


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9", "1.12.0"), ("2.0rc1", "2.0.1"), ("0.59", "0.68.1+local")]
)
def test_the_order_of_versions(older, newer):
    assert installation.version_numbers(older) < installation.version_numbers(newer)
