"""Where compiled code is kept: never where another version's is, never where others may write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from shutil import ignore_patterns

import pytest

SHOW = "from sparserec_np.utils import compiled; print(compiled.FOLDER)"


def folder(tmp_path, **environment: str) -> tuple[str, str]:
    """Return the folder that a process chooses, and what it logs."""
    code = "import logging; logging.basicConfig();" + SHOW
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_a_folder_that_is_named(tmp_path):
    chosen, said = folder(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "named"))
    assert chosen.startswith(str(tmp_path / "named" / "sparserec_np-"))
    assert not said


def test_where_nothing_else_can_be_written_to_it_is_a_temporary_folder_of_ones_own(tmp_path):
    (tmp_path / "a file").touch()
    chosen, said = folder(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "a file"))
    assert chosen.startswith(str(tmp_path / "sparserec_np-"))
    assert os.stat(chosen).st_mode & 0o777 == 0o700
    assert said.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in said


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_a_temporary_folder_that_others_may_write_to_is_not_used(tmp_path):
    (tmp_path / "a file").touch()
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "a file")}
    chosen, _ = folder(tmp_path, **named)
    os.chmod(chosen, 0o777)
    chosen, said = folder(tmp_path, **named)
    assert chosen == "None"
    assert "NUMBA_CACHE_DIR" in said


@pytest.mark.parametrize(
    "source, matters",
    [
        ("training/kernels/bpr.py", True),
        ("training/kernels/arrays.py", True),  # types alone
        ("training/nmf.py", True),
        ("retrieval/inverted_index.py", True),
        ("utils/parallel.py", True),
        ("modelfile/layout.py", True),
        ("training/fit.py", False),
        ("data/interactions.py", False),
    ],
)
def test_other_sources_of_compiled_code_have_another_folder(monkeypatch, tmp_path, source, matters):
    from sparserec_np.utils import compiled

    before, copy = compiled._digest(), tmp_path / "sparserec_np"
    shutil.copytree(Path(compiled.__file__).parents[1], copy, ignore=ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_PACKAGE", copy)
    assert compiled._digest() == before
    (copy / source).write_text((copy / source).read_text() + "LANES = 32\n")
    assert (compiled._digest() != before) == matters


def test_a_first_fit_says_that_it_compiles(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("user,item\n" + "".join(f"{n % 7},{n % 5}\n" for n in range(35)))
    command = [sys.executable, "-m", "sparserec_np", "fit", str(path), "-o", str(tmp_path / "m")]
    command += ["--epochs", "1", "--dim", "4", "--sparsity", "0.5"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for has_been_compiled in (False, True):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        says = "compiling the engine, once for each kind of command on this machine, up to about"
        assert (says in done.stderr) != has_been_compiled
