"""Items by title, and wishes, on the command line: the answers of Python."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.command_line import fails, run, run_json

from sparserec_np import load
from sparserec_np.modelfile.writer import encode
from sparserec_np.vocabulary import from_values

pytestmark = pytest.mark.usefixtures("log_as_it_was")


@pytest.fixture(scope="module")
def titled(random_model, tmp_path_factory):
    """A model with titles, made by hand."""
    arrays = replace(
        random_model(3, n_items=40, recency=0.5),
        item_ids=from_values(range(100, 140)),
        labels=["Toy Story (1995)", "Toy Story 2 (1999)", "Matrix, The (1999)", *"abcdefghij" * 3]
        + ["Été"] * 7,
    )
    path = tmp_path_factory.mktemp("titled") / "m.srec"
    path.write_bytes(encode(arrays))
    return path


def test_items_are_named_by_title(titled):
    assert run_json("search", titled, "toy", "STORY") == {
        "items": [100, 101], "labels": ["Toy Story (1995)", "Toy Story 2 (1999)"]
    }  # fmt: skip
    by_title = run_json("similar", titled, "the matrix", "-k", 3)
    assert by_title == run_json("similar", titled, 102, "-k", 3)
    liked = run_json("recommend", titled, "--like", "toy story", "--like", 102, "-k", 4)
    model = load(titled)
    assert liked["items"] == model.recommend(history=[102, 100], k=4, recency=0)[0]
    fails(run("recommend", titled, "--like", "ete"), "may be several items, give one's id: ")
    fails(
        run("similar", titled, "no such film"), "no item has the id or the title 'no such film'\n"
    )


def test_what_is_not_found_is_said_and_why(titled, random_model, tmp_path):
    found = run("search", titled, "no", "such", "film")
    assert (found.exit_code, found.stdout.splitlines()) == (0, ["item\ttitle"])
    assert found.stderr == "warning: nothing has all words of 'no such film'\n"
    bare = tmp_path / "bare.srec"
    arrays = replace(random_model(3, n_items=8), item_ids=from_values(list("abcdefgh")))
    bare.write_bytes(encode(replace(arrays, labels=None)))
    lack = "'film'; the model has no titles (fit with --labels)\n"
    assert run("search", bare, "film").stderr.endswith(lack)
    fails(run("similar", bare, "film"), lack)
    fails(run("recommend", titled, "--history", "100,film"), "; --like takes titles")


def test_wishes_of_the_command_line_are_those_of_python(titled):
    args = ("--history", "100,101,102", "--popularity", 0.3, "--diversity", 0.4, "--recency", 0.25)
    more = ("--dislike", "105", "--exclude", "110,111", "--candidates", "103,105,110,120,121,122")
    got = run_json("recommend", titled, *args, *more, "-k", 5, "--why")
    model = load(titled)
    wishes = {"popularity": 0.3, "recency": 0.25, "dislikes": [105]}
    expected, scores = model.recommend(
        history=[100, 101, 102], k=5, exclude=[100, 101, 102, 110, 111], diversity=0.4,
        candidates=[103, 105, 110, 120, 121, 122], **wishes,
    )  # fmt: skip
    assert got["items"] == expected and got["scores"] == scores.tolist()
    why = model.explain(expected[0], history=[100, 101, 102], **wishes)
    assert got["why"][0]["bias"] == why.bias
    assert [(part["id"], part["share"]) for part in got["why"][0]["parts"]] == why.parts
    assert "%" in run("recommend", titled, *args, "--why").stdout
    fails(run("recommend", titled, *args[:2], "--popularity", 2), "popularity must be a number")
    fails(run("recommend", titled, *args[:2], "--like", 100), "Give one of")


def test_all_users_go_to_csv_with_titles(titled, tmp_path):
    (tmp_path / "likes.csv").write_text("user,item\n1,100\n1,101\n2,102\n2,110\n")
    given = ("recommend", titled, "--all-users", "--interactions", tmp_path / "likes.csv", "-k", 2)
    wishes = ("--recency", 0, "--popularity", 0.5)
    run(*given, *wishes, "-o", tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert lines[0] == "user,rank,item,score,title" and len(lines) == 5
    (first, _) = load(titled).recommend(history=[100, 101], k=2, recency=0, popularity=0.5)[0]
    assert lines[1].startswith(f"1,1,{first},")
    assert run(*given, *wishes, "-o", "-").stdout.splitlines() == lines
    fails(run(*given, "-o", tmp_path / "all.txt"), "ends in .parquet or .csv")
