"""Data flows one way: a module imports only from modules above it in the list below."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

LAYERS = [
    "_version",
    "errors",
    "utils",
    "vocabulary",
    "modelfile",
    "runtime",
    "runtime_stdlib",
    "web",
    "data",
    "retrieval",
    "evaluation",
    "training",
    "interactions",
    "distributed",
    "estimator",
    "adapters",
    "tuning",
    "demo",
    "report",
    "doctor",
    "cli",
    "__main__",
]
SHIPS = ("_version", "errors", "vocabulary", "modelfile", "runtime", "runtime_stdlib", "web")
SHIPPED = [name for name in SHIPS if name in LAYERS]
# __init__ offers names of all modules, but imports them when they are first used; see _HOME there.
LAZY = "__init__"

PROJECT = Path(__file__).resolve().parent.parent


def sources() -> dict[str, list[Path]]:
    """Source files of each module; a package is one module."""
    files: dict[str, list[Path]] = {}
    for path in sorted((PROJECT / "sparserec_np").rglob("*.py")):
        module = path.relative_to(PROJECT / "sparserec_np").parts[0].removesuffix(".py")
        files.setdefault(module, []).append(path)
    files["cli"] = sorted((PROJECT / "cli").rglob("*.py"))
    return files


def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, but for the imports of a type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """Modules of this package that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("sparserec_np.")} - {
        "__version__"
    }


@pytest.mark.parametrize("module", sorted(set(sources()) - {LAZY}))
def test_a_module_imports_only_from_above(module):
    assert module in LAYERS, f"new module: give {module!r} its place in LAYERS"
    above = set(LAYERS[: LAYERS.index(module)]) | {module}
    for path in sources()[module]:
        assert own_imports(path) <= above, path.name


@pytest.mark.parametrize("module", sorted(set(SHIPPED) & set(sources())))
def test_what_ships_needs_numpy_and_the_standard_library_alone(module):
    allowed = set(sys.stdlib_module_names) | {"numpy", "sparserec_np"}
    if module == "runtime_stdlib":
        allowed -= {"numpy", "sparserec_np"}
    for path in sources()[module]:
        assert {name.split(".")[0] for name in imports(path)} <= allowed


def test_the_package_itself_imports_only_what_is_light():
    (path,) = sources()[LAZY]
    assert own_imports(path) == {"_version", "errors"}
