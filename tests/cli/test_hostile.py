"""Nothing destroyed, nothing trusted: odd outputs, names, streams, texts and numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import fails, run, run_json

from sparserec_np import load
from sparserec_np.cli.terminal import escape
from sparserec_np.data.files import paths
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.utils import temporary
from sparserec_np.utils.atomic_write import write
from sparserec_np.vocabulary import from_values

pytestmark = pytest.mark.usefixtures("log_as_it_was")

Make = Callable[..., ModelArrays]
ODD = "a\tb\n\x1b[2J\x1b]0;title\x07\x9b31m\u202e\x7f"


@pytest.fixture
def folder(tmp_path: Path, random_model: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, ratings of its items, and the files that other options name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write("m.srec", encode(random_model(1, labels=True)))
    items = load("m.srec").item_ids.take(range(20))
    rows = [f"{user},{items[(user + j) % 20]}" for user in range(10) for j in range(5)]
    Path("r.csv").write_text("\n".join(["userId,movieId", *rows, ""]))
    Path("t.csv").write_text("movieId,title\n1,Heat\n")
    Path("c.json").write_text('{"dim": 8}')
    Path("log.jsonl").write_text("")
    os.link("r.csv", "hard.csv")
    Path("soft.csv").symlink_to("r.csv")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "fit r.csv -o r.csv",
        "fit r.csv -o ./r.csv",
        "fit r.csv -o hard.csv",
        "fit r.csv -o soft.csv",
        "fit hard.csv -o r.csv",
        "fit r*.csv -o r.csv",
        "fit ~/r.csv -o r.csv",
        "fit r.csv --valid t.csv -o t.csv",
        "fit r.csv --labels t.csv:movieId,title -o t.csv",
        "fit r.csv --config c.json -o c.json",
        "fit r.csv --warm-start m.srec -o m.srec",
        "fit r.csv -o new.srec --log r.csv",
        "fit r.csv -o new.srec --log new.srec",
        "fit r.csv -o new.srec --log ../{name}/new.srec",
        "tune r.csv -o r.csv",
        "tune r.csv -o new.json --plot new.json",
        "tune r.csv -o new.json --storage r.csv",
        "tune r.csv --storage s.db --plot r.csv",
        "tune r.csv --sizes 10KB,20KB -o new.json --plot new-20KB.json",
        "report m.srec --train r.csv --test t.csv -o m.srec",
        "report m.srec --train r.csv hard.csv --test t.csv -o r.csv",
        "report m.srec --train r.csv --test t.csv -o t.csv",
        "report m.srec --train r.csv --test t.csv --log log.jsonl -o log.jsonl",
        "recommend m.srec --all-users --interactions in.parquet -o in.parquet",
        "recommend m.srec --all-users --interactions r.csv -o m.parquet",
    ],
)
def test_an_output_over_an_input_is_refused(folder: Path, command: str) -> None:
    Path("in.parquet").write_bytes(Path("r.csv").read_bytes())
    Path("m.parquet").symlink_to("m.srec")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run(*command.format(name=folder.name).split())
    fails(result, "is the same file as")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_standard_input_is_an_input(folder: Path) -> None:
    with open("r.csv", "rb") as ratings:
        arguments = [sys.executable, "-m", "sparserec_np", "fit", "-", "-o", "r.csv"]
        done = subprocess.run(arguments, stdin=ratings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "is the same file as the input -" in done.stderr


def test_a_page_does_not_replace_its_model(folder: Path) -> None:
    Path("site").mkdir()
    os.rename("m.srec", "site/model.js")
    fails(run("export-web", "site/model.js", "-o", "site"), "is the same file as")
    assert os.listdir("site") == ["model.js"]


def test_what_is_no_file_is_not_written(folder: Path) -> None:
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("to-pipe").symlink_to("pipe")
    for name, message in {
        "pipe": "a device or a pipe",
        "to-pipe": "a device or a pipe",
        "/dev/null": "a device or a pipe",
        "loop": "cannot be written",
        "x" * 256: "File name too long",
        ".": "is a folder",
        "nowhere/m.srec": "does not exist",
    }.items():
        fails(run("report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", name), message)
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_one(folder: Path) -> None:
    Path("there").mkdir()
    Path("page.html").symlink_to("there/page.html")
    Path("all.parquet").symlink_to("there/all.parquet")
    run_json("report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", "page.html")
    run_json("recommend", "m.srec", "--all-users", "--interactions", "r.csv", "-o", "all.parquet")
    assert Path("page.html").is_symlink() and Path("all.parquet").is_symlink()
    assert sorted(os.listdir("there")) == ["all.parquet", "page.html"]


def test_a_pipe_is_no_model(folder: Path) -> None:
    os.mkfifo("pipe")
    fails(run("info", "pipe"), "is no regular file")
    fails(run("info", "/dev/zero"), "is no regular file")


@pytest.mark.parametrize("name", ["é" * 127, "x?y=1.html", "a'b;--.html", os.fsdecode(b"\xff\xfe")])
def test_odd_names_are_names(folder: Path, name: str) -> None:
    done = run("report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", name)
    assert done.exit_code == 0, done.output
    assert Path(name).stat().st_size > 1000
    os.rename("m.srec", name)
    assert run("info", name).exit_code == 0
    arguments = ["recommend", name, "--all-users", "--interactions", "r.csv", "-o"]
    assert run(*arguments, f"{name[:60]}.parquet").exit_code == 0
    odd = Path(os.fsdecode(b"\xff"))
    odd.mkdir()
    fails(run(*arguments, odd / "a.parquet", "-q"), "is no UTF-8")


def test_control_characters_are_shown_escaped(folder: Path, random_model: Make) -> None:
    ids = from_values(sorted(f"{i:02d}{ODD}" for i in range(60)))
    config = {"dim": 16, ODD: ODD}
    odd = replace(random_model(1, labels=True), item_ids=ids, labels=[ODD] * 60, config=config)
    write("odd.srec", encode(odd))
    item = ids.take([0])[0]
    for command in (["info", "odd.srec"], ["similar", "odd.srec", item], ["info", "no" + ODD]):
        result = run(*command)
        for line in result.output.splitlines():
            assert escape(line.replace("\t", "")) == line.replace("\t", ""), line
    table = run("similar", "odd.srec", item).stdout.splitlines()
    assert len(table) > 1 and {line.count("\t") for line in table} == {3}
    assert run_json("similar", "odd.srec", item)["labels"][0] == ODD
    assert escape("Amélie: 千と千尋 🎬") == "Amélie: 千と千尋 🎬"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m sparserec_np"
    line = command.replace("sparserec-np", program)
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&-", "<&-", ">&- 2>&- <&-"])
def test_a_fit_writes_its_model_whatever_the_streams(folder: Path, streams: str) -> None:
    done = shell(f"sparserec-np fit r.csv -o new.srec --epochs 1 --dim 8 --sparsity 0.5 {streams}")
    assert done.returncode == 0, done.stderr
    assert load("new.srec", verify=True).dim == 8


def test_a_full_or_closed_output_takes_a_sentence(folder: Path) -> None:
    item = load("m.srec").item_ids.take([0])[0]
    done = shell(f"sparserec-np similar m.srec {item} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"
    done = shell(f"sparserec-np similar m.srec {item} | head -c 0; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (0, 1) and done.stderr == ""
    done = shell(f"sparserec-np similar m.srec {item} >&-")
    assert done.returncode in (0, 1) and len(done.stderr.splitlines()) <= 1


def test_any_k_is_clipped_to_the_items(folder: Path) -> None:
    item = load("m.srec").item_ids.take([0])[0]
    huge = 10**12
    assert len(run_json("recommend", "m.srec", "--history", item, "-k", huge)["items"]) == 59
    assert len(run_json("similar", "m.srec", item, "-k", huge)["items"]) < 60
    metrics = run_json("evaluate", "m.srec", "--train", "r.csv", "--test", "r.csv", "-k", huge)
    assert metrics["k"] == huge and metrics["coverage"] == 1
    run_json("report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", "p.html", "-k", huge)
    run_json(
        "recommend", "m.srec", "--all-users", "--interactions", "r.csv", "-o", "a.parquet",
        "-k", huge,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"dim": 1e999}', '{"dim": "8"}', '{"\\ud800": 1}', '{"learning_rate": "x"}',
     '{"max_size": [1]}', '{"dim": true}', "\xff", "", '{"epochs": 99999999999999999999999}'],
)  # fmt: skip
def test_hostile_configs_and_logs_take_a_sentence(folder: Path, text: str) -> None:
    Path("bad.json").write_text(text, encoding="latin-1")
    fails(run("fit", "r.csv", "-o", "new.srec", "--config", "bad.json", "-q"), "bad.json")
    if text:
        report = ["report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", "p.html", "-q"]
        fails(run(*report, "--log", "bad.json"), "bad.json")


def test_infinite_input_stops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MOST_COPIED", 10**7)
    fails(run("fit", "/dev/zero", "-o", "new.srec", "-q"), "more than 10,000,000 bytes")
    fails(run("fit", "r.csv", "-o", "new.srec", "--config", "/dev/zero", "-q"), "/dev/zero")
    report = ["report", "m.srec", "--train", "r.csv", "--test", "r.csv", "-o", "p.html", "-q"]
    fails(run(*report, "--log", "/dev/zero"), "/dev/zero")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", "0.1"),
        ("reg", [1]),
        ("pool", True),
        ("candidates", -1),
        ("users", {"a": 1}),
        (ODD, 1e300),
    ],
)
def test_hostile_hyperparameters_in_a_model_take_a_sentence(
    folder: Path, random_model: Make, name: str, value: object
) -> None:
    facts = {"users": value, "times": value, ODD: [value, {}]}
    odd = replace(random_model(1, labels=True), config={"dim": 16, name: value}, facts=facts)
    write("odd.srec", encode(odd))
    assert run("info", "odd.srec").exit_code == 0
    assert run_json("info", "odd.srec")["config"][name] == value
    report = ["report", "odd.srec", "--train", "r.csv", "--test", "r.csv", "-o", "p.html"]
    assert run(*report).exit_code == 0
    if name != ODD:
        warm = ["fit", "r.csv", "--warm-start", "odd.srec", "-o", "new.srec", "-q"]
        fails(run(*warm), "the config in the model to continue from is not valid")


def test_what_a_killed_process_left_is_swept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = folder / ".page.html.0123456789ab"
    left.mkdir()
    (left / "data").write_bytes(b"x")
    other = folder / ".page.html.note"
    other.write_text("mine")
    with temporary.folder_beside(folder / "page.html") as used:
        assert left.exists(), "it may be new"
        monkeypatch.setattr(temporary, "_YOUNG", -1.0)
        write("page.html", b"page")
        assert not left.exists() and other.exists() and used.exists()
    assert not used.exists()
