"""The page for people who know another library: our side of it runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def text(project: Path) -> str:
    return (project / "docs" / "coming-from.md").read_text(encoding="utf-8")


def test_our_blocks_run_in_order(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    names: dict = {}
    for block in blocks:
        exec(compile(block, "coming-from.md", "exec"), names)
    assert names["similar"]
    assert "tea" not in names["similar"]
    assert set(names["again"]) >= {"tea", "scones", "jam"}
    assert set(names["chosen"]) == {"honey", "bagel"}
    assert names["search"].best_score_ > 0
    assert (tmp_path / "baskets.srec").is_file()


def test_blocks_of_others_say_whose_they_are(text):
    foreign = re.findall(r"^```py\n(.*?)\n", text, flags=re.MULTILINE)
    assert [line.lstrip("# ").split(",")[0] for line in foreign] == [
        "implicit", "LightFM", "LensKit", "Cornac", "RecTools", "RecBole",
    ]  # fmt: skip
    for block in re.findall(r"^```py\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        compile(block, "foreign", "exec")
