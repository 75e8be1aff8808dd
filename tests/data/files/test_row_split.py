"""Files split in two: every row once, all columns, in order; the same pairs as `hold_out`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import fails, run, run_json

from sparserec_np import hold_out, read

pytestmark = pytest.mark.usefixtures("log_as_it_was")

HEADER = "userId,movieId,rating,timestamp,comment"


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    rows = [
        f'{user},{(user * 7 + n * 3) % 40},{1 + n % 5},{1_000_000 + 37 * n},"été, {n}"'
        for n in range(12)
        for user in range(1, 9)
    ]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join([HEADER, *rows, rows[5]]) + "\n", "utf-8")
    return path


def test_every_row_is_in_one_part_with_all_columns(ratings: Path, tmp_path: Path) -> None:
    done = run_json("split", ratings, "-o", tmp_path / "out", "--test-share", 0.25)
    train, test = (lines_of(tmp_path / "out" / f"{part}.csv") for part in ("train", "test"))
    assert train[0] == test[0] == HEADER
    rows = lines_of(ratings)[1:]
    assert sorted(train[1:] + test[1:]) == sorted(rows)
    assert [row for row in rows if row in set(train)] == train[1:], "in the order of the file"
    assert not set(train[1:]) & set(test[1:])
    assert (done["train"], done["test"], done["by"]) == (len(train) - 1, len(test) - 1, "time")
    for user in range(1, 9):
        own = [[int(row.split(",")[3]) for row in part[1:] if row.split(",")[0] == str(user)]
               for part in (train, test)]  # fmt: skip
        assert len({*own[0]}) == 9 and max(own[0]) < min(own[1]), "the latest quarter"


@pytest.mark.parametrize("by", ["time", "random"])
def test_the_pairs_are_those_of_hold_out(ratings: Path, tmp_path: Path, by: str) -> None:
    run_json("split", ratings, "-o", tmp_path / "out", "--by", by, "--seed", 3)
    whole = read(ratings, with_times=True)
    expected = hold_out(whole, fraction=0.2, seed=3, latest=by == "time")
    for part, data in zip(("train", "test"), expected, strict=True):
        found = read(tmp_path / "out" / f"{part}.csv", with_times=True)
        assert found.nnz == data.nnz
        pairs = {
            (user, item)
            for user in data.user_ids.take(range(data.n_users))
            for item in data.item_ids.take(data.items_of(data.user_ids.locate([user])[0]))
        }
        own = {
            (user, item)
            for user in found.user_ids.take(range(found.n_users))
            for item in found.item_ids.take(found.items_of(found.user_ids.locate([user])[0]))
        }
        assert own == pairs
    again = [(tmp_path / "out" / f"{part}.csv").read_bytes() for part in ("train", "test")]
    run_json("split", ratings, "-o", tmp_path / "two", "--by", by, "--seed", 3)
    assert again == [(tmp_path / "two" / f"{part}.csv").read_bytes() for part in ("train", "test")]


def test_other_kinds_of_files(tmp_path: Path) -> None:
    import duckdb

    rows = [(user, f"i{(user + n) % 9}", n) for user in range(1, 6) for n in range(5)]
    texts = {
        "tabs.tsv": "".join(f"{u}\t{i}\t{n}\n" for u, i, n in rows),
        "objects.jsonl": "".join(
            json.dumps({"user": u, "item": i, "rating": n, "more": [1]}) + "\n" for u, i, n in rows
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    values = ", ".join(f"({u}, '{i}', {n})" for u, i, n in rows)
    target = tmp_path / "typed.parquet"
    duckdb.execute(f"COPY (FROM (VALUES {values}) t(user_id, item_id, extra)) TO '{target}'")
    for name in (*texts, "typed.parquet"):
        out = tmp_path / f"out-{name}"
        columns = ("--user-col", 1, "--item-col", 2, "--no-header") if name == "tabs.tsv" else ()
        found = run("split", tmp_path / name, "-o", out, "--by", "random", *columns)
        assert found.exit_code == 0, found.output
        assert "rows, a random 20% of each user's" in found.stdout
        parts = [lines_of(out / f"{part}.csv") for part in ("train", "test")]
        heads = {"objects.jsonl": "user,item,rating", "typed.parquet": "user_id,item_id,extra"}
        if name in heads:
            assert [part.pop(0) for part in parts] == [heads[name]] * 2
        glue = "\t" if name == "tabs.tsv" else ","
        assert sorted(parts[0] + parts[1]) == sorted(glue.join(map(str, row)) for row in rows)
        assert len(parts[1]) == 5
        assert ("kept are the columns" in found.stderr) == (name == "objects.jsonl")


def test_rows_that_are_no_interactions_stay_in_train(ratings: Path, tmp_path: Path) -> None:
    run_json("split", ratings, "-o", tmp_path / "out", "--min-rating", 4)
    assert all(int(row.split(",")[2]) >= 4 for row in lines_of(tmp_path / "out" / "test.csv")[1:])
    train = lines_of(tmp_path / "out" / "train.csv")[1:]
    assert any(int(row.split(",")[2]) < 4 for row in train)


def test_what_cannot_be_split_is_said(ratings: Path, tmp_path: Path) -> None:
    fails(run("split", "-", "-o", tmp_path / "out", "-q"), "only once")
    before = ratings.read_bytes()
    own = ratings.rename(tmp_path / "train.csv")
    fails(run("split", own, "-o", tmp_path, "-q"), "train.csv")
    assert own.read_bytes() == before and not (tmp_path / "test.csv").exists()
    (tmp_path / "other.csv").write_text("user,item\n1,2\n1,3\n")
    found = run("split", own, tmp_path / "other.csv", "-o", tmp_path / "o", "-q", "--by", "random")
    fails(found, "has other columns")
    plain = tmp_path / "plain.csv"
    plain.write_text("user,item\n1,2\n1,3\n2,2\n2,5\n")
    fails(run("split", plain, "-o", tmp_path / "o", "-q", "--by", "time"), "time")
    assert not list((tmp_path / "o").iterdir())
