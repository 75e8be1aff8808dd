"""Failures of the command line: impossible fits, wrong usage, unexpected errors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from support.command_line import fails, run

from sparserec_np.errors import InputError

pytestmark = pytest.mark.usefixtures("log_as_it_was")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files: five users with three films each, and titles."""
    folder = tmp_path_factory.mktemp("ratings")
    pairs = "".join(f"{user},{user + film}\n" for user in range(5) for film in range(3))
    (folder / "train.csv").write_text("userId,movieId\n" + pairs)
    (folder / "movies.csv").write_text("movieId,title\n1,Heat\n")
    return folder


def bad_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_missing_file(tmp_path):
    fails(run("fit", tmp_path / "none.csv", "-o", tmp_path / "m.srec", "-q"), "none.csv")


def test_a_model_behind_a_url(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(run("fit", folder / "train.csv", "-o", "s3://bucket/m.srec", "-q"), "s3://bucket/m.srec")
    fails(run("info", "https://host/m.srec"), "https://host/m.srec")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file(tmp_path):
    path = bad_file(tmp_path, "empty.csv", "")
    fails(run("fit", path, "-o", tmp_path / "m.srec", "-q"), "empty.csv")
    assert not (tmp_path / "m.srec").exists()


def test_a_file_with_one_column(tmp_path):
    path = bad_file(tmp_path, "one.csv", "user\n1\n2\n3\n")
    fails(run("fit", path, "-o", tmp_path / "m.srec", "-q"), "one.csv")


def test_an_unknown_column(folder, tmp_path):
    args = ("fit", folder / "train.csv", "-o", tmp_path / "m.srec", "--user-col", "person", "-q")
    fails(run(*args), "person")


@pytest.mark.parametrize("size", ["100", "nonsense", "-5KB", "0"])
def test_an_impossible_size(folder, tmp_path, size):
    args = ("fit", folder / "train.csv", "-o", tmp_path / "m.srec", "--max-size", size, "-q")
    fails(run(*args), size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("users", ["history", "embedding"])
def test_a_budget_below_one_weight_a_row(folder, tmp_path, users):
    args = ("fit", folder / "train.csv", "-o", tmp_path / "m.srec", "--users", users, "-q")
    fails(run(*args, "--dim", 16, "--sparsity", "0.999", "--epochs", 1), "sparsity")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--dim", 0),
        ("--dim", 5000),
        ("--sparsity", 1.0),
        ("--sparsity", -0.1),
        ("--epochs", 0),
        ("--learning-rate", -1),
        ("--learning-rate", "nan"),
        ("--reg", -1),
        ("--candidates", 0),
        ("--threads", 0),
        ("--seed", -1),
    ],
)
def test_a_hyperparameter_out_of_range_is_named(folder, tmp_path, option, value):
    result = run("fit", folder / "train.csv", "-o", tmp_path / "m.srec", option, value, "-q")
    fails(result, option.strip("-").replace("-", "_"))


@pytest.mark.parametrize("output", ["nowhere/m.srec", "file/m.srec", "folder"])
def test_an_output_that_cannot_be_written_is_found_before_reading(
    folder, tmp_path, output, monkeypatch
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()

    def read(*args: object, **options: object) -> None:
        raise AssertionError("read before the output was checked")

    monkeypatch.setattr("sparserec_np.data.read", read)
    fails(run("fit", folder / "train.csv", "-o", tmp_path / output), output.split("/")[0])


def test_bad_titles_are_found_before_reading(folder, tmp_path):
    args = ("fit", folder / "train.csv", "-o", tmp_path / "m.srec", "--labels")
    movies = folder / "movies.csv"
    fails(run(*args, f"{movies}:title"), "a file and its two columns")
    fails(
        run(*args, f"{movies}:movieId,name"),
        "has no column 'name' (asked for as titles); its columns are: movieId, title",
    )
    fails(run(*args, f"{tmp_path / 'none.csv'}:movieId,title"), "there is no file")


def test_usage_errors_point_to_the_help():
    fails(run("bogus"), "No such command 'bogus'. Help: sparserec-np --help")
    fails(run("info", "m.srec", "--bogus"), "Help: sparserec-np info --help")
    close = run("recomend")  # newer versions of click name a command that is spelled alike
    fails(close, "No such command 'recomend'.")
    fails(close, "? Help: sparserec-np" if "Did you mean" in close.stderr else "'. Help: sparse")


@pytest.fixture
def broken_info(monkeypatch):
    """Makes ``info`` fail with an error of the test's choice."""

    def with_error(error: BaseException) -> None:
        def load(*args: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("sparserec_np.runtime.model.load", load)

    return with_error


def test_an_unexpected_error_is_one_line_and_exit_code_1(broken_info):
    broken_info(ZeroDivisionError("division by zero"))
    fails(
        run("info", "m.srec"),
        "unexpected ZeroDivisionError: division by zero; run it again with --debug",
        code=1,
    )


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), InputError("oh")])
def test_debug_shows_the_traceback(broken_info, error):
    broken_info(error)
    result = run("info", "m.srec", "--debug")
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_an_interruption_exits_130(broken_info):
    broken_info(KeyboardInterrupt())
    result = run("info", "m.srec")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "error: interrupted"


def test_a_missing_package_is_answered_with_its_pip_line(broken_info):
    broken_info(ModuleNotFoundError("No module named 'scipy'", name="scipy"))
    fails(run("info", "m.srec"), "pip install 'sparserec-np[train]'")


def test_warnings_of_the_package_are_shown_even_with_quiet(monkeypatch):
    def load(*args: object, **options: object) -> None:
        logging.getLogger("sparserec_np.runtime.model").warning("a warning")
        logging.getLogger("sparserec_np.runtime.model").info("a remark")
        raise InputError("the end")

    monkeypatch.setattr("sparserec_np.runtime.model.load", load)
    assert run("info", "m.srec", "-q").stderr == "warning: a warning\nerror: the end\n"
    assert run("info", "m.srec").stderr == "warning: a warning\na remark\nerror: the end\n"
