"""Output at a terminal: bars, the log, completion."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(sys.executable).with_name("sparserec-np")
QUICK = ["--dim", "16", "--sparsity", "0.5"]


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    rng = np.random.default_rng(5)
    rows = [  # four groups of users with tastes of their own: better than popularity, so no warning
        f"{user},{10 * (user % 4) + film}" for user in range(60) for film in rng.permutation(10)[:8]
    ]
    path.write_text("\n".join(["user,item", *rows]) + "\n")
    return path


def on_a_terminal(*args: object, columns: int = 80, program: Path = PROGRAM) -> str:
    """Run the command with all its output on a terminal; return what it wrote, colours left out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):  # of the terminal that the tests run at
        environment.pop(name, None)
    command = [str(program), *map(str, args)]
    written = b""
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not part:
                break
            written += part
    os.close(ours)
    assert process.returncode == 0, written
    return re.sub(r"\x1b\[[0-9;]*m", "", written.decode())


def test_a_fit_shows_bars(ratings, tmp_path):
    shown = on_a_terminal("fit", ratings, "-o", tmp_path / "m.srec", *QUICK)
    assert "\x1b[" in shown  # the cursor moves: bars are drawn again in place
    lines = [line.strip() for line in re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", shown)]
    choose = [line for line in lines if line.startswith("choose ")]
    assert re.search(r"━.* \d+/\d+ +(\d\d:\d\d|--:--) loss \d\.\d{4}  NDCG 0\.\d{4}", choose[-1])
    assert {len(line) for line in choose if "NDCG" in line} == {80}  # the bar takes what is left
    train = [line for line in lines if line.startswith("train ")]
    assert re.search(r"(\d+)/\1 ", train[-1])  # done, though laid out for more epochs
    assert "epoch " not in shown


def test_a_line_of_the_log_is_not_written_into_a_bar():
    program = """
import logging, time
from sparserec_np.cli.log import log_to_stderr
from sparserec_np.cli.progress import show_epochs
log_to_stderr(logging.INFO)
with show_epochs():
    time.sleep(0.3)  # the bar is drawn
    logging.getLogger("sparserec_np").info("compiling")
"""
    shown = on_a_terminal("-c", program, program=Path(sys.executable))
    lines = [line.strip() for line in re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", shown)]
    assert any(line.startswith("initialize ") for line in lines)
    assert "compiling" in lines


def test_bars_use_the_width_of_the_terminal(ratings, tmp_path):
    shown = on_a_terminal("fit", ratings, "-o", tmp_path / "m.srec", *QUICK, columns=120)
    assert max(line.count("━") for line in re.split(r"[\r\n]", shown)) > 60


def test_no_line_breaks_within_a_word(ratings, tmp_path):
    folder = tmp_path / "a folder whose name is somewhat long"
    folder.mkdir()
    shown = on_a_terminal("fit", ratings, "-o", folder / "m.srec", *QUICK, "-q", columns=60)
    lines = shown.splitlines()
    piped = subprocess.run(
        [PROGRAM, "fit", ratings, "-o", folder / "m.srec", *QUICK, "-q"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(lines) > 1 == len(piped.splitlines())
    words = [re.sub(r"\d+\s+s$", "", text).split() for text in (shown.strip(), piped.strip())]
    assert words[0] == words[1]
    assert all(len(line) <= 60 or " " not in line.strip() for line in lines)


def test_facts_are_two_columns(ratings, tmp_path):
    model = tmp_path / "m.srec"
    subprocess.run([PROGRAM, "fit", ratings, "-o", model, *QUICK, "-q"], check=True)
    shown = on_a_terminal("info", model, columns=60).splitlines()
    (start,) = (i for i, line in enumerate(shown) if line.startswith("serves "))
    column = shown[start].index("anybody")
    assert shown[start + 1].startswith(" " * column)
    assert shown[start + 1][column] != " "


def test_a_search_shows_its_trials(ratings):
    shown = on_a_terminal("tune", ratings, "--trials", 3)
    assert re.search(r"trials ━+ 3/3 .*best NDCG 0\.\d{4}", shown)
    assert re.search(r"hyperparameter +default +best", shown)


def test_quiet_shows_nothing_but_the_result(ratings, tmp_path):
    shown = on_a_terminal("fit", ratings, "-o", tmp_path / "m.srec", *QUICK, "-q")
    assert shown.startswith(f"{tmp_path / 'm.srec'}:")


def test_verbose_shows_chosen_values_the_budget_and_the_stages(ratings, tmp_path):
    command = [PROGRAM, "fit", ratings, "-o", tmp_path / "m.srec", *QUICK]
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    verbose = subprocess.run([*command, "-v"], capture_output=True, text=True, check=True).stderr
    for text in (
        "chosen by facts of the data: learning_rate",
        "given: dim 16",
        "budget: sparsity 0.5 of 40 rows x 16 columns: 320 weights",
        "stage 'choose': ",
        "stage 'train' done: ",
    ):
        assert text in verbose
        assert text not in plain
    assert "\x1b" not in plain
    assert re.search(r"^train  epoch 1/20  loss .* triples/s", plain, flags=re.MULTILINE)


def test_the_library_is_silent_unless_logging_is_set_up():
    code = """
import contextlib, logging, sys
from sparserec_np import InputError, SparseRec
if sys.argv[1:]:
    logging.basicConfig(level=logging.WARNING)
with contextlib.suppress(InputError):  # it diverges, again and again
    SparseRec(dim=4, learning_rate=90.0, initial_norm=900.0, sparsity=0.0, epochs=2).fit(
        ([1, 1, 2, 2, 3, 3], [1, 2, 2, 3, 3, 1])
    )
"""
    silent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")
    heard = subprocess.run([sys.executable, "-c", code, "loud"], capture_output=True, text=True)
    assert "WARNING:sparserec_np.training.divergence:the training diverged" in heard.stderr


def test_the_help_of_completion_has_a_line_for_each_shell():
    done = subprocess.run([PROGRAM, "completion", "--help"], capture_output=True, text=True)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert 'bash: eval "$(sparserec-np completion bash)"    in ~/.bashrc' in lines
    assert "fish: sparserec-np completion fish | source     in ~/.config/fish/config.fish" in lines


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    done = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_SPARSEREC_NP_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [("tu", ["tune"]), ("fit --max", ["--max-size"]), ("fit --users h", ["history"])],
)
def test_completion_in_bash(words, expected):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = f"""
eval "$(sparserec-np completion bash)"
COMP_WORDS=(sparserec-np {words}) COMP_CWORD={len(words.split())}
_sparserec_np_completion sparserec-np
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.stdout.split() == expected, done.stderr
