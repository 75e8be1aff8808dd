"""The command line as a process of its own: exit codes, streams, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sparserec_np
from sparserec_np.cli.app import app

HEAVY = {"duckdb", "distributed", "jinja2", "matplotlib", "narwhals", "numba", "numpy", "optuna"}
HEAVY |= {"rich", "scipy", "sklearn"}
PROGRAM = Path(sys.executable).with_name("sparserec-np")


def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [str(arg) for arg in args]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, **options)


@pytest.mark.parametrize("command", [[PROGRAM], [sys.executable, "-m", "sparserec_np"]])
def test_the_version(command):
    assert (
        run(*command, "--version").stdout == f"sparserec-np, version {sparserec_np.__version__}\n"
    )


@pytest.mark.parametrize("command", [None, *app.commands])
def test_help_loads_nothing_heavy(command):
    args = [command, "--help"] if command else ["--help"]
    code = f"""
import sys
from sparserec_np.cli import main
assert main({args!r}) == 0
print({HEAVY!r} & set(sys.modules))
"""
    done = run(sys.executable, "-c", code)
    assert done.stdout.startswith("Usage: sparserec-np")
    assert done.stdout.splitlines()[-1] == "set()"


def test_bad_usage_exits_2():
    done = run(PROGRAM, "bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command 'bogus'")


@pytest.fixture(scope="module")
def movies(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of MovieLens' ratings, made with no option but the titles."""
    folder = data_dir / "movielens-small"
    path = tmp_path_factory.mktemp("movies") / "movies.srec"
    labels = f"{folder / 'movies.csv'}:movieId,title"
    done = run(PROGRAM, "fit", folder / "ratings.csv", "-o", path, "--labels", labels, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["interactions"] == 100_836
    assert [entry.name for entry in path.parent.iterdir()] == ["movies.srec"]
    return path


def test_items_similar_to_toy_story(movies):
    done = run(PROGRAM, "similar", movies, 1, "-k", 20, "--json")
    titles = json.loads(done.stdout)["labels"]
    well_known_company = {
        "Toy Story 2 (1999)",
        "Bug's Life, A (1998)",
        "Monsters, Inc. (2001)",
        "Finding Nemo (2003)",
        "Shrek (2001)",
        "Incredibles, The (2004)",
        "Lion King, The (1994)",
        "Aladdin (1992)",
        "Toy Story 3 (2010)",
        "Jurassic Park (1993)",
        "Babe (1995)",
        "Star Wars: Episode IV - A New Hope (1977)",
        "Forrest Gump (1994)",
        "Back to the Future (1985)",
        "Independence Day (a.k.a. ID4) (1996)",
        "Willy Wonka & the Chocolate Factory (1971)",
    }
    assert len(well_known_company & set(titles)) >= 5, titles


def test_a_model_can_be_piped_from_and_to(data_dir, tmp_path):
    ratings = (data_dir / "movielens-small" / "ratings.csv").read_text().splitlines()[:5000]
    path = tmp_path / "model.srec"
    quick = ["--dim", "16", "--sparsity", "0.5", "--epochs", "1"]
    done = run(PROGRAM, "fit", "-", "-o", path, *quick, input="\n".join(ratings) + "\n")
    assert done.returncode == 0, done.stderr
    shown = run("sh", "-c", f"'{PROGRAM}' similar '{path}' 1 -k 100 | head -n 2")
    assert shown.stdout.splitlines()[0] == "rank\titem\tscore"
    assert "Traceback" not in shown.stderr


def test_control_c_leaves_nothing_behind_and_exits_130(data_dir, tmp_path):
    ratings = data_dir / "movielens-small" / "ratings.csv"
    path = tmp_path / "model.srec"
    command = [PROGRAM, "fit", ratings, "-o", path, "--epochs", "10000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 2/" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert rest.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_the_demo_beats_popularity_and_shows_it(tmp_path):
    done = run(PROGRAM, "demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["metrics"]["ndcg"] > 1.5 * outcome["popularity"]["ndcg"]
    assert outcome["metrics"]["model_bytes"] == (tmp_path / "demo.srec").stat().st_size
    assert os.listdir(tmp_path) == ["demo.srec"]
