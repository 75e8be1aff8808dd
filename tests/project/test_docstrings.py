"""Every public name says in its docstring what it takes, gives and raises.

Sections are asked for where they apply: ``Args`` names each argument, ``Returns`` says what comes
back, ``Raises`` which errors the code raises, shape or dtype stand where there are arrays. A
docstring of one line may say all of that in its line, where there is one argument at most.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import sparserec_np
from sparserec_np import data, report
from sparserec_np.training import config, epoch_log, state
from sparserec_np.web import export

NAMES: dict[str, Any] = {
    **{name: getattr(sparserec_np, name) for name in sparserec_np.__all__ if name[0] != "_"},
    "Config": config.Config,
    "EpochMetrics": state.EpochMetrics,
    "export_web": export.export_web,
    "figures": report.figures,
    "from_any": data.from_any,
    "read_log": epoch_log.read_log,
    "render": report.render,
    "write_log": epoch_log.write_log,
}
ARRAYS = re.compile(r"NDArray|ndarray|Recommendation\b")
SHAPE = re.compile(r"(int|float|bool)(\d*|p)(\[| array| scores)|cosines of|:meth:`recommend`")


def functions() -> Iterator[tuple[str, Any, str]]:
    """Public functions and methods, with the docstring that speaks for their arguments."""
    for name, thing in NAMES.items():
        if not inspect.isclass(thing):
            yield name, thing, inspect.getdoc(thing) or ""
            continue
        if "__init__" in vars(thing) and not dataclasses.is_dataclass(thing):
            yield name, thing.__init__, inspect.getdoc(thing) or ""
        for attribute, member in vars(thing).items():
            method = getattr(member, "__func__", member)  # of a class method
            if attribute[0] != "_" and inspect.isfunction(method):
                yield f"{name}.{attribute}", method, inspect.getdoc(method) or ""


FUNCTIONS = list(functions())


def check(function: Any, text: str) -> None:
    """Fail where a section is missing."""
    assert text, "no docstring"
    signature = inspect.signature(function)
    arguments = [name for name in signature.parameters if name not in {"self", "cls"}]
    one_line = "\n" not in text and len(arguments) <= 1
    if arguments and not one_line:
        sections = re.split(r"^(\w+):$", text, flags=re.MULTILINE)
        assert "Args" in sections, "no Args"
        explained = sections[sections.index("Args") + 1]
        for argument in arguments:
            assert re.search(rf"^    \**{argument}: \S", explained, re.MULTILINE), argument
    returns = str(signature.return_annotation)
    if returns != "None" and not one_line and arguments:
        assert "\nReturns:\n" in text or "\nYields:\n" in text, "no Returns"
    if re.search(r"^\s+raise \w+Error\b", inspect.getsource(function), re.MULTILINE):
        assert "\nRaises:\n" in text, "no Raises"
    if ARRAYS.search(returns):
        assert SHAPE.search(text), "no shape or dtype"


@pytest.mark.parametrize(("name", "function", "text"), FUNCTIONS, ids=[n for n, *_ in FUNCTIONS])
def test_a_function_explains_itself(name, function, text):
    check(function, text)


@pytest.mark.parametrize("name", [n for n, t in NAMES.items() if inspect.isclass(t)])
def test_a_class_explains_itself_its_fields_and_properties(name):
    thing = NAMES[name]
    assert inspect.getdoc(thing) and thing.__doc__
    source = inspect.getsource(thing)
    if dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            explained = rf'^    {field.name}: [^\n]*\n(?:    [^\n"]*\n)*?    """\w'
            listed = rf"^    {field.name}: \w"
            assert re.search(explained, source, re.MULTILINE) or re.search(
                listed, inspect.getdoc(thing), re.MULTILINE
            ), field.name
    for attribute, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else getattr(member, "func", None)
        if attribute[0] == "_" or function is None:
            continue
        text = inspect.getdoc(function)
        assert text, attribute
        if ARRAYS.search(str(inspect.signature(function).return_annotation)):
            assert SHAPE.search(text), attribute


def test_the_algorithm_names_its_source():
    assert "arXiv 2411.12205" in inspect.getdoc(sparserec_np.SparseRec)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "no docstring"),
        ("Do.", "no Args"),
        ("Do.\n\nArgs:\n    a: It.\n", "b"),
        ("Do.\n\nArgs:\n    a: It.\n    b: It.\n", "no Returns"),
        ("Do.\n\nArgs:\n    a: It.\n    b: It.\n\nReturns:\n    It.\n", "no Raises"),
    ],
)
def test_a_missing_section_is_found(text, missing):
    def function(a: int, b: int) -> int:
        if a < 0:
            raise ValueError
        return b

    with pytest.raises(AssertionError, match=missing):
        check(function, text)
