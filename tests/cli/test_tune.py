"""``tune`` and ``fit --config`` on the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.command_line import fails, run, run_json

pytestmark = pytest.mark.usefixtures("log_as_it_was")

PROGRAM = Path(sys.executable).with_name("sparserec-np")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    rng = np.random.default_rng(5)
    rows = [
        f"{user},{10 * (user % 4) + film}" for user in range(80) for film in rng.permutation(10)[:7]
    ]
    path.write_text("\n".join(["user,item", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def best(ratings: Path) -> Path:
    path = ratings.with_name("best.json")
    result = run("tune", ratings, "--trials", 3, "--max-size", "4KB", "--seed", 2, "-o", path)
    assert result.exit_code == 0, result.output
    assert "NDCG@20" in result.stdout
    assert f"fit {ratings} -o model.srec --config {path}" in result.stdout
    assert "3/3" in result.stderr
    return path


def test_fit_uses_the_config_that_was_found(ratings, best, tmp_path):
    config = json.loads(best.read_text())
    assert config["max_size"] == "4KB"
    model = tmp_path / "model.srec"
    assert run_json("fit", ratings, "-o", model, "--config", best)["bytes"] <= 4000
    used = run_json("info", model)["config"]
    del config["max_size"]
    assert {name: used[name] for name in config} == config
    quick = tmp_path / "quick.srec"  # the search knows no neighbours, a fit tries them
    run_json("fit", ratings, "-o", quick, "--config", best, "--fast")
    key = "validation_ndcg@20"
    facts = [run_json("info", path)["facts"] for path in (model, quick)]
    assert "formula_ndcg@20" not in facts[1]
    assert facts[0]["formula_ndcg@20"] == facts[1][key] <= facts[0][key]


def test_options_on_the_command_line_win(ratings, best, tmp_path):
    model = tmp_path / "model.srec"
    args = ("--dim", 24, "--sparsity", 0.5, "--epochs", 1)
    run_json("fit", ratings, "-o", model, "--config", best, *args)
    facts = run_json("info", model)
    assert facts["dim"] == 24
    assert facts["weights"] == 40 * 24 / 2  # the size in the file is no longer the budget
    assert facts["config"]["learning_rate"] == json.loads(best.read_text())["learning_rate"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dims": 3}', "config.json: unknown name 'dims'; there are: users, dim"),
        ('{"threads": 3}', "unknown name 'threads'"),
        ('{"dim": 5000}', "config.json: dim must be 1 to 4096, not 5000"),
        ('{"dim": "many"}', "config.json: dim must be a whole number"),
        ('{"sparsity": 2}', "config.json: sparsity must be"),
        ('{"sparsity": "x"}', "config.json: sparsity must be"),
        ('{"max_size": []}', "config.json: [] is not a size"),
        ('{"max_size": "1KB", "sparsity": 0.5}', "give either sparsity or max_size"),
        ("[1]", "config.json: is no JSON object"),
        ("{", "config.json: is no JSON object of hyperparameters"),
        (None, "config.json: cannot be read (No such file"),
    ],
)
def test_a_bad_config_is_refused(ratings, tmp_path, text, message):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    fails(run("fit", ratings, "-o", tmp_path / "m.srec", "--config", path), message)
    assert not (tmp_path / "m.srec").exists()


def test_one_json_object_and_nothing_else(ratings):
    result = run("tune", ratings, "--trials", 2, "--json", "-q")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert found["ndcg"] >= found["default_ndcg"] > 0
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert found["config"].keys() == {
        *found["trials"][0]["params"],
        *("users", "seed"),
    }


def test_sizes_give_a_curve(ratings, tmp_path):
    pytest.importorskip("matplotlib")
    plot, out = tmp_path / "curve.svg", tmp_path / "best.json"
    args = ("tune", ratings, "--trials", 2, "--sizes", "5KB, 3KB", "--plot", plot, "-o", out)
    result = run(*args)
    assert result.exit_code == 0, result.output
    header, small, large, _ = result.stdout.splitlines()
    assert header.startswith("size\tbytes\tweights\tNDCG@20")
    assert [line.split("\t")[0] for line in (small, large)] == ["3KB", "5KB"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-3KB.json",
        "best-5KB.json",
        "curve.svg",
    ]
    drawn = plot.read_text()
    assert "<svg" in drawn
    assert json.loads((tmp_path / "best-3KB.json").read_text())["max_size"] == "3KB"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--trials", 0), "--trials"),
        (("--max-size", "1KB", "--sizes", "1KB,2KB"), "Give either --max-size or --sizes"),
        (("--sizes", "1KB,,2KB"), "'' is not a size"),
        (("--seed", -1), "seed must be"),
        (("-o", "nowhere/best.json"), "nowhere does not exist"),
        (("--plot", "nowhere/curve.png"), "nowhere does not exist"),
        (("--plot", "curve.doc"), "must end in .png"),
        (("--storage", "nowhere/tune.db"), "nowhere does not exist"),
    ],
)
def test_bad_options_are_found_before_reading(tmp_path, monkeypatch, args, message):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    fails(run("tune", "none.csv", *args), message)


def test_missing_packages_are_named_before_reading(ratings, tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "optuna", None)
        fails(run("tune", "none.csv", "-q"), "pip install 'sparserec-np[tune]'")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fails(run("tune", ratings, "--plot", tmp_path / "c.png"), "pip install 'sparserec-np[plot]'")


def interrupted(process, seconds=30):
    """Press Ctrl-C, again if it was lost: Python drops an interrupt that comes in a finaliser."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=seconds)


def test_control_c_keeps_the_best_so_far(ratings, tmp_path):
    out = tmp_path / "best.json"
    command = [PROGRAM, "tune", ratings, "--trials", "5000", "-o", out]
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if " 3/5000 " in line:
                break
        shown, rest = interrupted(process)
    assert process.returncode == 130
    assert "NDCG@20" in shown
    assert rest.splitlines()[-1].startswith("warning: interrupted")
    assert "learning_rate" in json.loads(out.read_text())
