"""Files of the kinds that people have: each is read as meant, or refused with what to give."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from support.interactions import pairs_of

from sparserec_np.data import read
from sparserec_np.errors import InputError

pytest.importorskip("duckdb")

N = [(1, 10), (1, 20), (2, 10)]
T = [("u1", "i1"), ("u1", "i2"), ("u2", "i1")]
ROWS = "1,10\n1,20\n2,10\n"
TEXT = "u1,i1\nu1,i2\nu2,i1\n"
RATED = "user;item;plays\n1;10;{}\n1;20;{}\n2;10;{}\n"
DATED = "user,item,date\n1,10,{}\n1,20,{}\n2,10,{}\n"
MANY = "".join(f"{u}{{0}}{u * 7 % 50 + n}{{0}}{n % 5 + 1}\n" for u in range(30) for n in range(2))
JSON = '{{"user": {}, "item": 10}}\n{{"user": 1, "item": 20}}\n{{"user": 2, "item": 10}}\n'

# name: name of the file, content, options, the interactions or what the refusal says
KINDS: dict[str, tuple[str, str | bytes, dict[str, object], object]] = {
    # delimiters
    "commas in a .tsv": ("a.tsv", "1\t10\tx,y\n1\t20\tz,w\n2\t10\tq,r\n", {}, N),
    "pipes within a column": ("a.csv", "1,10,A|B\n1,20,C|D\n2,10,E|F\n", {}, N),
    "colons within a column": ("a.csv", "1,10,A::B\n1,20,C::D\n2,10,E::F\n", {}, N),
    "semicolons within a column": ("a.txt", "1,10,a;b\n1,20,c;d\n2,10,e;f\n", {}, N),
    "commas within ::": ("a.dat", "1::10::a,b\n1::20::c,d\n2::10::e,f\n", {}, N),
    "decimal commas": ("a.csv", "1;10;4,5\n1;20;3,0\n2;10;2,5\n", {}, N),
    "tabs, or commas": ("a.csv", "x0\ta,a\nx0\tb,a\nx1\tb,b\n", {"header": False}, "by tab or ,"),
    "text either way": ("a.txt", "u1,i1|x\nu1,i2|y\nu2,i1|z\n", {}, "separated by , or |.*--delim"),
    "text either way, said": ("a.txt", "u1|i1\nu1|i2\nu2|i1\n", {"delimiter": "|"}, T),
    "two delimiters in the names": ("a.txt", "user,item|x\n1,10|1\n1,20|2\n2,10|3\n", {}, "."),
    "names by one, rows by another": ("a.csv", "user,item\n1;10\n1;20\n", {}, "other columns"),
    "sep=": ("a.csv", "sep=;\nuser;item\n1;10\n1;20\n2;10\n", {}, N),
    "sep= with BOM": ("a.csv", "\ufeffsep=|\nuser|item\n1|10\n1|20\n2|10\n", {}, N),
    "tab by name": ("a.csv", "1\t10\n1\t20\n2\t10\n", {"delimiter": "tab"}, N),
    "another delimiter": ("a.txt", "1~10\n1~20\n2~10\n", {"delimiter": "~"}, N),
    "no delimiter": ("a.txt", ROWS, {"delimiter": '"'}, "the delimiter .* is none"),
    "aligned by blanks": ("a.txt", "user   item\n1        10\n1        20\n2        10\n", {}, N),
    "aligned, indented": ("a.txt", "  1  10\n  1  20\n  2  10\n", {}, N),
    "dates with blanks": (
        "a.csv",
        "1,10,2020-01-02 10:00:00\n1,20,2020-01-02 11:00:00\n",
        {},
        N[:2],
    ),
    "columns asked for": (
        "a.txt",
        "who|x;what\n1|2;10\n",
        {"user_col": "who", "item_col": "x;what"},
        [(1, "2;10")],
    ),
    # headers
    "a title with a number": (
        "a.txt",
        "Ratings of 2020\n1 10 4\n1 20 5\n2 10 3\n",
        {},
        "may name the columns or be a row",
    ),
    "a title of as many words": ("a.txt", "Ratings 2020\n1 10\n1 20\n", {}, "or be a row"),
    "a missing id first": (
        "a.csv",
        "NULL,5,1\n1,10,4\n1,20,5\n2,10,3\n",
        {"on_bad_rows": "skip"},
        N,
    ),
    "one id that is a word": (
        "a.csv",
        "x7,10,4\n1,20,5\nx2,10,3\n",
        {},
        [("1", 20), ("x2", 10), ("x7", 10)],
    ),
    "RecBole": ("a.inter", "user_id:token\titem_id:token\nu1\ti1\nu1\ti2\nu2\ti1\n", {}, T),
    "table names": ("a.csv", "ratings.user_id,ratings.item_id\n" + TEXT, {}, T),
    "names of names": ("a.csv", "customer_name,product_idx\n" + TEXT, {}, T),
    "Neo4j": ("a.csv", ":START_ID(User),:END_ID(Item)\n" + TEXT, {}, T),
    "upper case": ("a.csv", "USER_ID,ITEM_ID\n" + TEXT, {}, T),
    "camel case": ("a.csv", "theUser,itemId\n" + TEXT, {}, T),
    "blanks around names": ("a.csv", " User ID , Item ID \n" + TEXT, {}, T),
    "quoted names alone": ("a.csv", '"user","item"\n' + TEXT, {}, T),
    "# before the names": ("a.csv", "#user,item\n" + TEXT, {}, T),
    "# and a blank before the names": ("a.csv", "# user,item\n" + TEXT, {}, T),
    "names in a comment, other order": ("a.csv", "# item,user\ni1,u1\ni2,u1\ni1,u2\n", {}, T),
    "words above words": ("a.csv", "who,what\nann,tea\nbob,milk\n", {}, "--header or --no-header"),
    "words above words, said": ("a.csv", "who,what\nann,tea\n", {"header": True}, [("ann", "tea")]),
    "no header, said": (
        "a.csv",
        "ann,tea\nbob,ale\n",
        {"header": False},
        [("ann", "tea"), ("bob", "ale")],
    ),
    "words that come again": ("a.csv", "ann,tea\nann,ale\n", {}, [("ann", "ale"), ("ann", "tea")]),
    "ids of a pattern": ("a.csv", TEXT, {}, T),
    "half a header": ("a.csv", "book,i3\nann,i4\nbob,i3\n", {}, "--header or --no-header"),
    "a title above": ("a.csv", "Report of May\n\nuser,item\n" + ROWS, {}, N),
    "a title with commas above": ("a.csv", "Ratings, May, 2020\nuser,item\n" + ROWS, {}, N),
    "R's row names": (
        "a.csv",
        "user,item\n1,1,10\n2,1,20\n3,2,10\n",
        {},
        "names 2 columns, but its",
    ),
    "R's row names, said": (
        "a.csv",
        "user,item\n1,1,10\n2,1,20\n3,2,10\n",
        {"user_col": "2", "item_col": "3"},
        N,
    ),
    "a header skipped": ("a.csv", 'user,"item\n' + ROWS, {"on_bad_rows": "skip"}, "other columns"),
    "joined with BOM": ("a.csv", "user,item\n" + TEXT + "\ufeffuser,item\n" + TEXT, {}, T),
    "joined with quotes": ("a.csv", "user,item\n" + TEXT + '"user","item"\n' + TEXT, {}, T),
    "joined with other case": ("a.csv", "user,item\n" + TEXT + "User,ITEM\n" + TEXT, {}, T),
    "joined with a rating": (
        "a.csv",
        ("user,item,rating\nu1,i1,4\n" + "User,Item,Rating\nu1,i2,3\n"),
        {"min_rating": 1},
        T[:2],
    ),
    "joined, other order": (
        "a.csv",
        "user,item\n" + TEXT + "item,user\ni1,u1\n",
        {},
        "looks like a header",
    ),
    "doubled names": ("a.csv", "user,user,item\n1,2,10\n", {}, "several columns .*--user-col 1"),
    "unusual names of three": ("a.csv", "id,who,what\n1,1,10\n2,1,20\n", {}, "cannot tell which"),
    "names in Latin-1": (
        "a.csv",
        "user,item,Größe\n".encode("latin-1") + b"1,10,3\n1,20,4\n2,10,5\n",
        {},
        N,
    ),
    # roles
    "times second": (
        "a.csv",
        "1,978300760,10\n1,978300761,20\n2,978300762,10\n",
        {},
        "looks like times",
    ),
    "times first": ("a.csv", "1433221332117,1,10\n1433221332118,1,20\n", {}, "looks like times"),
    "dates second": ("a.csv", "1,2020-01-02,10\n1,2020-01-03,20\n", {}, "looks like times"),
    "ratings second": (
        "a.csv",
        "".join(f"{u},{u % 5},{u + 50}\n" for u in range(30)),
        {},
        "looks like ratings",
    ),
    "fractions second": ("a.csv", "1,4.5,10\n1,3.0,20\n", {}, "looks like ratings"),
    "three plain columns": ("a.txt", MANY.format("\t"), {"item_col": "2"}, 60),
    "item first by name": ("a.csv", "item,user\n10,1\n20,1\n10,2\n", {}, N),
    "ratings first": (
        "a.csv",
        "".join(f"{n % 5 + 1},{n},{n + 100}\n" for n in range(40)),
        {},
        "looks like ratings",
    ),
    "names below a row": ("a.csv", "Ratings,2020\nuser,item\n" + ROWS, {}, "looks like a header"),
    # ids
    **{
        f"missing: {text}": ("a.csv", f"user,item\nu1,i1\nu1,{text}\n", {}, "line 3: no item id")
        for text in (
            "NULL",
            r"\N",
            "None",
            "nan",
            "NaN",
            "N/A",
            "<NA>",
            "#N/A",
            "NA",
            " null ",
            '"NULL"',
        )
    },
    "a table of Markdown": ("a.txt", "|user|item|\n|---|:--:|\n|1|10|\n", {}, "no user id"),
    "missing, skipped": (
        "a.csv",
        "user,item\n" + TEXT + "NULL,i1\nu1,nan\n",
        {"on_bad_rows": "skip"},
        T,
    ),
    "missing, kept": ("a.csv", "user,item\nNULL,i1\n", {"missing_ids": ()}, [("NULL", "i1")]),
    "missing, own": ("a.csv", "user,item\nguest,i1\n", {"missing_ids": ["guest"]}, "no user id"),
    "missing in JSON": ("a.jsonl", JSON.format('"NULL"'), {}, "line 1: no user id"),
    "7 and 7.0": ("a.csv", "user,item\n7,1.0\n7.0,1\n8,2.0\n", {}, [(7, 1), (8, 2)]),
    "7 and 7.0 with words": ("a.csv", "user,item\n7,1\n7.0,1\nx,1\n", {}, [("7", 1), ("x", 1)]),
    "7.0 in JSON": ("a.jsonl", JSON.format("1.0"), {}, N),
    "blanks around ids": ("a.csv", "user, item\nu1, i1\nu1 , i2\n u2,i1\n", {}, T),
    "blanks of other kinds": ("a.csv", "user,item\nu1\u00a0,i1\nu1,\u00a0i2\nu2,i1\n", {}, T),
    "blanks in quotes": ("a.csv", 'user,item\n" u1","i1 "\nu1,i2\nu2,i1\n', {}, T),
    "lists in JSON": ("a.jsonl", JSON.format("[1, 2]"), {}, "integers or text, not lists"),
    "objects in JSON": ("a.jsonl", JSON.format('{"a": 1}'), {}, "integers or text, not lists"),
    "booleans in JSON": ("a.jsonl", JSON.format("true"), {}, "integers or text, not lists"),
    "text like a list in JSON": (
        "a.jsonl",
        JSON.format('"[1]"'),
        {},
        [("1", 20), ("2", 10), ("[1]", 10)],
    ),
    "$oid": ("a.jsonl", '{"user": {"$oid": "a"}, "item": {"$numberLong": "10"}}', {}, [("a", 10)]),
    "$date": (
        "a.jsonl",
        '{"user": 1, "item": 10, "date": {"$date": "2020-01-01T00:00:00Z"}}',
        {"with_times": True},
        N[:1],
    ),
    "NUL in an id": ("a.csv", "user,item\n" + "1,2\n" * 2000 + "1,a\0b\n", {}, "NUL character"),
    "NUL in JSON": ("a.jsonl", JSON.format(r'"a\u0000"'), {}, "NUL character"),
    "large integers": ("a.csv", "user,item\n76561197960265729,1\n", {}, [(76561197960265729, 1)]),
    # ratings
    "blank ratings": ("a.csv", "user,item,rating\n1,10,\n1,20,5\n2,10,\n", {}, N),
    "ratings of words": ("a.csv", "user,item,rating\n1,10,love\n1,20,like\n2,10,ok\n", {}, N),
    "no rating column": (
        "a.csv",
        "user,item,rating\n1,10,-1\n1,20,5\n2,10,3\n",
        {"rating_col": "none"},
        N,
    ),
    "dislikes": (
        "a.csv",
        "user,item,rating\n1,10,-1\n1,20,1\n2,10,1\n",
        {},
        "is a dislike.*--min-rating",
    ),
    "dislikes left out": (
        "a.csv",
        "user,item,rating\n1,10,-1\n1,20,1\n2,10,1\n",
        {"min_rating": 0},
        N[1:],
    ),
    "thousands, clear": (
        "a.csv",
        RATED.format("1,234,567", "12", "1,234"),
        {"min_rating": 1000},
        [N[0], N[2]],
    ),
    "thousands, German": (
        "a.csv",
        RATED.format("1.234,5", "12", "1.234"),
        {"min_rating": 1000},
        [N[0], N[2]],
    ),
    "thousands, English": (
        "a.csv",
        RATED.format("1,234.5", "12", "1,234"),
        {"min_rating": 1000},
        [N[0], N[2]],
    ),
    "thousands or fractions": (
        "a.csv",
        RATED.format("1,234", "12", "5"),
        {"min_rating": 2},
        "a thousand or",
    ),
    "points: thousands or fractions": (
        "a.csv",
        RATED.format("1.234", "12", "5"),
        {"min_rating": 2},
        "a thousand or",
    ),
    "three decimals, clear": (
        "a.csv",
        RATED.format("1.234", "0.125", "4.5"),
        {"min_rating": 1},
        [N[0], N[2]],
    ),
    "decimal commas, clear": ("a.csv", RATED.format("4,5", "3,0", "2,5"), {"min_rating": 3}, N[:2]),
    "quoted thousands": (
        "a.csv",
        'user,item,plays\n1,10,"1,234"\n1,20,12\n',
        {"min_rating": 2},
        "a thousand or",
    ),
    # times
    "ISO": (
        "a.csv",
        DATED.format("2020-01-01", "2020-01-02T00:00:00Z", "2020-01-03"),
        {"with_times": True},
        N,
    ),
    "German dates": (
        "a.csv",
        DATED.format("31.12.2019", "01.02.2020", "2.3.2020 10:00"),
        {"with_times": True},
        N,
    ),
    "US dates": (
        "a.csv",
        DATED.format("12/31/2019", "1/2/2020", "02/03/2020"),
        {"with_times": True},
        N,
    ),
    "British dates": (
        "a.csv",
        DATED.format("31/12/2019", "1/2/2020", "02/03/2020"),
        {"with_times": True},
        N,
    ),
    "dates that may be both": (
        "a.csv",
        DATED.format("1/2/2019", "1/2/2020", "2/3/2020"),
        {"with_times": True},
        "may be day and month",
    ),
    "dates that are both": (
        "a.csv",
        DATED.format("31/12/2019", "12/31/2020", "2/3/2020"),
        {"with_times": True},
        "may be day and month",
    ),
    "no time column": ("a.csv", DATED.format("x", "y", "z"), {"time_col": "none"}, N),
    # encodings
    "Latin-1 elsewhere": (
        "a.csv",
        "user,item,t\n1,10,é\n1,20,ü\n2,10,ö\n".encode("latin-1"),
        {},
        N,
    ),
    "Latin-1 in ids": (
        "a.csv",
        "user,item\né,1\n".encode("latin-1"),
        {},
        "line 2: not valid UTF-8: .*--encoding",
    ),
    "Latin-1, said": (
        "a.csv",
        "user,item\né,1\n".encode("latin-1"),
        {"encoding": "latin-1"},
        [("é", 1)],
    ),
    "cp1252 in gzip": (
        "a.csv.gz",
        gzip.compress("user,item\n€,1\n".encode("cp1252")),
        {"encoding": "cp1252"},
        [("€", 1)],
    ),
    "UTF-16": ("a.csv", ("user,item\n" + ROWS).encode("utf-16"), {}, N),
    "UTF-16, tabs": ("a.txt", "user\titem\n1\t10\n1\t20\n2\t10\n".encode("utf-16"), {}, N),
    "UTF-16 without a mark": (
        "a.csv",
        ("user,item\n" + ROWS).encode("utf-16-le"),
        {},
        "--encoding utf-16-le",
    ),
    "UTF-16 without a mark, said": (
        "a.csv",
        ROWS.encode("utf-16-le"),
        {"encoding": "utf-16-le"},
        N,
    ),
    "no such encoding": ("a.csv", ROWS, {"encoding": "klingon"}, "no encoding 'klingon'"),
    "no text encoding": ("a.csv", ROWS, {"encoding": "hex"}, "no encoding 'hex'"),
    # quotes
    "backslash before quotes": (
        "a.csv",
        'user,item,t\n1,10,"a \\"b\\", c"\n1,20,"\\"x\\""\n2,10,z\n',
        {},
        N,
    ),
    "backslash in ids": ("a.csv", 'user,item\n"a\\"b",10\n', {}, [('a"b', 10)]),
    "backslash at the end": ("a.csv", 'user,item,t\n1,10,"C:\\"\n1,20,"D:\\"\n2,10,x\n', {}, N),
    "backslash and line ends": (
        "a.csv",
        'user,item,t\n1,10,"a \\"b\\"\nc"\n1,20,x\n2,10,z\n',
        {},
        N,
    ),
    "doubled quotes": ("a.csv", 'user,item,t\n1,10,"a ""b"", c"\n1,20,""""\n2,10,z\n', {}, N),
    # lists
    "lists": ("train.txt", "1 10 20\n2 10\n", {"format": "lists"}, N),
    "lists by tab": ("train.txt", "1\t10\t20\n2\t10\n3\n", {"format": "lists"}, N),
    "lists, not said": (
        "train.txt",
        "1 10 20\n2 10\n3 10 20 30\n4 5 6 7 8\n",
        {},
        "--format lists",
    ),
    "no such format": ("a.txt", ROWS, {"format": "libsvm"}, "'lists' or left"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_as_meant_or_refused(tmp_path: Path, kind: str) -> None:
    name, content, options, expected = KINDS[kind]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            read(path, **options)
        said = str(caught.value)
        assert re.search(expected, said), said
        assert "\n" not in said
        return
    found = read(path, **options)
    assert found.nnz == expected if isinstance(expected, int) else pairs_of(found) == expected


NOTED = {
    "an index as users": ("0,u1,i1\n1,u1,i2\n2,u2,i1\n", {}, "counts the rows"),
    "dates that may be both": (
        DATED.format("1/2/2019", "1/2/2020", "2/3/2020"),
        {"with_times": None},
        "not used, as '1/2/2019' may be",
    ),
    "times of words": (
        DATED.format("2020-01-01", "yesterday", "now"),
        {"with_times": None},
        "not used, as '.*' is neither",
    ),
    "times missing": (
        DATED.format("2020-01-01", "", ""),
        {"with_times": None},
        "some rows have no time",
    ),
    "few words among numbers": (
        "user,item\n" + "".join(f"{n},{n}\n" for n in range(50)) + "x,1\n",
        {},
        "all are kept as text",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_what_may_surprise_is_said(tmp_path: Path, kind: str) -> None:
    content, options, expected = NOTED[kind]
    (tmp_path / "a.csv").write_text(content)
    notes = read(tmp_path / "a.csv", **options).report.notes
    assert any(re.search(expected, note) for note in notes), notes
