"""Reading files: every dialect and format gives the same interactions."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interactions import pairs_of

from sparserec_np.data import read
from sparserec_np.data.values import MISSING_IDS, is_missing
from sparserec_np.errors import InputError, MissingExtraError
from sparserec_np.vocabulary import canonical

duckdb = pytest.importorskip("duckdb")


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def convert(source: str, target: Path, options: str) -> str:
    """Write a CSV file in another format, by DuckDB."""
    duckdb.sql(f"COPY (FROM read_csv('{source}')) TO '{target}' ({options})")
    return str(target)


RATINGS = "userId,movieId,rating,timestamp\n1,10,4.0,100\n2,10,3.5,200\n1,20,5.0,300\n"
EXPECTED = [(1, 10), (1, 20), (2, 10)]

TEXTS = {
    "movielens.csv": RATINGS,
    "tabs.tsv": RATINGS.replace(",", "\t"),
    "semicolons.csv": RATINGS.replace(",", ";"),
    "decimal_commas.csv": RATINGS.replace(",", ";").replace(".", ","),
    "pipes.txt": RATINGS.replace(",", "|"),
    "blanks.txt": "1 10\n2 10\n1 20\n",
    "double_colons.dat": "1::10::4::978300760\n2::10::3::978302109\n1::20::5::978301968\n",
    "no_header.csv": "1,10,4.0,978300760\n2,10,3.5,978302109\n1,20,5.0,978301968\n",
    "two_columns.csv": "1,10\n2,10\n1,20\n",
    "other_order.csv": "rating,movieId,userId\n4,10,1\n3,10,2\n5,20,1\n",
    "bom_and_crlf.csv": "\ufeff" + RATINGS.replace("\n", "\r\n"),
    "old_mac.csv": RATINGS.replace("\n", "\r"),
    "mixed_line_ends.csv": RATINGS + "2,10,1,400\r\n1,20,1,500\n",
    "no_last_line_end.csv": RATINGS.rstrip(),
    "blank_lines.csv": "\n\n" + RATINGS.replace("\n", "\n\n  \n"),
    "quoted.csv": '"userId","movieId"\n"1","10"\n"2","10"\n"1","20"\n',
    "single_quotes.csv": "'user','item'\n'1','10'\n'2','10'\n'1','20'\n",
    "blanks_around_quotes.csv": 'user,item\n"1" ,10\n"2", 10\n1,"20"\n',
    "blanks_around_numbers.csv": "user, item\n1, 10\n 2 ,10\n1,20 \n",
    "comments.txt": "% bipartite\n% 3 2 2\n1 10\n2 10\n1 20\n",
    "snap.txt": "# Directed graph\n# From\tTo\n1\t10\n2\t10\n1\t20\n",
    "joined_with_headers.csv": RATINGS + RATINGS,
    "trailing_delimiter.csv": "user,item\n1,10,\n2,10,\n1,20,\n",
    "index_column.csv": ",user_id,item_id\n0,1,10\n1,2,10\n2,1,20\n",
    "unusual_names.csv": "who,what\n1,10\n2,10\n1,20\n",
    "one_usual_name.csv": "who,movieId\n1,10\n2,10\n1,20\n",
    "several_lines.csv": 'note,User ID,Book-ID\n"a, b",1,10\n"line\nbreak ""x""",2,10\nok,1,20\n',
    "lines.jsonl": '{"user": 1, "item": 10}\n{"item": "10", "user": 2}\n\n{"user": 1, "item": 20}',
    "no_ending": '{"user": 1, "item": 10}\n{"item": "10", "user": 2}\n{"user": 1, "item": 20}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_dialect_gives_the_same(tmp_path: Path, name: str) -> None:
    interactions = read(write(tmp_path, name, TEXTS[name]))
    assert pairs_of(interactions) == EXPECTED
    assert interactions.report.bad_rows == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("r.csv.gz", "COMPRESSION gzip, HEADER"),
        ("r.csv.zst", "COMPRESSION zstd, HEADER"),
        ("r.parquet", "FORMAT parquet"),
        ("R.PQ", "FORMAT parquet, COMPRESSION zstd"),
        ("r.jsonl", "FORMAT json"),
        ("r.ndjson.gz", "FORMAT json, COMPRESSION gzip"),
    ],
)
def test_every_format_gives_the_same(tmp_path: Path, name: str, options: str) -> None:
    source = write(tmp_path, "ratings.csv", RATINGS)
    interactions = read(convert(source, tmp_path / name, options), with_times=True)
    assert pairs_of(interactions) == EXPECTED
    np.testing.assert_array_equal(interactions.times, [100, 300, 200])


def test_files_of_several_members_or_frames(tmp_path: Path) -> None:
    half = write(tmp_path, "half.csv", "user,item\n1,10\n2,10\n")
    zst = Path(convert(half, tmp_path / "a.csv.zst", "COMPRESSION zstd, HEADER")).read_bytes()
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    members = gzip.compress(b"user,item\n1,10\n2,10\n") + gzip.compress(b"1,20\n")
    assert pairs_of(read(write(tmp_path, "b.csv.gz", members))) == EXPECTED
    twice = read(write(tmp_path, "b.csv.zst", zst + skippable + zst))
    assert (twice.nnz, twice.report.duplicates) == (2, 2)


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    first = write(tmp_path, "a.csv", "user,item\n1,10\n2,10\n")
    second = write(tmp_path, "b.jsonl", '{"item": "x", "user": 1}\n')
    interactions = read([first, Path(second)])
    # one word among the items of one file makes text of the numbers of the other
    assert pairs_of(interactions) == [(1, "10"), (1, "x"), (2, "10")]
    assert interactions.report.files == (first, second)
    assert interactions.report.summary().startswith("2 files: user=user item=item; 3 rows")


def test_globs_are_sorted_and_odd_names_taken_literally(tmp_path: Path) -> None:
    write(tmp_path, "part-2.csv", "1,20\n2,10\n")
    write(tmp_path, "part-1.csv", "1,10\n2,10\n")
    interactions = read(str(tmp_path / "part-?.csv"))
    assert pairs_of(interactions) == EXPECTED
    assert [Path(name).name for name in interactions.report.files] == ["part-1.csv", "part-2.csv"]
    odd = write(tmp_path, "it's [1] * ?.csv", TEXTS["two_columns.csv"])
    write(tmp_path, "it's 1 a b.csv", "7,7\n8,8\n")
    assert pairs_of(read(odd)) == EXPECTED


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(pack(RATINGS.encode())))
    monkeypatch.setattr(sys, "stdin", stdin)
    interactions = read("-")
    assert pairs_of(interactions) == EXPECTED
    assert interactions.report.files == ("standard input",)


def test_ids_are_text_unless_all_are_integers(tmp_path: Path) -> None:
    text = write(tmp_path, "a.csv", "user,item\n007,1\n7,2\n")
    assert read(text).user_ids.take([0, 1]) == ["007", "7"]
    for odd in ("+7", "7.5", "-0", "9223372036854775808", "1e3", "7_000", "\u0667"):
        interactions = read(write(tmp_path, "b.csv", f"user,item\n{odd},1\n8,2\n"))
        assert interactions.user_ids.kind == "str", odd
        assert odd in interactions.user_ids.take([0, 1])
    extreme = "user,item\n-9223372036854775808,1\n9223372036854775807,2\n0,3\n"
    interactions = read(write(tmp_path, "c.csv", extreme))
    assert interactions.user_ids.take([0, 1, 2]) == [-(2**63), 0, 2**63 - 1]


def test_a_few_words_among_numbers_are_noted(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n}\n" for n in range(50))
    interactions = read(write(tmp_path, "a.csv", f"user,item\n{rows}oops,1\n"))
    (note,) = interactions.report.notes
    assert note == ("1 of 51 user ids are not integers (such as 'oops'), so all are kept as text")


def test_unicode_ids_are_kept_and_sorted_by_code_point(tmp_path: Path) -> None:
    ids = ["é", "e\u0301", "日本", "😀", "\uffee", "a,b", 'say "x"', " padded ", "Z", "a"]
    lines = "".join('"{}",1\n'.format(id_.replace('"', '""')) for id_ in ids)
    interactions = read(write(tmp_path, "a.csv", "user,item\n" + lines))
    assert interactions.user_ids.take(range(len(ids))) == sorted(id_.strip() for id_ in ids)


def test_tab_separated_quotes_are_part_of_ids(tmp_path: Path) -> None:
    interactions = read(write(tmp_path, "a.tsv", 'user\titem\n"Weird" Al\t1\n12" vinyl\t2\n'))
    assert interactions.user_ids.take([0, 1]) == ['"Weird" Al', '12" vinyl']


def test_columns_are_said_and_can_be_chosen(tmp_path: Path) -> None:
    ratings = write(tmp_path, "ratings.csv", RATINGS)
    assert str(read(ratings).report.columns[0]) == (
        "user=userId item=movieId rating=rating time=timestamp"
    )
    for options in (
        {"user_col": "movieId", "item_col": "userId"},
        {"user_col": "MOVIE_ID", "item_col": "user id"},
        {"user_col": "2", "item_col": "1"},
    ):
        assert pairs_of(read(ratings, **options)) == [(10, 1), (10, 2), (20, 1)]
    five = write(tmp_path, "five.txt", "1\tx\ty\tz\t10\n2\tx\ty\tz\t10\n1\tx\ty\tz\t20\n")
    assert pairs_of(read(five, user_col="1", item_col="5")) == EXPECTED


@pytest.mark.parametrize(
    ("header", "user", "item"),
    [
        ("reviewerID,asin,overall,unixReviewTime", "reviewerID", "asin"),
        ("review_id,user_id,business_id,stars,date", "user_id", "business_id"),
        ("User-ID;ISBN;Book-Rating", "User-ID", "ISBN"),
        ("userID\tartistID\tweight", "userID", "artistID"),
        ("timestamp,visitorid,event,itemid,transactionid", "visitorid", "itemid"),
        ("t_dat,customer_id,article_id,price,sales_channel_id", "customer_id", "article_id"),
        ("username,user_id,product_id", "user_id", "product_id"),
    ],
)
def test_usual_names(tmp_path: Path, header: str, user: str, item: str) -> None:
    delimiter = next(d for d in ";\t," if d in header)
    row = delimiter.join("123456789"[: header.count(delimiter) + 1])
    report = read(write(tmp_path, "a.csv", f"{header}\n{row}\n")).report
    assert (report.columns[0].user, report.columns[0].item) == (user, item)


def test_low_ratings_are_left_out_and_counted(tmp_path: Path) -> None:
    ratings = write(tmp_path, "ratings.csv", RATINGS)
    interactions = read(ratings, min_rating=4)
    assert pairs_of(interactions) == [(1, 10), (1, 20)]
    assert interactions.report.below_min_rating == 1
    commas = write(tmp_path, "commas.csv", TEXTS["decimal_commas.csv"])
    assert pairs_of(read(commas, min_rating=3.6)) == [(1, 10), (1, 20)]


def test_duplicates_and_rare_users_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "user,item\n1,1\n1,1\n1,2\n2,1\n3,9\n")
    interactions = read(path, min_user_interactions=2)
    assert pairs_of(interactions) == [(1, 1), (1, 2)]
    report = interactions.report
    assert (report.duplicates, report.dropped_users, report.dropped_items) == (1, 2, 1)
    assert report.summary() == (
        f"{path}: user=user item=item; 5 rows, 1 duplicate, "
        "2 users with too few interactions, 1 item with too few interactions"
    )


def test_times_are_seconds(tmp_path: Path) -> None:
    rows = "user,item,time\n1,1,1577836800\n1,2,2020-01-01\n1,3,2020-01-01T02:00:00+02:00\n"
    path = write(tmp_path, "a.csv", rows + "1,4,2020-01-01 00:00:00.5\n1,1,5\n")
    times = read(path, with_times=True).times
    np.testing.assert_array_equal(times, [1577836800, 1577836800, 1577836800, 1577836800.5])


def test_parquet_ids_of_every_type(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for values, expected in (
        ("1::UTINYINT, 2::UTINYINT", [1, 2]),
        ("2.0::DOUBLE, 1.0::DOUBLE", [1, 2]),
        ("'b'::ENUM('b', 'a'), 'a'::ENUM('b', 'a')", ["a", "b"]),
        ("12::DECIMAL(4, 0), 11::DECIMAL(4, 0)", [11, 12]),
        ("1::HUGEINT, 2::HUGEINT", [1, 2]),
    ):
        duckdb.sql(f"COPY (SELECT unnest([{values}]) AS user, 1 AS item) TO '{path}'")
        assert read(path).user_ids.take([0, 1]) == expected


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1),
            st.integers(-(2**63), 2**63 - 1),
        ).filter(lambda pair: not is_missing(pair[0], MISSING_IDS) and pair[0][0] not in "#%"),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, pairs) -> None:
    folder = tmp_path_factory.mktemp("written")
    quoted = ['"{}",{}\n'.format(user.replace('"', '""'), item) for user, item in pairs]
    objects = [json.dumps({"user": user, "item": item}) for user, item in pairs]
    pairs = [(canonical(user), item) for user, item in pairs]
    integers = all(to_int(user) is not None and user == str(to_int(user)) for user, _ in pairs)
    expected = {(to_int(user) if integers else user, item) for user, item in pairs}
    for path in (
        write(folder, "a.csv", "user,item\n" + "".join(quoted)),
        write(folder, "a.jsonl", "\n".join(objects)),
    ):
        assert pairs_of(read(path)) == sorted(expected)


def to_int(text: str) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return None
    return value if -(2**63) <= value < 2**63 else None


def test_the_result_does_not_depend_on_threads_or_memory(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    users, items = rng.integers(0, 20_000, 400_000), rng.integers(0, 5_000, 400_000)
    times = rng.integers(0, 1_000_000, 400_000)
    rows = zip(users.tolist(), items.tolist(), times.tolist(), strict=True)
    text = "user,item,time\n" + "".join(f"u{user},{item},{time}\n" for user, item, time in rows)
    path = write(tmp_path, "a.csv", text)
    reference = read(path, threads=1, with_times=True)
    assert reference.nnz == len(np.unique(users * 5_000 + items))
    for options in ({"threads": 2}, {"threads": 4, "memory_limit": "40MB"}):
        again = read(path, with_times=True, **options)
        for name in ("indptr", "items", "times"):
            np.testing.assert_array_equal(getattr(reference, name), getattr(again, name))
        assert again.user_ids.take(range(100)) == reference.user_ids.take(range(100))


class WatchedConnection:
    """A connection of DuckDB that calls a function before each query."""

    def __init__(self, db: duckdb.DuckDBPyConnection, before: Callable[..., None]) -> None:
        self._db = db
        self._before = before

    def execute(self, query: str) -> duckdb.DuckDBPyConnection:
        self._before(self._db, query)
        return self._db.execute(query)

    def __enter__(self) -> WatchedConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a function be called with connection and query before each query of :func:`read`."""

    def begin(before: Callable[..., None]) -> None:
        connect = duckdb.connect
        monkeypatch.setattr(
            duckdb, "connect", lambda *a, **more: WatchedConnection(connect(*a, **more), before)
        )

    return begin


@pytest.mark.parametrize(("asked", "left"), [(None, "64MB"), ("300MB", "300MB")])
def test_memory_is_given_back_before_the_interactions_are_put_together(
    tmp_path: Path, watch, asked: str | None, left: str
) -> None:
    with duckdb.connect(config={"memory_limit": left}) as db:
        expected = db.execute("SELECT current_setting('memory_limit')").fetchone()
    limits = []

    def note(db: duckdb.DuckDBPyConnection, query: str) -> None:
        if query.startswith("SELECT * FROM pairs"):
            limits.append(db.execute("SELECT current_setting('memory_limit')").fetchone())

    watch(note)
    read(write(tmp_path, "a.csv", RATINGS), memory_limit=asked)
    assert limits == [expected]


def test_an_interrupt_of_a_query_is_an_interrupt(tmp_path: Path, watch) -> None:
    def interrupt(db: duckdb.DuckDBPyConnection, query: str) -> None:
        if query.startswith("CREATE TEMP TABLE pairs"):
            raise RuntimeError("Query interrupted")

    watch(interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(write(tmp_path, "a.csv", RATINGS))


def test_nothing_is_drawn_on_standard_output(tmp_path: Path, watch) -> None:
    # DuckDB draws a progress bar there once a query takes two seconds.
    shown = {}

    def note(db: duckdb.DuckDBPyConnection, query: str) -> None:
        (shown[query.split("(")[0]],) = db.execute(
            "SELECT current_setting('enable_progress_bar')"
        ).fetchone()

    watch(note)
    read(write(tmp_path, "a.csv", RATINGS))
    assert not any(on for query, on in shown.items() if not query.startswith("SET "))


def test_movielens_as_people_have_it(data_dir: Path) -> None:
    interactions = read(data_dir / "movielens-small" / "ratings.csv", with_times=True)
    assert (interactions.n_users, interactions.n_items, interactions.nnz) == (610, 9724, 100836)
    assert interactions.report.summary().endswith(
        "user=userId item=movieId rating=rating time=timestamp; 100,836 rows, 0 duplicates"
    )
    assert 8e8 < interactions.times.min() < interactions.times.max() < 2e9


def test_no_temporary_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    read(write(tmp_path, "a.csv", RATINGS))
    with pytest.raises(InputError):
        read(write(tmp_path, "b.csv", "user,item\n1,\n"))
    assert list(scratch.iterdir()) == []


def test_without_duckdb_the_install_line_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sparserec-np\[train\]'"):
        read(write(tmp_path, "a.csv", RATINGS))


PLACES = ["http:/x/r.csv", "s3:/b/r[1].csv", "it's; drop/r?x=1.csv", "a*b/c%20d.csv", "x\ny/r.csv"]


@pytest.mark.parametrize("name", PLACES)
def test_a_file_is_the_one_that_is_named(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    path, decoys = Path(name), ["s3:/b/r1.csv", "aXb/c%20d.csv", "a*b/c d.csv"]
    for place in (path, *map(Path, decoys)):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("user,item\n7,70\n")
    path.write_text(RATINGS)
    for way in (name, path, path.absolute()):
        assert pairs_of(read(way)) == EXPECTED


def test_a_tilde_is_the_home_folder_for_all_that_look(monkeypatch, tmp_path):
    home, here = tmp_path / "home", tmp_path / "here"
    (here / "~").mkdir(parents=True)
    home.mkdir()
    write(home, "r.csv", RATINGS)
    write(here / "~", "r.csv", "user,item\n7,70\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert pairs_of(read("~/r.csv")) == EXPECTED
    assert pairs_of(read("./~/r.csv")) == [(7, 70)]
    with pytest.raises(InputError, match=r"none\.csv"):
        read("~/none.csv")
