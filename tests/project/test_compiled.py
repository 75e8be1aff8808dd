"""Helpers of compiled code are not called from Python, which would crash the process."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPILED = {"kernel", "helper", "inline"}


def decorators(function: ast.FunctionDef) -> set[str]:
    return {name.id for name in function.decorator_list if isinstance(name, ast.Name)}


def python_calls(node: ast.AST) -> set[str]:
    """Return the names of what is called outside of compiled functions."""
    calls = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and decorators(child) & COMPILED:
            continue
        calls |= python_calls(child)
        if isinstance(child, ast.Call):
            function = child.func
            calls.add(getattr(function, "id", None) or getattr(function, "attr", ""))
    return calls


def test_python_calls_no_helper():
    trees = [
        ast.parse(path.read_text("utf-8"))
        for folder in ("sparserec_np", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
    ]
    helpers = {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "helper" in decorators(node)
    }
    assert "visit_group" in helpers
    called = set().union(*map(python_calls, trees))
    assert called & helpers == set()
