"""Input that cannot be used: one clear sentence that names the file, the place and a way on."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sparserec_np.data import read
from sparserec_np.errors import InputError

duckdb = pytest.importorskip("duckdb")

ROWS = "user,item,rating,time\n1,10,4.0,100\n2,20,3.0,200\n"
MANY = "user,item\n" + "".join(f"{n},{n % 97}\n" for n in range(30_000))

# name of the file, its content, options of read, what the message must say
Content = "str | bytes | None"
FILES: list[tuple[str, str, Content, dict[str, object], str]] = [
    # what is there
    ("missing file", "no.csv", None, {}, "there is no file .*no.csv"),
    ("empty file", "a.csv", "", {}, "a.csv is empty"),
    ("blank file", "a.csv", "\n \n\n", {}, "a.csv holds no rows"),
    ("header only", "a.csv", "user,item\n", {}, "holds a header but no rows"),
    ("empty gzip content", "a.csv.gz", gzip.compress(b""), {}, "holds no rows"),
    # a file that is not what its name says
    ("text named gz", "a.csv.gz", ROWS, {}, "named .gz but holds no gz data"),
    ("text named zst", "a.csv.zst", ROWS, {}, "named .zst but holds no zst data"),
    ("gzip named csv", "a.csv", gzip.compress(b"1,2\n"), {}, "name it .*a.csv.gz"),
    ("text named parquet", "a.parquet", ROWS, {}, "named .parquet but holds no Parquet"),
    ("parquet named csv", "a.csv", b"PAR1....PAR1", {}, "holds Parquet data, not text"),
    ("damaged parquet", "a.parquet", b"PAR1" + b"x" * 99, {}, "a.parquet cannot be read"),
    ("Excel file", "a.csv", b"PK\x03\x04" + b"\0" * 60, {}, "a zip archive"),
    ("PDF", "a.csv", b"%PDF-1.7\n", {}, "a PDF document"),
    ("SQLite", "a.csv", b"SQLite format 3\0", {}, "an SQLite database"),
    ("bzip2", "a.csv", b"BZh91AY&SY", {}, "bzip2 data"),
    ("web page", "a.csv", "<!DOCTYPE html><p>Not found", {}, "a web page"),
    ("binary", "a.csv", bytes(range(1, 9)) + b"\0" * 50, {}, "binary data"),
    ("UTF-16 unmarked", "a.csv", ROWS.encode("utf-16-be"), {}, "UTF-16 text: .*utf-16-be"),
    ("CSV named jsonl", "a.jsonl", ROWS, {}, "no JSON lines"),
    ("JSON array", "a.json", '[{"user": 1, "item": 2}]', {}, "begins like a JSON array"),
    # cut short
    ("gzip cut short", "a.csv.gz", gzip.compress(MANY.encode())[:-3000], {}, "damaged or cut"),
    ("gzip without end", "a.csv.gz", gzip.compress(MANY.encode())[:-4], {}, "damaged or cut"),
    ("gzip, only its header", "a.csv.gz", gzip.compress(b"1,2")[:12], {}, "damaged or cut"),
    ("gzip, wrong checksum", "a.csv.gz", gzip.compress(b"1,2\n")[:-8] + b"12345678", {}, "damaged"),
    ("last line cut short", "a.csv", ROWS + "3,30", {}, "line 4: 2 columns instead of 4: '3,30'"),
    # columns
    ("one column", "a.csv", "user\n1\n2\n", {}, r"one column \('user'\)"),
    ("one column, no header", "a.csv", "1\n2\n", {}, "has one column, but"),
    ("unknown column", "a.csv", ROWS, {"user_col": "who"}, "no column 'who'.*user, item, rating"),
    ("position too large", "a.csv", ROWS, {"item_col": "9"}, "no column '9'"),
    ("position zero", "a.csv", ROWS, {"item_col": "0"}, "no column '0'"),
    ("same column twice", "a.csv", ROWS, {"user_col": "2", "item_col": "item"}, "the same column"),
    ("item taken as user", "a.csv", ROWS, {"user_col": "item"}, "which column holds the items"),
    ("no usual names", "a.csv", "a,b,c,d,e\n1,2,3,4,5\n", {}, "users; its columns are: a, b, c, d"),
    ("five columns, no header", "a.csv", "1,2,3,4,5\n", {}, "5 columns and no header.*--user-col"),
    ("no item among many", "a.csv", "user,b,c,d\n1,2,3,4\n", {}, "holds the items; .*--item-col"),
    ("no rating column", "a.csv", MANY, {"min_rating": 3}, "no column looks like a rating"),
    ("no time column", "a.csv", MANY, {"with_times": True}, "no column looks like a time"),
    # rows
    ("missing user", "a.csv", ROWS + ",30,1.0,3\n", {}, "line 4: no user id in column 'user'"),
    ("missing item", "a.csv", ROWS + "3,,1.0,3\n", {}, "line 4: no item id in column 'item'"),
    ("blank item", "a.csv", ROWS + "3,  ,1.0,3\n", {}, "line 4: no item id in column 'item'"),
    ("quoted nothing", "a.csv", ROWS + '"","3",1.0,3\n', {}, "line 4: no user id"),
    (
        "missing rating",
        "a.csv",
        ROWS + "3,30,,3\n",
        {"min_rating": 1},
        "the missing rating in column 'rating'",
    ),
    (
        "rating NaN",
        "a.csv",
        ROWS + "3,30,NaN,3\n",
        {"min_rating": 1},
        "line 4: the rating 'NaN'.*no finite",
    ),
    (
        "rating infinite",
        "a.csv",
        ROWS + "3,30,-inf,3\n",
        {"min_rating": 1},
        "line 4: the rating '-inf'",
    ),
    (
        "rating a word",
        "a.csv",
        ROWS + "3,30,good,3\n",
        {"min_rating": 1},
        "the rating 'good' in column 'rating'",
    ),
    ("rating too large", "a.csv", ROWS + "3,30,1e999,3\n", {"min_rating": 1}, "the rating '1e999'"),
    ("time a word", "a.csv", ROWS + "3,30,1,now\n", {"with_times": True}, "the time 'now'"),
    ("time missing", "a.csv", ROWS + "3,30,1,\n", {"with_times": True}, "the missing time"),
    ("too few columns", "a.csv", ROWS + "3\n4,40,1,4\n", {}, "line 4: 1 column instead of 4: '3'"),
    ("too many columns", "a.csv", ROWS + "3,30,1,2,3\n", {}, "line 4: 5 columns instead of 4"),
    ("quote not closed", "a.csv", ROWS + '"3,30,1,3\n4,40,1,4\n', {}, "line 4: a quote is not"),
    ("text after a quote", "a.csv", ROWS + '"3"x,30,1,3\n', {}, "line 4: a quote is not closed"),
    ("not UTF-8", "a.csv", ROWS.encode() + b"caf\xe9,1,2,3\n", {}, "line 4: not valid UTF-8"),
    ("line too long", "a.csv", ROWS + "x" * 2_200_000 + ",1,1,1\n", {}, "line 4: longer than 2 MB"),
    ("not JSON", "a.jsonl", '{"user": 1, "item": 2}\n{"user": 1,\n', {}, "line 2: not valid JSON"),
    (
        "JSON without item",
        "a.jsonl",
        '{"user": 1, "item": 2}\n{"user": 1}\n',
        {},
        "line 2: no item",
    ),
    ("JSON null", "a.jsonl", '{"user": 1, "item": 2}\n\n{"user": null}\n', {}, "line 3: no user"),
    # options, and nothing left
    ("no such mode", "a.csv", ROWS, {"on_bad_rows": "ignore"}, "'stop' or 'skip', not 'ignore'"),
    ("all ratings low", "a.csv", ROWS, {"min_rating": 9}, "all 2 ratings are below 9"),
    ("minimum not a number", "a.csv", ROWS, {"min_rating": float("nan")}, "a finite number"),
    ("all users rare", "a.csv", ROWS, {"min_user_interactions": 2}, "lower min_user_interactions"),
    ("minimum of zero", "a.csv", ROWS, {"min_item_interactions": 0}, "must be at least 1, not 0"),
    ("memory not a size", "a.csv", ROWS, {"memory_limit": "much"}, "no size such as '2GB'"),
    ("memory too small", "a.csv", MANY, {"memory_limit": "1KB"}, "raise memory_limit"),
    ("no threads", "a.csv", ROWS, {"threads": 0}, "threads must be at least 1"),
    (
        "all rows bad",
        "a.csv",
        "user,item\n1,\n,2\n",
        {"on_bad_rows": "skip"},
        "no usable row among 2; .*line 2: no item id",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [case[1:] for case in FILES],
    ids=[case[0] for case in FILES],
)
def test_what_the_message_says(
    tmp_path: Path,
    name: str,
    content: str | bytes | None,
    options: dict[str, object],
    message: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read(path, **options)
    said = str(caught.value)
    assert re.search(message, said), said
    assert "\n" not in said
    assert "DuckDB" not in said and "read_csv" not in said and "Error" not in said.split("(")[0]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (lambda folder: folder, "is a folder: name the files in it"),
        (lambda folder: str(folder / "*.csv"), r"no file matches .*\*.csv"),
        (lambda folder: [], "no file to read"),
        (lambda folder: ["-", "-"], "only once"),
    ],
)
def test_paths_that_are_no_files(
    tmp_path: Path, paths: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(paths(tmp_path))


def test_zstd_files_that_are_cut_short_or_damaged(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.csv.zst", tmp_path / "a.csv.zst"
    duckdb.sql(f"COPY (SELECT range AS user, 1 AS item FROM range(90000)) TO '{whole}' (HEADER)")
    data = whole.read_bytes()
    assert read(whole).nnz == 90_000
    for length in (5, 9, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="is cut short"):
            read(path)
    path.write_bytes(data + b"more")
    with pytest.raises(InputError, match="is damaged: no zstd frame at byte"):
        read(path)


def test_a_zip_archive_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "ml.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ratings.csv", ROWS)
    with pytest.raises(InputError, match="holds a zip archive"):
        read(path)


def test_parquet_rows_and_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS user, 2 AS item UNION ALL SELECT NULL, 3) TO '{path}'")
    with pytest.raises(InputError, match=r"a.parquet, row 2: no user id in column 'user'"):
        read(path)
    duckdb.sql(f"COPY (SELECT true AS user, 2 AS item) TO '{path}'")
    with pytest.raises(InputError, match="column 'user' is BOOLEAN"):
        read(path)
    duckdb.sql(f"COPY (SELECT 1 AS user, [2] AS item) TO '{path}'")
    with pytest.raises(InputError, match="column 'item' is INTEGER"):
        read(path)


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS user, 2 AS item WHERE false) TO '{path}'")
    with pytest.raises(InputError, match=r"a.parquet: no usable row among 0$"):
        read(path)


def test_the_way_on_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ROWS + "3,,1,1\n")
    with pytest.raises(InputError, match="--on-bad-rows skip"):
        read(path)


def test_skipped_rows_are_counted_and_the_first_five_shown(tmp_path: Path) -> None:
    bad = ["x", ",1,1,1", '"2,2,2,2', "3,3,nan,3", "4,4,4,4,4", "5,,5,5", "6,6,six,6"]
    lines = ["user,item,rating,time"]
    for number, line in enumerate(bad):
        lines += [f"{number},{number},1,1", line]
    path, clean = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("\n".join(lines))
    clean.write_text("user,item,rating\n100,100,1\n,200,1\n")
    interactions = read([clean, path], on_bad_rows="skip", min_rating=0)
    report = interactions.report
    assert (report.rows, report.bad_rows, interactions.nnz) == (16, 8, 8)
    assert [f"{Path(row.file).name} {row.place}" for row in report.bad_examples] == [
        "b.csv line 3",
        "a.csv line 3",
        "a.csv line 5",
        "a.csv line 7",
        "a.csv line 9",
    ]
    assert "8 bad rows skipped" in report.summary()
    assert str(report.bad_examples[0]) == (
        f"{clean}, line 3: no user id in column 'user': ',200,1'"
    )


def test_an_open_quote_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(MANY.replace("\n500,", '\n"500,'))
    interactions = read(path, on_bad_rows="skip")
    assert interactions.nnz == 29_999
    assert interactions.report.bad_examples[0].place == "line 502"


def test_bad_rows_among_values_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = 'user,item,note\n1,10,"two\nlines"\n2,20,"x ""y""\nz"\n,30,plain\n4\n5,50,"and\nmore"\n'
    path.write_text(text)
    interactions = read(path, on_bad_rows="skip")
    assert interactions.user_ids.take([0, 1, 2]) == [1, 2, 5]
    assert interactions.report.bad_rows == 2
    reasons = " ".join(row.reason for row in interactions.report.bad_examples)
    assert "no user id in column 'user': ',30,plain'" in reasons
    assert "1 column instead of 3: '4'" in reasons


def test_lines_are_numbered_past_those_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"user,item\n1,1\n\xff,2\n3,3\n\xfe,4\n5,5\n6,\n\xfd,7\n8,\n")
    report = read(path, on_bad_rows="skip").report
    places = [row.place for row in report.bad_examples]
    assert places == ["line 3", "line 5", "line 7", "line 8", "line 9"]
    assert report.bad_rows == 5
    assert report.rows == 8


def test_a_file_that_vanishes_between_check_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(ROWS)
    connect = duckdb.connect

    def remove_and_connect(*args: object, **options: object) -> object:
        path.unlink()
        return connect(*args, **options)

    monkeypatch.setattr(duckdb, "connect", remove_and_connect)
    with pytest.raises(InputError, match=r"a\.csv cannot be read"):
        read(path)
