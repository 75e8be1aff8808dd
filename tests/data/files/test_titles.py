"""Titles are read by the same reader as ratings."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sparserec_np.data.files.titles import read_titles
from sparserec_np.errors import InputError

duckdb = pytest.importorskip("duckdb")

EXPECTED = {"1": "Film, the 1st", "2": "Film 2"}
FILES: dict[str, tuple[str, str | bytes]] = {
    "movies.csv": ("movies.csv", 'movieId,title,genres\n1,"Film, the 1st",A|B\n2,Film 2,C\n'),
    "other order": ("a.csv", 'title,item_id\n"Film, the 1st",1\nFilm 2,2\n'),
    "plain names": ("a.tsv", "id\tname\n1\tFilm, the 1st\n2\tFilm 2\n"),
    "movies.dat": ("movies.dat", "1::Film, the 1st::A|B\n2::Film 2::C\n"),
    "u.item": ("u.item", "1|Film, the 1st|01-Jan-1995||http://x|0\n2|Film 2|02-Jan-1995|||1\n"),
    "gzip": ("a.csv.gz", gzip.compress(b'id,title\n1,"Film, the 1st"\n2,Film 2\n')),
    "JSON": ("a.jsonl", '{"id": 1, "title": "Film, the 1st"}\n{"id": 2.0, "title": "Film 2"}\n'),
    "semicolons": ("a.csv", "movieId;title\n1;Film, the 1st\n2;Film 2\n"),
}


@pytest.mark.parametrize("kind", FILES)
def test_titles(tmp_path: Path, kind: str) -> None:
    name, content = FILES[kind]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert read_titles(str(path)) == (EXPECTED, [])


@pytest.mark.parametrize("delimiter", ["::", ","])
def test_titles_of_as_many_words_each(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / ("movies.dat" if delimiter == "::" else "movies.csv")
    lines = [delimiter.join((str(n), f"Film {n} (1995)", "Drama")) for n in range(1, 9)]
    path.write_text("\n".join(lines))
    assert read_titles(str(path), "1", "2")[0]["3"] == "Film 3 (1995)"


def test_columns_are_asked_for_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sku,words,note\nx1,one,n\nx2,two,n\n")
    assert read_titles(str(path), "sku", "words")[0] == {"x1": "one", "x2": "two"}
    assert read_titles(str(path), "1", "3")[0] == {"x1": "n", "x2": "n"}
    with pytest.raises(
        InputError, match=r"cannot tell which column holds the titles.*: sku, words"
    ):
        read_titles(str(path))


def test_latin_1_and_lines_without_a_title_are_mentioned(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes("1::Café::A\n2::Amélie::B\n3::::C\n".encode("latin-1"))
    titles, notes = read_titles(str(path))
    assert titles == {"1": "Café", "2": "Amélie"}
    assert "not UTF-8: it was read as Latin-1" in notes[0]
    assert "1 of 3 lines have no id or no title" in notes[1]


def test_titles_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,title,x\n1,"two\nlines",a\n2,"say ""x""",b\n')
    assert read_titles(str(path))[0] == {"1": "two\nlines", "2": 'say "x"'}


def test_a_name_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "movies[1].csv").write_text("id,title\n1,right\n")
    (tmp_path / "movies1.csv").write_text("id,title\n1,wrong\n")
    monkeypatch.chdir(tmp_path)
    assert read_titles("movies[1].csv")[0] == {"1": "right"}
    with pytest.raises(InputError, match=r"there is no file movies\?\.csv"):
        read_titles("movies?.csv")
