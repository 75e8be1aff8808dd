"""The commands and the code of the README work, in the order in which they stand there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from importlib.metadata import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.movielens import write_movielens

import sparserec_np
from sparserec_np.cli.app import app


@pytest.fixture(scope="module")
def blocks(project: Path) -> list[tuple[str, str]]:
    """Language and text of each code block."""
    text = (project / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MovieLens' small set where it is there, else with files of its shape."""
    folder = tmp_path_factory.mktemp("readme")
    real = Path(os.environ.get("SPARSEREC_DATA", "")) / "movielens-small"
    if real.is_dir():
        for name in ("ratings.csv", "movies.csv"):
            shutil.copy(real / name, folder)
    else:
        write_movielens(folder)
    return folder


def test_the_commands_and_the_code_work(blocks, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    commands = [line for language, text in blocks if language == "sh" for line in text.splitlines()]
    for line in commands:
        program, *args = shlex.split(line)
        if program == "sparserec-np":
            if args[0] == "fit" and not os.environ.get("SPARSEREC_DATA"):
                args.append("--fast")  # made files have no list to compare with
            result = CliRunner().invoke(app, args)
            assert result.exit_code == 0, f"{line}\n{result.output}"
    for language, text in blocks:
        if language == "python":
            exec(compile(text, "README.md", "exec"), {})
    assert (workplace / "breakfast.srec").is_file()
    if os.environ.get("SPARSEREC_DATA"):  # else these are not the films of the README
        (shown,) = (text for language, text in blocks if language == "text")
        films = {int(row[1]) for row in map(str.split, shown.splitlines()) if row[0].isdigit()}
        model = sparserec_np.load("movies.srec")
        best, _ = model.recommend(history=[1, 6377, 5218], k=10, recency=0)
        assert len(films) == 6
        assert len(films & set(best)) >= 4  # the list may change a little with the defaults


def test_the_two_commands_name_extras_that_exist(blocks, project):
    installs = [text for _, text in blocks if "pip install" in text]
    named = [extra for text in installs for extra in re.findall(r"'\.\[(\w+)\]'", text)]
    assert named == ["train", "test"]
    extras = set(metadata("sparserec-np").get_all("Provides-Extra"))
    text = (project / "README.md").read_text(encoding="utf-8")
    later = set(re.findall(r"sparserec-np\[(\w+)\]", text))
    assert later == {"report", "tune", "docs"}
    assert later | set(named) <= extras


def test_links_to_files_lead_somewhere(project):
    text = (project / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (project / target).exists(), target


def test_every_option_named_in_the_readme_exists(project):
    text = (project / "README.md").read_text(encoding="utf-8").replace("pip wheel --no-deps", "")
    known = {
        name
        for command in app.commands.values()
        for option in command.params
        for name in option.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known
