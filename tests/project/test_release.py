"""Files that a release carries say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sparserec_np


@pytest.fixture(params=["CHANGELOG.md", "CONTRIBUTING.md"])
def page(request: pytest.FixtureRequest, project: Path) -> str:
    return (project / request.param).read_text(encoding="utf-8")


def test_links_to_files_lead_somewhere(page, project):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page):
        assert (project / target).exists(), target


def test_the_citation_is_of_this_version_and_of_the_paper(project):
    citation = (project / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {sparserec_np.__version__}\n" in citation
    assert "https://arxiv.org/abs/2411.12205" in citation
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert "https://arxiv.org/abs/2411.12205" in readme


def test_the_changelog_has_the_shape_of_keep_a_changelog(project):
    text = (project / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    versions = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert all(re.fullmatch(r"\[Unreleased\]|\[[\d.]+\] - \d{4}-\d\d-\d\d", v) for v in versions)
    assert versions[0] == "[Unreleased]" or sparserec_np.__version__ in versions[0]
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_path_that_contributing_names_exists(project):
    text = (project / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = re.findall(r"^  +([\w.]+/?)", text.split("## Test")[0], flags=re.MULTILINE)
    named = re.findall(r"`([\w.-]+/(?:[\w.-]+/?)*|\w+\.py)`", text)
    assert len(tree) > 15 and len(named) > 15
    package = project / "sparserec_np"
    folders = (project, package, package / "modelfile", package / "training")
    for name in {*tree, *named} - {"movielens-small/"}:  # which is a data set
        assert any((folder / name).exists() for folder in folders), name


def test_the_tree_of_contributing_is_whole(project):
    text = (project / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Test")[0]
    for path in (project / "sparserec_np").iterdir():
        if not path.name.startswith("_") and path.suffix not in {".md", ".typed"}:
            name = f"{path.name}/" if path.is_dir() else path.name
            assert f"  {name}" in text, name
