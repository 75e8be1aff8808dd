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


def test_every_module_that_contributing_names_exists(project):
    text = (project / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = "".join(line.split("|")[2] for line in text.splitlines() if line.startswith("| "))
    for name in re.findall(r"`([a-z_]+/?)`", table):
        path = project / "sparserec_np" / name
        assert path.is_dir() or path.with_suffix(".py").is_file() or (project / name).is_dir()
