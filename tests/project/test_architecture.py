"""Data flows one way: a package imports only from those above it, and has no circle within it."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGES = [
    "_version",
    "errors",
    "utils",
    "vocabulary",
    "modelfile",
    "runtime",
    "runtime_stdlib",
    "web",
    "data",
    "interactions",
    "retrieval",
    "evaluation",
    "features",
    "training",
    "distributed",
    "tuning",
    "report",
    "estimator",
    "adapters",
    "cli",
    "__main__",
]
SHIPPED = ("errors", "vocabulary", "modelfile", "runtime", "runtime_stdlib", "web")
"""What a program that only recommends carries: NumPy and the standard library are all it needs."""

LAZY = "__init__"
"""Offers public names of all packages, but imports them when they are first used."""

PROJECT = Path(__file__).resolve().parents[2]


def modules() -> dict[str, Path]:
    """Source file of each module, by its dotted name without ``sparserec_np.``."""
    found = {}
    for folder, prefix in ((PROJECT / "sparserec_np", ()), (PROJECT / "cli", ("cli",))):
        for path in sorted(folder.rglob("*.py")):
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == LAZY and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> set[str]:
    """Dotted names of all that a module imports, but for the imports of a type checker."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
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
        elif isinstance(node, ast.ImportFrom):
            base = "sparserec_np.cli" if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def own_imports(module: str) -> set[str]:
    """Modules of this package that a module imports."""
    found = set()
    for name in imports(module):
        parts = name.split(".")[1:] if name.startswith("sparserec_np.") else []
        while parts and ".".join(parts) not in MODULES:
            parts.pop()
        if parts:
            found.add(".".join(parts))
    return found - {module}


def package(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("name", sorted({package(module) for module in MODULES} - {LAZY}))
def test_a_package_imports_only_from_above(name):
    assert name in PACKAGES, f"new: give {name!r} its place in PACKAGES"
    above = set(PACKAGES[: PACKAGES.index(name) + 1])
    for module in MODULES:
        if package(module) == name:
            assert {package(other) for other in own_imports(module)} <= above, module


def test_no_module_imports_itself_by_way_of_others():
    list(TopologicalSorter({module: own_imports(module) for module in MODULES}).static_order())


def test_there_are_few_levels_of_packages():
    graph = {}
    for module in MODULES:
        if module != LAZY:
            others = {package(other) for other in own_imports(module)}
            graph[package(module)] = graph.get(package(module), set()) | others
    levels: dict[str, int] = {}
    for name in TopologicalSorter({n: o - {n} for n, o in graph.items()}).static_order():
        levels[name] = 1 + max((levels[other] for other in graph[name] - {name}), default=0)
    assert max(levels.values()) <= 12, levels


def test_the_tree_is_small_enough_to_be_seen_at_once():
    beside = {"__init__.py", "__main__.py", "_version.py", "py.typed", "FORMAT.md", "__pycache__"}
    beside.add("interactions.py")  # a former name
    entries = {path.name for path in (PROJECT / "sparserec_np").iterdir()} - beside
    assert len(entries) <= 17, sorted(entries)


@pytest.mark.parametrize("module", [m for m in MODULES if package(m) in SHIPPED])
def test_what_ships_needs_numpy_and_the_standard_library_alone(module):
    allowed = set(sys.stdlib_module_names) | {"numpy", "sparserec_np"}
    if module == "runtime_stdlib":
        allowed -= {"numpy", "sparserec_np"}
    assert {name.split(".")[0] for name in imports(module)} <= allowed


def test_the_package_itself_imports_only_what_is_light():
    assert own_imports(LAZY) <= {"_version", "errors"}
