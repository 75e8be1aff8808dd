"""New items by features: old answers stay to the bit, new rows go where their features say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.command_line import fails, run, run_json
from threadpoolctl import threadpool_limits

import sparserec_np
from sparserec_np import InputError, SparseRec, extend
from sparserec_np.modelfile.arrays import ModelArrays, Neighbours, Table
from sparserec_np.modelfile.reader import open_model
from sparserec_np.modelfile.writer import encode
from sparserec_np.vocabulary import from_values

GROUPS, DIM, N = 4, 16, 120
ERAS = ("golden", "grey")
KINDS = ("drama", "horror", "western", "musical")

pytestmark = pytest.mark.usefixtures("log_as_it_was")


def group(item: int) -> int:
    return item // 2 % GROUPS


def make_model(
    kind: str = "history", *, text_ids: bool = False, labels: bool = False, n: int = N
) -> bytes:
    """The even items from 0 on; the rows of a group lie in dimensions of its own."""
    rng = np.random.default_rng(3)
    known = np.arange(0, 2 * n, 2)
    dims = np.concatenate([np.sort(rng.choice(4, 3, replace=False)) + 4 * group(i) for i in known])
    values = rng.uniform(0.5, 1.5, dims.size).astype(np.float32)
    ids = from_values([f"film {i:03d}" for i in known] if text_ids else known)
    indptr = np.arange(n + 1, dtype=np.int64) * 3
    rows = Table(indptr, dims.astype(np.uint16), values, DIM)
    extra: dict[str, Any] = {}
    if kind == "embedding":
        extra = {"user_ids": from_values(np.arange(n)), "user_rows": rows}
    else:
        extra = {"history_weights": rng.uniform(0.5, 1, n).astype(np.float32)}
        extra |= {"history_exponent": 0.5, "history_power": 0.75}
    if kind == "neighbours":
        same = [np.arange(i % GROUPS, n, GROUPS) for i in range(n)]
        items = [some[(some != i) & (some % 3 == 0)] for i, some in enumerate(same)]
        flat = np.concatenate(items).astype(np.int32)
        starts = np.r_[0, np.cumsum([len(some) for some in items])].astype(np.int64)
        weights = rng.uniform(0.1, 1, len(flat)).astype(np.float32)
        extra["neighbours"] = Neighbours(starts, flat, weights)
    if labels:
        extra["labels"] = [f"Film {i}" for i in known]
    bias = rng.normal(0, 0.1, n).astype(np.float32)
    users: Any = "embedding" if kind == "embedding" else "history"
    return encode(ModelArrays(users, DIM, ids, rows, bias, **extra))


def films(ids: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"movieId": ids, "genres": [KINDS[group(i)] for i in ids], **columns})


ALL = films(range(2 * N))


@pytest.mark.parametrize("kind", ["history", "embedding", "neighbours"])
def test_old_answers_stay_to_the_bit(kind: str) -> None:
    data = make_model(kind)
    found = extend(data, ALL)
    assert found.added == N
    old, new = sparserec_np.load(data), sparserec_np.load(found.file, verify=True)
    known = old.item_ids.take(range(N))
    assert new.item_ids.take(range(2 * N)) == list(range(2 * N))
    requests: list[dict[str, Any]] = [{"user": u} for u in range(9)]
    if kind != "embedding":
        requests = [{"history": known[i : i + 7]} for i in range(9)]
    for request in requests:
        ids, scores = old.recommend(**request, k=N)
        again, same = new.recommend(**request, k=2 * N, candidates=known)
        assert again == ids
        np.testing.assert_array_equal(same, scores)
    for item in known[:5]:
        ids, scores = old.similar_items(item, N)
        again, same = new.similar_items(item, 2 * N)
        kept = [place for place, id_ in enumerate(again) if id_ % 2 == 0]
        assert [again[place] for place in kept] == ids
        np.testing.assert_array_equal(same[kept], scores)


@pytest.mark.parametrize("kind", ["history", "neighbours"])
def test_new_items_go_to_those_who_like_what_they_are(kind: str) -> None:
    model = sparserec_np.load(extend(make_model(kind), ALL).file)
    for liked in range(GROUPS):
        history = [i for i in range(0, 2 * N, 2) if group(i) == liked][:5]
        ids, _ = model.recommend(history=history, candidates=range(1, 2 * N, 2), k=20)
        assert {group(i) for i in ids} == {liked}
        served, _ = model.recommend(history=[ids[0]], k=20)  # a new item is a history, too
        assert np.mean([group(i) == liked for i in served]) > 0.9


def test_of_two_alike_the_one_that_looks_popular_comes_first() -> None:
    n = 200
    new = encode(_model_of_two_eras(n))
    eras = pd.DataFrame({"movieId": range(2 * n), "era": [ERAS[i // 4 % 2] for i in range(2 * n)]})
    table = films(range(2 * n)).merge(eras)
    model = sparserec_np.load(extend(new, table).file)
    history = [i for i in range(0, 2 * n, 2) if group(i) == 1][:5]
    alike = [i for i in range(1, 2 * n, 2) if group(i) == 1]
    ids, _ = model.recommend(history=history, candidates=alike, k=10)
    assert {ERAS[i // 4 % 2] for i in ids} == {"golden"}


def _model_of_two_eras(n: int) -> ModelArrays:
    """Items of the golden era have three weights, others one; all weights are alike."""
    rng = np.random.default_rng(5)
    counts = [3 if ERAS[i // 4 % 2] == "golden" else 1 for i in range(0, 2 * n, 2)]
    dims = [
        np.sort(rng.choice(4, c, replace=False)) + 4 * group(2 * i) for i, c in enumerate(counts)
    ]
    indptr = np.r_[0, np.cumsum(counts)].astype(np.int64)
    weights = rng.uniform(0.8, 1.2, sum(counts)).astype(np.float32)
    rows = Table(indptr, np.concatenate(dims).astype(np.uint16), weights, DIM)
    return ModelArrays(
        "history", DIM, from_values(np.arange(0, 2 * n, 2)), rows, np.zeros(n, np.float32)
    )


def test_a_model_of_neighbours_alone_takes_new_items() -> None:
    arrays = open_model(make_model("neighbours")).arrays()
    none = Table(np.zeros(N + 1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32), DIM)
    model = sparserec_np.load(extend(encode(replace(arrays, items=none)), ALL).file)
    for liked in range(GROUPS):
        history = [i for i in range(0, 2 * N, 2) if group(i) == liked]
        ids, _ = model.recommend(history=history, candidates=range(1, 2 * N, 2), k=10)
        assert np.mean([group(i) == liked for i in ids]) > 0.9


def test_it_tells_how_well_features_find_held_out_items() -> None:
    model, table = make_model(n=1200), films(range(2400))
    found = extend(model, table)
    share, by_chance = found.found, found.by_chance
    assert share > 3 * by_chance
    noise = table.assign(genres=np.random.default_rng(0).permutation(table["genres"].to_numpy()))
    assert extend(model, noise).found < 2 * by_chance
    facts = sparserec_np.load(found.file).info()["facts"]
    assert facts["items_by_features"] == 1200
    assert facts["features_find"] == round(share, 4)


def test_rows_take_no_more_than_their_part() -> None:
    data = make_model("neighbours")
    before, after = (open_model(d).arrays() for d in (data, extend(data, ALL).file))
    assert len(after.items.values) <= 2 * len(before.items.values)
    assert len(after.neighbours.values) <= 2 * len(before.neighbours.values)
    assert set(np.unique(after.items.values)) <= set(np.unique(before.items.values))


def test_the_bytes_depend_on_nothing_but_the_table() -> None:
    data = make_model()
    table = films(range(2 * N), year=np.arange(2 * N) % 50 + 1970)
    expected = extend(data, table).file
    shuffled = table.sample(frac=1, random_state=1)[["year", "genres", "movieId"]]
    assert extend(data, shuffled).file == expected
    with threadpool_limits(2):
        assert extend(data, table).file == expected


def test_titles_come_along_where_the_model_has_titles() -> None:
    table = films(range(2 * N), title=[f"Film, the {i}th" for i in range(2 * N)])
    model = sparserec_np.load(extend(make_model(labels=True), table).file)
    assert model.labels_of([0, 1, 2]) == ["Film 0", "Film, the 1th", "Film 2"]
    assert sparserec_np.load(extend(make_model(), table).file).labels_of([1]) == [None]


def test_text_ids_and_numbers_that_read_alike() -> None:
    table = ALL.assign(movieId=[f"film {i:03d}" for i in ALL["movieId"]])
    model = sparserec_np.load(extend(make_model(text_ids=True), table).file)
    assert model.item_ids.take([0, 1]) == ["film 000", "film 001"]
    as_text = ALL.assign(movieId=ALL["movieId"].astype(str))
    assert extend(make_model(), as_text).file == extend(make_model(), ALL).file


def test_nothing_new_is_the_same_file() -> None:
    data = make_model()
    found = extend(data, films(range(0, 2 * N, 2)))
    assert (found.added, found.file) == (0, data)


def test_twice_is_fine() -> None:
    once = extend(make_model(), films(range(N)))
    twice = extend(once.file, ALL)
    assert once.added + twice.added == N
    facts = sparserec_np.load(twice.file).info()["facts"]
    assert facts["items_by_features"] == N


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"movieId": [f"tt{i}" for i in range(2 * N)]}, "integers, but 'tt0' is not one"),
        ({"movieId": range(10**6, 10**6 + 2 * N)}, "0 items that the model knows"),
        ({"movieId": [0] * 2 * N}, "240 rows for the item 0"),
        ({"genres": ["drama"] * 2 * N}, "'genres' is the same everywhere"),
        ({"genres": [None] * 2 * N}, "'genres' has no value"),
        ({"genres": [f"g{i}" for i in range(2 * N)]}, "value of its own for each item"),
        ({"genres": ["x", *range(1, 2 * N)]}, "has numbers, but 'x' is none"),
    ],
)
def test_bad_features_end_in_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        extend(make_model(), ALL.assign(**change))
    assert "\n" not in str(caught.value)


def test_a_million_categories_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "old.srec").write_bytes(make_model())
    lines = "".join(f"{i},c{i}\n" for i in range(10**6))
    (tmp_path / "films.csv").write_text("movieId,code\n" + lines)
    args = ("extend", tmp_path / "old.srec", "--item-features", tmp_path / "films.csv")
    fails(run(*args, "-o", tmp_path / "new.srec"), "value of its own for each item")
    assert not (tmp_path / "new.srec").exists()


def test_the_command(tmp_path: Path) -> None:
    old, new, table = (tmp_path / name for name in ("old.srec", "new.srec", "films.csv"))
    old.write_bytes(make_model())
    ALL.to_csv(table, index=False)
    args = ("extend", old, "--item-features", f"{table}:movieId,genres", "-o", new)
    summary = run_json(*args)
    assert (summary["added"], summary["bytes"]) == (N, new.stat().st_size)
    assert new.read_bytes() == extend(old, ALL).file
    printed = run(*args)
    assert "120 new items" in printed.stdout
    assert "genres" in printed.stderr
    fails(run(*args[:-1], table), "same file")
    fails(run(*args[:3], f"{table}:movieId,mood", "-o", new), "has no column 'mood'")
    ALL.rename(columns={"movieId": "which"}).to_csv(table, index=False)
    fails(run(*args[:3], table, "-o", new), "which column holds the item ids")


def test_fit_adds_items_within_the_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 12)
    items = 2 * (rng.integers(0, N // GROUPS, users.size) * GROUPS + users % GROUPS)
    quick: dict[str, Any] = {"dim": 16, "epochs": 4, "neighbours": 0.0}
    titles = {i: f"Film {i}" for i in range(2 * N)}
    model = SparseRec(max_size=6000, **quick)
    model.fit((users, items), item_features=ALL, labels=titles)
    assert len(model.to_bytes()) <= 6000
    assert len(model.model_.item_ids) == 2 * N
    assert model.model_.labels_of([1]) == ["Film 1"]
    ids, _ = model.recommend(0, k=10, candidates=range(1, 2 * N, 2))
    assert np.mean([group(i) == 0 for i in ids]) > 0.7
    with pytest.raises(InputError, match="the same everywhere"):
        model.fit((users, items), item_features=ALL.assign(genres="drama"))
    plain = SparseRec(sparsity=0.5, **quick).fit((users, items), item_features=ALL)
    table = open_model(plain.to_bytes()).arrays().items
    assert len(table.values) <= 0.5 * len(table) * 16
