"""The command line in this process: its output, and its messages for bad requests."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import fails, run, run_json

QUICK = ["--dim", "16", "--sparsity", "0.5", "--epochs", "8", "--seed", "1"]


pytestmark = pytest.mark.usefixtures("log_as_it_was")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings of 80 users who each like one of four groups of ten films, and the films' titles."""
    folder = tmp_path_factory.mktemp("ratings")
    rng = np.random.default_rng(5)
    rows = [
        (user, 10 * (user % 4) + film + 1, 4.0, 1_000_000 + int(rng.integers(10**6)))
        for user in range(1, 81)
        for film in rng.permutation(10)[:7]
    ]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    cut = len(rows) * 4 // 5
    for name, part in (("ratings", rows), ("train", rows[:cut]), ("test", rows[cut:])):
        lines = ["userId,movieId,rating,timestamp", *(",".join(map(str, row)) for row in part)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    titles = "".join(f'{film},"Film, the {film}th"\n' for film in range(1, 41))
    (folder / "movies.csv").write_text("movieId,title\n" + titles)
    return folder


@pytest.fixture(scope="module", params=["embedding", "history"])
def users(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(folder: Path, users: str) -> Path:
    path = folder / f"{users}.srec"
    labels = f"{folder / 'movies.csv'}:movieId,title"
    args = ["fit", folder / "train.csv", "-o", path, "--users", users, "--labels", labels]
    result = run(*args, *QUICK)
    assert result.exit_code == 0, result.output
    return path


def group(item: int) -> int:
    return (item - 1) // 10


# --- fit


def test_fit_prints_one_json_object(folder, users, tmp_path):
    path = tmp_path / "model.srec"
    summary = run_json("fit", folder / "train.csv", "-o", path, "--users", users, *QUICK)
    assert summary["model"] == str(path)
    assert summary["bytes"] == path.stat().st_size
    assert summary["users"] == users
    assert summary["weights"] > 0
    assert (summary["n_users"], summary["n_items"]) == (80, 40)


def test_fit_reports_the_reading_on_stderr_and_the_result_on_stdout(folder, tmp_path):
    path = tmp_path / "model.srec"
    result = run("fit", folder / "train.csv", "-o", path, *QUICK)
    assert result.exit_code == 0
    assert "movieId" in result.stderr
    assert "epoch 8/8" in result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert f"{path}: " in result.stdout


def test_fit_is_quiet_when_asked(folder, tmp_path):
    result = run("fit", folder / "train.csv", "-o", tmp_path / "model.srec", *QUICK, "-q")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_same_seed_same_file(folder, users, model, tmp_path):
    again = tmp_path / "again.srec"
    labels = f"{folder / 'movies.csv'}:movieId,title"
    args = ["fit", folder / "train.csv", "-o", again, "--users", users, "--labels", labels]
    run(*args, *QUICK, "--threads", 1)
    assert again.read_bytes() == model.read_bytes()


def test_several_files_are_read_as_one(folder, tmp_path):
    both = run_json(
        *("fit", folder / "train.csv", folder / "test.csv", "-o", tmp_path / "both.srec", *QUICK)
    )
    one = run_json("fit", folder / "ratings.csv", "-o", tmp_path / "one.srec", *QUICK)
    assert both["interactions"] == one["interactions"]


def test_fit_keeps_the_best_epoch_on_a_validation_file(folder, tmp_path):
    summary = run_json(
        *("fit", folder / "train.csv", "-o", tmp_path / "model.srec", "--dim", 16),
        *("--sparsity", 0.5, "--epochs", 6, "--valid", folder / "test.csv"),
    )
    assert 0 < summary["ndcg"] <= 1
    assert 1 <= summary["epochs"] <= 6


def test_checkpoints_are_kept_until_the_model_is_written(folder, tmp_path, monkeypatch):
    args = ["fit", folder / "train.csv", "--checkpoint", tmp_path / "state", *QUICK]
    straight, resumed = tmp_path / "straight.srec", tmp_path / "resumed.srec"
    assert run("fit", folder / "train.csv", "-o", straight, *QUICK).exit_code == 0

    def stop_after_two(metrics):
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            "sparserec_np.cli.fit.show_epochs", lambda: contextlib.nullcontext(stop_after_two)
        )
        stopped = run(*args, "-o", resumed)
    assert stopped.exit_code == 130
    assert "--resume" in stopped.stderr
    assert not resumed.exists()
    fails(run(*args, "-o", resumed, "-q"), "holds checkpoints of an earlier fit")
    assert run(*args, "-o", resumed, "--resume").exit_code == 0
    assert resumed.read_bytes() == straight.read_bytes()
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--resume",), "resume needs the folder of the checkpoints: give --checkpoint DIR"),
        (("--checkpoint", "state", "--checkpoint-every", "often"), "'often'"),
        (("--checkpoint", "/dev/null/state"), "/dev/null/state: no folder for checkpoints"),
    ],
)
def test_bad_checkpoint_options_are_found_before_reading(tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    fails(run("fit", "none.csv", "-o", "m.srec", *args), message)


# --- evaluate


def test_evaluate_prints_the_metrics_of_the_contract(folder, model):
    metrics = run_json(
        *("evaluate", model, "--train", folder / "train.csv", "--test", folder / "test.csv")
    )
    assert list(metrics) == [
        "k",
        "recall",
        "ndcg",
        "hit_rate",
        "mrr",
        "coverage",
        "users",
        "model_bytes",
        "popularity",
    ]
    assert 0 < metrics["popularity"]["ndcg"] < metrics["ndcg"]
    assert metrics["k"] == 20
    assert metrics["model_bytes"] == model.stat().st_size
    assert metrics["recall"] > 0.6  # a user's group is found; by chance it would be 0.5


def test_evaluate_reads_several_training_files_in_both_notations(folder, model, tmp_path):
    lines = (folder / "train.csv").read_text().splitlines()
    for name, part in (("a", lines[1:100]), ("b", lines[100:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([lines[0], *part]) + "\n")
    test = ["--test", folder / "test.csv", "--k", 5]
    whole = run_json("evaluate", model, "--train", folder / "train.csv", *test)
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    assert run_json("evaluate", model, "--train", a, b, *test) == whole
    assert run_json("evaluate", model, "--train", a, "--train", b, *test) == whole


def test_evaluate_prints_a_summary_for_people(folder, model):
    result = run(
        *("evaluate", model, "--train", folder / "train.csv", "--test", folder / "test.csv")
    )
    assert "NDCG@20" in result.stdout
    assert str(model) in result.stdout


# --- recommend, similar, info


def test_recommend_to_a_user_leaves_out_their_history(folder, model):
    history = {
        int(line.split(",")[1])
        for line in (folder / "train.csv").read_text().splitlines()[1:]
        if line.startswith("5,")
    }
    args = ("recommend", model, "--user", 5, "--interactions", folder / "train.csv", "-k", 3)
    result = run_json(*args)
    assert list(result) == ["items", "scores", "labels"]
    assert len(result["items"]) == len(result["scores"]) == 3
    assert result["scores"] == sorted(result["scores"], reverse=True)
    assert not history & set(result["items"])
    assert group(result["items"][0]) == 5 % 4
    assert result["labels"][0] == f"Film, the {result['items'][0]}th"


def test_recommend_to_a_history(folder, model, users):
    result = run("recommend", model, "--history", "1,2,3,4", "-k", 5, "--json")
    if users == "embedding":
        assert result.exit_code == 2
        assert "give --user ID, not --history" in result.stderr
    else:
        items = json.loads(result.stdout)["items"]
        assert [group(item) for item in items] == [0] * 5
        assert not {1, 2, 3, 4} & set(items)


def test_recommend_prints_tab_separated_lines_to_a_pipe(folder, model):
    args = ("recommend", model, "--user", 5, "--interactions", folder / "train.csv", "-k", 2)
    lines = run(*args).stdout.splitlines()
    assert lines[0] == "rank\titem\tscore\ttitle"
    assert len(lines) == 3
    assert lines[1].startswith("1\t")


def test_recommend_to_all_users_writes_parquet(folder, model, tmp_path):
    import duckdb

    out = tmp_path / "all.parquet"
    train = folder / "train.csv"
    summary = run_json(
        *("recommend", model, "--all-users", "--interactions", train, "-o", out, "-k", 4)
    )
    assert summary == {"output": str(out), "users": 80, "rows": 320, "skipped_users": 0}
    rows = duckdb.read_parquet(str(out))
    assert rows.columns == ["user", "rank", "item", "score"]
    alone = run_json("recommend", model, "--user", 7, "--interactions", train, "-k", 4)
    stored = rows.filter("user = 7").order("rank").fetchall()
    assert [row[2] for row in stored] == alone["items"]
    assert [row[1] for row in stored] == [1, 2, 3, 4]
    assert [row[3] for row in stored] == pytest.approx(alone["scores"], abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


def test_similar_finds_the_group_of_an_item(model):
    result = run_json("similar", model, 13, "-k", 5)
    assert [group(item) for item in result["items"]] == [1] * 5
    assert 13 not in result["items"]


def test_info_prints_the_contents_of_the_file(model, users):
    facts = run_json("info", model)
    for name in ("users", "dim", "n_users", "n_items", "weights", "sparsity", "bytes", "config"):
        assert name in facts
    assert facts["users"] == users
    assert facts["bytes"] == model.stat().st_size
    shown = run("info", model).stdout
    assert shown.splitlines()[1].startswith("serves ")
    assert "40, with titles" in shown
    assert "interactions of 80 users" in shown
    assert "weights" not in shown
    assert "config: learning_rate" in run("info", model, "-v").stdout
    assert ("no user is in the file" in shown) == (users == "history")


# --- failures


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Give one of --user, --history, --like and --all-users"),
        (("--user", 1, "--history", 1), "Give one of"),
        (("--history", 1, "--interactions", "a.csv"), "leave out --interactions"),
        (("--all-users", "--interactions", "a.csv"), "--all-users and --output go together"),
        (("--all-users", "-o", "a.parquet"), "--all-users needs --interactions"),
        (("--user", 1, "-k", 0), "-k"),
        (("--user", 1, "--interactions", "none.csv", "-q"), "none.csv"),
        (("--all-users", "--interactions", "a.csv", "-o", "out.txt"), "ends in .parquet or .csv"),
    ],
)
def test_recommend_options_that_do_not_go_together(model, args, message):
    fails(run("recommend", model, *args), message)


def test_an_unknown_user(folder, model):
    args = ("recommend", model, "--user", 999, "--interactions", folder / "train.csv", "-q")
    fails(run(*args), "999")


def test_a_history_model_needs_the_history_of_a_user(model, users):
    if users == "history":
        fails(run("recommend", model, "--user", 5), "add --interactions FILE")


@pytest.mark.parametrize(
    ("history", "message"),
    [("998,999", "998"), ("", "--history is empty"), ("1,two", "'two'")],
)
def test_a_history_without_known_items(model, users, history, message):
    if users == "history":
        fails(run("recommend", model, "--history", history), message)


def test_an_unknown_item(model):
    fails(run("similar", model, 999), "999")
    fails(run("similar", model, "Toy Story"), "'Toy Story'")


@pytest.mark.parametrize("command", ["info", "similar", "recommend", "evaluate"])
def test_a_file_that_is_not_a_model(folder, command):
    rest = {
        "info": (),
        "similar": (1,),
        "recommend": ("--user", 1),
        "evaluate": ("--train", folder / "train.csv", "--test", folder / "test.csv"),
    }
    fails(run(command, folder / "movies.csv", *rest[command]), "movies.csv")
    fails(run(command, folder / "none.srec", *rest[command]), "none.srec")


# --- export-web


def test_export_web_writes_a_page(model, users, tmp_path):
    folder = tmp_path / "page"
    if users == "embedding":
        fails(run("export-web", model, "-o", folder), "embedding model")
        assert not folder.exists()
    else:
        summary = run_json("export-web", model, "-o", folder, "--title", "Films")
        assert summary["files"][0] == str(folder / "index.html")
        assert summary["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
        assert "Films" in (folder / "index.html").read_text()
        assert str(folder / "index.html") in run("export-web", model, "-o", folder).stdout
