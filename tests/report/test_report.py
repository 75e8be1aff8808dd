"""The report: the same figures as other commands, and a page that is well-formed and safe."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from sparserec_np import SparseRec, evaluate, load
from sparserec_np.cli.app import app
from sparserec_np.data import Interactions, align, from_pairs
from sparserec_np.evaluation.evaluate import rank_by_popularity
from sparserec_np.evaluation.metrics import average_metrics
from sparserec_np.report import Figures, figures, render
from sparserec_np.report.figures import octaves
from sparserec_np.runtime.model import Model
from sparserec_np.training.epoch_log import read_log

NASTY = '<script src="http://evil.example/x.js">alert(1)</script> & "tea"'
HTML = "{http://www.w3.org/1999/xhtml}"


pytestmark = pytest.mark.usefixtures("log_as_it_was")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def taste(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Draw pairs of 60 users who each like one of three groups of twelve items, the first most."""
    weight = np.arange(1, 13) ** -0.7
    return [
        (f"u{user}", f"{'abc'[user % 3]}{item}")
        for user in range(60)
        for item in rng.choice(12, size=rng.integers(4, 10), replace=False, p=weight / weight.sum())
    ]


@pytest.fixture(scope="module")
def data() -> tuple[Interactions, Interactions]:
    rng = np.random.default_rng(3)
    pairs = taste(rng)
    rng.shuffle(pairs)
    cut = len(pairs) * 4 // 5
    train, test = pairs[:cut], [*pairs[cut:], ("u1", "new item"), ("stranger", "a1")]
    return from_pairs(*zip(*train, strict=True)), from_pairs(*zip(*test, strict=True))


@pytest.fixture(scope="module", params=["history", "embedding"])
def fitted(request: pytest.FixtureRequest, data: Any) -> SparseRec:
    estimator = SparseRec(users=request.param, dim=16, sparsity=0.6, seed=1)
    return estimator.fit(data[0], labels={"a0": NASTY, "b0": "Bread", "c0": "Çay"})


@pytest.fixture(scope="module")
def model(fitted: SparseRec) -> Model:
    return fitted.model_


@pytest.fixture(scope="module")
def found(fitted: SparseRec, data: Any) -> Figures:
    return figures(fitted.model_, *data, k=5, log=fitted.epoch_metrics_)


@pytest.fixture(scope="module")
def page(found: Figures) -> str:
    return render(found, name=f"{NASTY}.srec")


def test_the_metrics_are_those_of_evaluate(found, model, data):
    train, test = data
    expected = evaluate(model, train, test, k=5)
    assert found["popular"] == expected.pop("popularity")
    assert found["metrics"] == expected
    assert found["info"] == model.info()


def test_the_popular_ranking_is_scored_alike(found, model, data):
    train, test = data
    wanted = align(test, model.user_ids, model.item_ids)
    known = align(train, wanted.interactions.user_ids, model.item_ids).interactions
    popularity = align(train, None, model.item_ids).interactions.item_degrees()
    relevant = wanted.interactions.user_degrees() + wanted.unknown_items
    ranked = rank_by_popularity(known, 5, popularity)
    unserved = 1 if model.users == "embedding" else 0  # the stranger
    assert found["popular"] == average_metrics(
        ranked, wanted.interactions, relevant, unserved_users=unserved
    )


def test_the_groups_of_users_average_to_the_whole(found):
    rows = found["quality"]["by_activity"]
    users = found["metrics"]["users"]
    for name in ("recall", "ndcg"):
        total = sum(row["n"] * (row[name] or 0) for row in rows)
        assert total / users == pytest.approx(found["metrics"][name])
        total = sum(row["n"] * (row[f"popular_{name}"] or 0) for row in rows)
        assert total / users == pytest.approx(found["popular"][name])


def test_the_groups_of_items_hold_all_interactions(found, data, model):
    train, test = data
    rows = found["quality"]["by_popularity"]
    unknown = found["data"]["unknown"]
    stranger = 1 if model.users == "embedding" else 0
    assert unknown == 1
    assert sum(row["n"] for row in rows) == test.nnz - unknown - stranger
    assert sum(row["n"] for row in found["data"]["items"]) == train.n_items
    assert sum(row["n"] for row in found["data"]["users"]) == train.n_users
    assert found["data"]["unserved"] == 1


def test_bias_and_coverage_are_shares(found):
    groups = found["bias"]["groups"]
    for name in ("test", "model", "popular"):
        assert sum(group[name] for group in groups) == pytest.approx(1)
    seen = sum(group["n"] * group["covered"] for group in groups if group["n"])
    assert seen == pytest.approx(found["bias"]["items"])
    n_items = found["info"]["n_items"]
    assert found["metrics"]["coverage"] == pytest.approx(seen / n_items)


def test_octaves_hold_what_their_range_says():
    degrees = np.array([0, 1, 2, 3, 4, 7, 8, 1023, 1024])
    assert octaves(degrees).tolist() == [0, 1, 2, 2, 3, 3, 4, 10, 11]


def test_weights_and_the_moved_mask(found, model, data):
    table = model.items_table()
    assert sum(found["weights"]["by_dimension"]) == len(table.values)
    total = sum(row["n"] * (row["weights"] or 0) for row in found["weights"]["by_popularity"])
    assert total == pytest.approx(len(table.values))
    assert 0 < found["mask"]["moved"] < 1
    other = figures(model, data[1], data[0], k=5)  # not what the model was fitted on
    assert other["mask"] is None and other["curves"] is None


def test_other_items_in_the_same_numbers_are_not_the_data_of_the_fit(fitted, data):
    train, test = data
    users = train.user_ids.take(train.user_of_entry())
    items = train.item_ids.take(train.items)
    other = from_pairs(users, ["zzz" if item == "a0" else item for item in items])
    assert (other.n_users, other.n_items, other.nnz) == (train.n_users, train.n_items, train.nnz)
    assert figures(fitted.model_, other, test, k=5)["mask"] is None


def test_without_exploration_no_weight_has_moved(data):
    still = SparseRec(dim=16, sparsity=0.6, epochs=3, exploration=0.0).fit(data[0])
    assert figures(still.model_, *data, k=5)["mask"]["moved"] == 0


def test_dimensions_name_their_strongest_items(found, model):
    first = found["dimensions"][0]
    table = model.items_table()
    rows = np.repeat(np.arange(len(table)), np.diff(table.indptr))
    values = table.values[table.dims == first["dimension"]]
    assert first["weights"] == len(values)
    assert set(first["values"]) <= set(values.tolist())
    labels = model.labels_of(model.item_ids.take(rows[table.dims == first["dimension"]]))
    ids = model.item_ids.take(rows[table.dims == first["dimension"]])
    names = {label or id_ for label, id_ in zip(labels, ids, strict=True)}
    assert first["items"] and set(first["items"]) <= names
    shares = [row["share"] for row in found["dimensions"]]
    assert shares == sorted(shares, reverse=True)


def test_examples_are_what_the_model_recommends(found, model, data):
    train, _ = data
    assert len(found["examples"]) == 4
    for example in found["examples"]:
        (user,) = train.user_ids.locate([example["user"]])
        known = train.item_ids.take(train.items[train.indptr[user] : train.indptr[user + 1]])
        if model.users == "history":
            ids, scores = model.recommend(history=known, k=5)
        else:
            ids, scores = model.recommend(user=example["user"], k=5, exclude=known)
        labels = model.labels_of(ids)
        titles = [label or id_ for id_, label in zip(ids, labels, strict=True)]
        assert [item["title"] for item in example["recommended"]] == titles
        found_scores = [item["score"] for item in example["recommended"]]
        assert found_scores == pytest.approx(scores.tolist(), rel=1e-5)
        request = {"history": known} if model.users == "history" else {"user": example["user"]}
        for id_, item in zip(ids, example["recommended"], strict=True):
            shares = [reason["share"] for reason in item["why"]]
            assert 0 <= sum(shares) <= 1 + 1e-9
            assert shares == sorted(shares, reverse=True)
            why = model.explain(id_, **request)
            best = sorted([why.bias, *(share for _, share in why.parts)], reverse=True)[:2]
            popular = ["popular with everybody"] in [reason["because"] for reason in item["why"]]
            total = sum(share for share in (why.bias, *dict(why.parts).values()) if share > 0)
            assert popular == (why.bias > 0.05 * total and why.bias in best)
    assert figures(model, *data, k=5, examples=0)["examples"] == []


def test_reasons_have_short_titles(fitted, data):
    found = figures(fitted.model_, *data, k=5)
    title = "Harry Potter and the Sorcerer's Stone (a.k.a. Harry Potter) (2001)"
    found["examples"][0]["recommended"][0]["why"] = [{"share": 0.5, "because": [title]}]
    text = render(found, name="m")
    assert "50% Harry Potter and the…" in text
    assert title.replace("'", "&#39;") not in text


def test_the_page_is_well_formed_and_loads_nothing(page):
    root = ET.fromstring(page)
    assert root.tag == f"{HTML}html"
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        assert element.tag.rpartition("}")[2] not in {"script", "link", "img", "iframe", "object"}
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            if name.rpartition("}")[2] in {"href", "src"}:
                assert value.startswith("#") and value[1:] in ids, value
            for target in re.findall(r"url\(([^)]*)\)", value):
                assert target.startswith("#") and target[1:] in ids, target
    style = root.find(f"{HTML}head/{HTML}style").text
    assert "url(" not in style and "@import" not in style
    assert len(page.encode()) < 1_000_000


def test_texts_are_escaped(page, found):
    assert "<script" not in page
    assert "&lt;script src=" in page
    shown = json.dumps(found, ensure_ascii=False)
    assert "<script src=" in shown  # so there was something to escape beside the name


def test_the_page_says_the_figures(page, found, model):
    text = " ".join(ET.fromstring(page).itertext())
    for name in ("recall", "ndcg", "hit_rate", "mrr", "coverage"):
        assert f"{found['metrics'][name]:.4f}" in text
        assert f"{found['popular'][name]:.4f}" in text
    for tensor, n_bytes in found["info"]["parts"].items():
        assert tensor in text and f"{n_bytes:,}" in text
    assert f"{found['mask']['moved']:.1%}" in text
    assert f"{found['info']['weights']:,}" in text
    assert "Çay" in text


def test_the_same_figures_make_the_same_page_whatever_the_users_style(page, found):
    matplotlib = pytest.importorskip("matplotlib")

    def settings() -> dict[str, Any]:
        return {name: value for name, value in matplotlib.rcParams.items() if name != "backend"}

    before = settings()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert render(found, name=f"{NASTY}.srec") == page
        assert matplotlib.rcParams["font.size"] == 30
    assert settings() == before


def test_colours_are_the_pages_own(page):
    svgs = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(svgs) >= 10
    for svg in svgs:
        assert set(re.findall(r"(?:fill|stroke): (#\w+)", svg)) == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_request(page, tmp_path, scheme):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        window = browser.new_page(
            color_scheme=scheme, viewport={"width": 390, "height": 844}, device_scale_factor=2
        )
        requests: list[str] = []
        complaints: list[str] = []
        window.on("request", lambda request: requests.append(request.url))
        window.on("console", lambda message: complaints.append(message.text))
        window.on("pageerror", lambda error: complaints.append(str(error)))
        window.goto(path.as_uri())
        width = window.evaluate("document.documentElement.scrollWidth")
        background, ink, text = window.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                      getComputedStyle(document.querySelector('svg text')).fill,
                      document.querySelector('svg text').getBoundingClientRect().height]"""
        )
        browser.close()
    assert requests == [path.as_uri()] and complaints == []
    assert width == 390  # nothing sticks out at the side
    assert text >= 9  # px: can be read
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (background, ink)]
    assert (light[0] > light[1] + 300) if scheme == "light" else (light[1] > light[0] + 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    pairs = taste(np.random.default_rng(4))
    for name, part in (("train", pairs[::2]), ("test", pairs[1::2])):
        lines = ["user,item", *(",".join(pair) for pair in part)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    options = ["--dim", 16, "--sparsity", 0.5, "--epochs", 4, "-q"]
    result = run(
        "fit",
        folder / "train.csv",
        "-o",
        folder / "m.srec",
        "--log",
        folder / "fit.jsonl",
        *options,
    )
    assert result.exit_code == 0, result.output
    return folder


def asked(folder: Path, **changed: object) -> list[object]:
    options: dict[str, object] = {
        "--train": folder / "train.csv",
        "--test": folder / "test.csv",
        "-o": folder / "page.html",
        **changed,
    }
    named = [part for name, value in options.items() if value for part in (name, value)]
    return ["report", folder / "m.srec", *named]


def test_the_command_writes_the_page(folder):
    result = run(*asked(folder, **{"--log": folder / "fit.jsonl"}), "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    page = (folder / "page.html").read_bytes()
    assert said["bytes"] == len(page)
    ET.fromstring(page)
    assert b"--log fit.jsonl" not in page
    evaluated = run(
        "evaluate",
        folder / "m.srec",
        "--train",
        folder / "train.csv",
        "--test",
        folder / "test.csv",
        "--json",
    )
    expected = json.loads(evaluated.stdout)
    assert {name: said[name] for name in expected} == expected


def test_without_a_log_the_page_says_how_to_get_one(folder, tmp_path):
    result = run(*asked(folder, **{"-o": tmp_path / "page.html"}))
    assert result.exit_code == 0, result.output
    assert "--log fit.jsonl" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--train", "none.csv", "none.csv"),
        ("--test", "none.csv", "none.csv"),
        ("--log", "none.jsonl", "none.jsonl: cannot be read"),
        ("--log", "train.csv", "train.csv, line 1: is no record of an epoch"),
        ("-o", "nowhere/page.html", "does not exist"),
        ("-o", ".", "is a folder"),
    ],
)
def test_bad_input_is_one_line(folder, option, value, message):
    before = sorted(folder.rglob("*"))
    result = run(*asked(folder, **{option: folder / value}))
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert sorted(folder.rglob("*")) == before


def test_a_missing_model_is_bad_input(folder):
    result = run("report", folder / "none.srec", *asked(folder)[2:])
    assert result.exit_code == 2 and "none.srec" in result.stderr


def test_the_output_is_checked_before_the_files_are_read(folder):
    result = run(*asked(folder, **{"--train": folder / "none.csv", "-o": folder / "no" / "p.html"}))
    assert result.exit_code == 2 and "does not exist; make it first" in result.stderr


def test_a_missing_extra_names_its_pip_line(folder):
    arguments = [str(argument) for argument in asked(folder)]
    code = f"""
import sys
sys.modules["jinja2"] = None
from sparserec_np.cli import main
sys.exit(main({arguments!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'sparserec-np[report]'" in done.stderr


def test_the_log_of_a_fit_is_its_history(folder):
    records = read_log(folder / "fit.jsonl")
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert load(folder / "m.srec").info()["facts"]["epochs"] == 4


def test_an_unwritable_log_stops_before_the_fit(folder):
    result = run(
        "fit", folder / "train.csv", "-o", folder / "x.srec", "--log", folder / "no" / "fit.jsonl"
    )
    assert result.exit_code == 2 and not (folder / "x.srec").exists()
