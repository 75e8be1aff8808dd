"""What the wheel holds and what importing the package loads."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import sparserec_np

HEAVY = {"click", "duckdb", "narwhals", "numba", "numpy", "rich", "scipy", "sklearn"}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_installs_one_package_and_nothing_beside_it(names):
    top = {name.split("/")[0] for name in names}
    assert top == {"sparserec_np", f"sparserec_np-{sparserec_np.__version__}.dist-info"}


def test_the_wheel_holds_every_module_and_data_file(names, project):
    expected = {
        path.relative_to(project).as_posix() for path in (project / "sparserec_np").rglob("*.py")
    }
    expected |= {f"sparserec_np/cli/{path.name}" for path in (project / "cli").glob("*.py")}
    expected |= {
        path.relative_to(project).as_posix()
        for path in (project / "sparserec_np" / "web").glob("*")
        if path.is_file()
    }
    expected |= {"sparserec_np/py.typed", "sparserec_np/FORMAT.md", "sparserec_np/report/page.html"}
    assert expected <= names


def test_what_a_program_with_numpy_alone_reads_is_small(wheel):
    """All modules that a wheel's runtime imports, compressed as in the wheel."""
    code = (
        "import sys, sparserec_np\n"
        "sparserec_np.load, sparserec_np.ModelFileError\n"
        "print(*[m for m in sys.modules if m.startswith('sparserec_np')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    paths = {name.replace(".", "/") for name in done.stdout.split()}
    sizes = {
        info.filename: info.compress_size
        for info in zipfile.ZipFile(wheel).infolist()
        if info.filename.removesuffix(".py").removesuffix("/__init__") in paths
    }
    assert "sparserec_np/runtime/item_index.py" in sizes
    assert len(sizes) == len(paths)
    assert sum(sizes.values()) < 75_000


def test_the_base_install_needs_numpy_alone(wheel, names):
    (metadata,) = (name for name in names if name.endswith("METADATA"))
    header = message_from_string(zipfile.ZipFile(wheel).read(metadata).decode())
    required = header.get_all("Requires-Dist")
    base = [line for line in required if "extra ==" not in line]
    assert [line.split(">=")[0] for line in base] == ["numpy"]
    assert {"train", "test", "bench"} <= set(header.get_all("Provides-Extra"))


def test_the_command_is_declared(wheel, names):
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(zipfile.ZipFile(wheel).read(entry_points).decode())
    assert parser["console_scripts"]["sparserec-np"] == "sparserec_np.cli:main"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in ``sys.modules`` after a statement in a fresh interpreter."""
    code = (
        f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import sparserec_np") & HEAVY


def test_importing_the_runtime_loads_numpy_alone():
    loaded = loaded_by("from sparserec_np import load")
    assert loaded & HEAVY == {"numpy"}
    # More than all of the runtime's own modules, in time and memory.
    assert "logging" not in loaded - loaded_by("import numpy")


def test_every_public_name_is_there_and_listed():
    for name in sparserec_np.__all__:
        assert getattr(sparserec_np, name) is not None
        assert name in dir(sparserec_np)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'recommend'"):
        _ = sparserec_np.recommend


def test_a_missing_extra_names_its_pip_line():
    code = """
import sys
sys.modules["numba"] = sys.modules["duckdb"] = sys.modules["scipy"] = None
try:
    from sparserec_np import SparseRec
    SparseRec()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sparserec-np[train]'" in done.stdout
