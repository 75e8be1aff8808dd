"""The wheel in a fresh virtual environment with NumPy alone: what people ship must need no more."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparserec_np.errors import missing_extra
from sparserec_np.modelfile.arrays import ModelArrays, Table
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils.atomic_write import write
from sparserec_np.vocabulary import from_values

pytestmark = pytest.mark.fresh_venv

USE_MODEL = """
import json, sys
import sparserec_np
model = sparserec_np.load(sys.argv[1])
ids, scores = model.recommend(history=["a"], k=2)
like, _ = model.similar_items("a", 1)
heavy = {"click", "duckdb", "numba", "rich", "scipy", "sklearn"} & set(sys.modules)
print(json.dumps({"ids": ids, "scores": len(scores), "like": like, "heavy": sorted(heavy)}))
"""


@pytest.fixture(scope="module", params=["numpy", "numpy==1.26.*"])
def environment(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory) -> Path:
    """The ``bin`` folder of a fresh environment with the wheel, by its own requirements."""
    if request.param != "numpy" and sys.version_info >= (3, 13):
        pytest.skip("NumPy 1.26 has no wheel for this Python")
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    pip = [folder / "bin" / "pip", "install", "-q"]
    subprocess.run([*pip, request.param, wheel], check=True, timeout=300)
    return folder / "bin"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    """A history model of three items, of which the first two are alike."""
    arrays = ModelArrays(
        users="history",
        dim=4,
        item_ids=from_values(["a", "b", "c"]),
        items=Table(
            indptr=np.array([0, 2, 4, 5]),
            dims=np.array([0, 1, 0, 1, 3], dtype=np.uint16),
            values=np.array([1.0, 0.5, 1.0, 0.5, 1.0], dtype=np.float32),
            dim=4,
        ),
        item_bias=np.zeros(3, dtype=np.float32),
        history_weights=np.ones(3, dtype=np.float32),
        history_exponent=0.5,
        user_ids=None,
        user_rows=None,
        labels=None,
        value_bits=4,
        config={},
        facts={},
    )
    path = tmp_path_factory.mktemp("model") / "small.srec"
    write(path, encode(arrays))
    return path


def test_the_wheel_brings_numpy_and_nothing_else(environment):
    listing = subprocess.run(
        [environment / "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    names = {entry["name"].lower() for entry in json.loads(listing.stdout)}
    assert names - {"pip", "setuptools", "wheel"} == {"numpy", "sparserec-np"}


def test_a_model_recommends_with_numpy_alone(environment, model_path, tmp_path):
    done = subprocess.run(
        [environment / "python", "-c", USE_MODEL, model_path],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    result = json.loads(done.stdout)
    assert result == {"ids": ["b", "c"], "scores": 2, "like": ["b"], "heavy": []}


@pytest.mark.parametrize("command", [["sparserec-np"], ["python", "-m", "sparserec_np"]])
def test_the_command_line_says_what_to_install(environment, command, tmp_path):
    program, *args = command
    done = subprocess.run(
        [environment / program, *args, "demo"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: the command line needs the package 'click', which is not installed: "
        "pip install 'sparserec-np[train]'\n"
    )


def test_training_says_what_to_install(environment, tmp_path):
    code = "import sparserec_np; sparserec_np.SparseRec"
    done = subprocess.run(
        [environment / "python", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "pip install 'sparserec-np[train]'" in done.stderr.splitlines()[-1]


def test_the_line_that_it_says_adds_the_extra_to_what_is_installed(environment, tmp_path):
    """No index has the package: pip finds the installed one, and what the extra needs."""
    said = str(missing_extra("matplotlib", "plot", "--plot"))
    program, *args = shlex.split(said.partition("not installed: ")[2])
    done = subprocess.run(
        [environment / program, *args, "--dry-run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (found,) = (line for line in done.stdout.splitlines() if line.startswith("Would install"))
    assert " matplotlib-" in found and "sparserec" not in found
