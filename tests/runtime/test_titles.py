"""Items by title: in Python, and alike on the page."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sparserec_np import InputError, Model, UnknownIdError, load
from sparserec_np.modelfile.arrays import ModelArrays
from sparserec_np.modelfile.writer import encode
from sparserec_np.vocabulary import from_values

Make = Callable[..., ModelArrays]
WEB = Path(__file__).resolve().parents[2] / "sparserec_np" / "web"
TITLES = [
    "Toy Story (1995)", "Toy Story 2 (1999)", "Matrix, The (1999)", "Matrix Reloaded, The (2003)",
    "Sabrina (1954)", "Sabrina (1995)", "Été à Łódź", "Sœur & Cie", "Die Hard (1988)",
    "Cité des enfants perdus, La (City of Lost Children, The) (1995)", "You've Got Mail (1998)",
    "千と千尋の神隠し", "WALL·E (2008)", "Straße nach Nirgendwo", "İstanbul\u2019da Aşk", "", "A",
    "Hard Eight (a.k.a. Sydney) (1996)", "ΟΔΥΣΣΕΥΣ", "Ⅻ Monkeys [Twelve] (1995)",
]  # fmt: skip
LOOKED_FOR = [
    "toy story", "TOY STORY 2", "the matrix", "matrix the", "matrix", "Matrix, The", "sabrina",
    "sabrina 1995", "ete a lodz", "soeur", "die hard", "hard", "la cité des enfants perdus",
    "youve",
    "lost children", "神隠し", "wall e", "strasse", "istanbul'da", "", "  ", "a", "οδυσσευς", "xii",
    "monkeys twelve", "toy 1999", "no such film", "1995",
]  # fmt: skip


@pytest.fixture
def model(random_model: Make) -> Model:
    arrays = random_model(3, n_items=len(TITLES))
    ids = from_values(range(100, 100 + 7 * len(TITLES), 7))
    return load(encode(replace(arrays, labels=TITLES, item_ids=ids)))


def titles_of(found: list[tuple[object, str]]) -> list[str]:
    return [title for _, title in found]


def test_titles_are_found_however_they_are_written(model: Model) -> None:
    assert titles_of(model.find("toy story"))[0] == "Toy Story (1995)"
    assert set(titles_of(model.find("TOY story"))) == {"Toy Story (1995)", "Toy Story 2 (1999)"}
    for text in ("The Matrix", "matrix, the", "MATRIX", "matrix 1999"):
        assert titles_of(model.find(text))[0] == "Matrix, The (1999)", text
    for text, title in {
        "ete lodz": "Été à Łódź", "soeur cie": "Sœur & Cie", "youve got": "You've Got Mail (1998)",
        "la cite des enfants perdus": TITLES[9], "strasse": "Straße nach Nirgendwo",
        "神隠し": "千と千尋の神隠し", "die hard": "Die Hard (1988)",
    }.items():  # fmt: skip
        assert titles_of(model.find(text))[0] == title
    assert model.find("no such film") == [] == model.find(" ")
    assert len(model.find("1995", k=2)) == 2
    assert model.find("die hard")[0][0] == 100 + 7 * 8


def test_a_title_or_an_id_means_one_item(model: Model) -> None:
    assert model.resolve("100") == model.resolve("toy story") == model.resolve("Toy Story") == 100
    assert model.resolve("the matrix") == 114
    assert model.resolve("reloaded") == 121
    assert model.resolve("sabrina (1995)") == 135
    with pytest.raises(InputError, match=r"may be several.*128 Sabrina \(1954\)"):
        model.resolve("sabrina")
    for unknown in ("9", "no such film", ""):
        with pytest.raises(UnknownIdError, match="no item has"):
            model.resolve(unknown)


def test_models_without_titles(random_model: Make) -> None:
    numbers = load(encode(random_model(1)))
    with pytest.raises(InputError, match="no titles"):
        numbers.find("toy")
    with pytest.raises(UnknownIdError, match="no titles"):
        numbers.resolve("toy")
    words = load(
        encode(replace(random_model(1, n_items=2), item_ids=from_values(["Abba", "Blur"])))
    )
    assert words.find("ABBA") == [("Abba", "Abba")]
    assert words.resolve("blur") == "Blur"


def test_the_page_finds_the_same(model: Model) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    script = (
        (WEB / "sparserec.js").read_text("utf-8")
        + """
    const { file, texts } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
    sparserec.load(Uint8Array.from(Buffer.from(file, "base64")).buffer).then((model) =>
      process.stdout.write(JSON.stringify(texts.map((text) => model.find(text, 50)))));
    """
    )
    given = {"file": base64.b64encode(model.__getstate__()).decode(), "texts": LOOKED_FOR}
    answer = subprocess.run(
        [node, "-e", script], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    for text, found in zip(LOOKED_FOR, json.loads(answer.stdout), strict=True):
        ids = [id_ for id_, _ in model.find(text, 50)]
        assert model.item_ids.take(found) == ids, text
