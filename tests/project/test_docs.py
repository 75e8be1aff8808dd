"""The documentation: it builds without a warning, its code works, its pictures are true."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib.metadata import metadata
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from click.testing import CliRunner
from support.movielens import write_movielens

import sparserec_np
from sparserec_np.cli.app import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


pytestmark = pytest.mark.usefixtures("log_as_it_was")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and with the files that the pages take for granted."""
    folder = tmp_path_factory.mktemp("docs")
    write_movielens(folder)
    line = "fit ratings.csv -o movies.srec --labels movies.csv:movieId,title --epochs 2 -q"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    return folder


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, text and first line of each block of code. Those marked ``py`` are of others."""
    found = re.finditer(r"^```(\w+)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [(m[1], m[2], m.string.count("\n", 0, m.start()) + 2) for m in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_works(page, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {"__name__": "page"}
    for language, text, line in blocks(page):
        if language == "python":
            code = compile("\n" * (line - 1) + text, str(page), "exec")
            exec(code, names)
        elif language == "sh":
            for command in text.splitlines():
                program, *arguments = shlex.split(command)
                if program == "sparserec-np":
                    if arguments[0] == "fit" and "--warm-start" not in arguments:
                        arguments.append("--fast")  # the pages are about commands, not quality
                    result = CliRunner().invoke(app, arguments)
                    assert result.exit_code == 0, f"{command}\n{result.output}"


def test_there_are_pages_and_they_have_code():
    assert {"quickstart", "how-it-works", "choosing", "embedding", "format", "benchmarks"} <= {
        page.stem for page in PAGES
    }
    assert sum(language == "python" for page in PAGES for language, *_ in blocks(page)) > 10


def test_every_page_is_in_the_navigation():
    index = (DOCS / "index.md").read_text("utf-8")
    groups = re.findall(r"```\{toctree\}\n(.*?)```", index, flags=re.DOTALL)
    entries = "".join(groups)
    assert len(groups) == entries.count(":caption:") == 3
    listed = [line for line in entries.splitlines() if line and not line.startswith(":")]
    assert sorted([*listed, "index"]) == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_extras_named_on_a_page_exist(page):
    text = page.read_text("utf-8").replace("pip wheel --no-deps", "")
    known = {
        name
        for command in app.commands.values()
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
    }
    assert (
        set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"```py\n.*?```", "", text, flags=re.S)))
        <= known
    )
    extras = set(metadata("sparserec-np").get_all("Provides-Extra"))
    assert set(re.findall(r"(?:\.|sparserec-np)\[(\w+)\]", text)) <= extras


class Links(HTMLParser):
    """Collects the ids of a page, what it links to, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids.add(found.get("id", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if LOADED.get(tag) in found:
            self.loads.append(found[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Links]:
    """The built pages; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, out / "html"]
    done = subprocess.run(
        [*command, "-d", out / "cache"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {path: Links(path) for path in sorted((out / "html").glob("*.html"))}


def test_every_link_leads_somewhere(site):
    assert {page.stem for page in PAGES} <= {path.stem for path in site}
    outside = set()
    for path, page in site.items():
        for link in [*page.links, *page.loads]:
            if re.match(r"\w+:", link):
                outside.add(link)
                continue
            target, anchor = urldefrag(unquote(link))
            file = path.parent / target.partition("?")[0] if target else path
            assert file.exists(), f"{path.name}: {link}"
            if anchor and file.suffix == ".html":
                assert anchor in site[file].ids, f"{path.name}: {link}"
    assert all(re.match(r"https://[\w.-]+/", link) for link in outside), outside


def test_the_pages_load_nothing_from_elsewhere(site):
    loads = {load for page in site.values() for load in page.loads}
    assert loads and not any(re.match(r"(\w+:)?//", load) for load in loads)


def test_the_reference_has_every_public_name(site):
    (reference,) = (page for path, page in site.items() if path.stem == "api")
    missing = {f"sparserec_np.{name}" for name in sparserec_np.__all__} - reference.ids
    assert missing == {"sparserec_np.__version__"}
    (commands,) = (page for path, page in site.items() if path.stem == "commands")
    for name, command in app.commands.items():
        for option in command.params:
            if option.opts[0].startswith("--"):
                assert f"cmdoption-sparserec-np-{name}{option.opts[0][1:]}" in commands.ids


def test_the_pictures_are_those_that_the_script_draws(tmp_path):
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    drawn = pictures.draw(tmp_path)
    assert {path.name for path in drawn} == {path.name for path in (DOCS / "pictures").iterdir()}
    for path in drawn:
        new, kept = path.read_text("utf-8"), (DOCS / "pictures" / path.name).read_text("utf-8")
        if path.stem == "file":  # how well titles deflate depends on the version of zlib
            new, kept = (re.sub(r"[\d.,]+", "0", text) for text in (new, kept))
        assert new == kept, f"run docs/pictures.py: {path.name}"
        root = ET.parse(path).getroot()
        assert root.attrib["aria-label"]
        # Colours are variables, so that dark mode can change them.
        style = root.find("{http://www.w3.org/2000/svg}style").text
        assert "prefers-color-scheme:dark" in style
        assert not any("fill" in e.attrib and e.attrib["fill"] != "none" for e in root.iter())
        used = " ".join((DOCS / page.name).read_text("utf-8") for page in PAGES)
        assert f"pictures/{path.name}" in used


def test_the_move_in_the_picture_keeps_the_number_of_weights():
    text = (DOCS / "pictures" / "explore.svg").read_text("utf-8")
    cells = re.findall(
        r'<rect x="([\d.]+)" y="[\d.]+" width="19" height="19" rx="2" class="(\w+)"', text
    )
    before = sum(kind == "a" for x, kind in cells if float(x) < 200)
    pruned = sum(kind == "cut" for x, kind in cells if float(x) < 200)
    kept = sum(kind == "a" for x, kind in cells if float(x) > 480)
    grown = sum(kind == "c" for x, kind in cells if float(x) > 480)
    assert pruned == grown == 5
    assert kept + grown == before
