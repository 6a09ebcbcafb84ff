"""The public face: one list of names, each with a docstring, each field of a record with a line."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

import planner
from planner import errors
from planner.config import options
from planner.errors import HistoryError, PlannerError
from planner.public import names as public

ROOT = Path(planner.__file__).parents[1]
NAMES = [name for name in planner.__all__ if name != "__version__"]
CLASSES = [getattr(planner, name) for name in NAMES if inspect.isclass(getattr(planner, name))]
RECORDS = [one for one in CLASSES if dataclasses.is_dataclass(one)]
ENUMS = [one for one in CLASSES if issubclass(one, Enum)]
# Met at the command line alone: the library writes no file and keeps no verification.
OF_THE_COMMAND_LINE = {HistoryError}


def undocumented(source: str, names: set[str]) -> list[str]:
    """Fields and members of the classes `names` without a docstring directly under them."""
    found = []
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.ClassDef) and node.name in names):
            continue
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign):
                target: ast.expr = statement.target
            elif isinstance(statement, ast.Assign):
                (target,) = statement.targets
            else:
                continue
            text = following.value if isinstance(following, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value):
                assert isinstance(target, ast.Name)
                found.append(f"{node.name}.{target.id}")
    return found


def classes_in(annotation: object) -> Iterator[type]:
    """Every class that an annotation is made of."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        yield from classes_in(part)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_docstring_of_its_own(name: str) -> None:
    text = getattr(planner, name).__doc__
    assert text
    assert not text.startswith(f"{name}(")  # what a dataclass would write


def test_names_are_those_of_the_list_and_nothing_else() -> None:
    imported = {
        alias.name
        for node in ast.parse(Path(public.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert set(planner.__all__) == imported
    assert len(planner.__all__) == len(set(planner.__all__))
    assert dir(planner) == sorted(planner.__all__)
    everything: dict[str, object] = {}
    exec("from planner import *", everything)
    assert set(planner.__all__) <= set(everything)
    with pytest.raises(AttributeError, match="no attribute 'estimates'"):
        _ = planner.estimates  # type: ignore[attr-defined]  # there is none


def test_names_are_sorted() -> None:
    def key(name: str) -> tuple[bool, str]:
        return (not name[0].isupper(), name)

    assert list(planner.__all__) == sorted(planner.__all__, key=key)


@pytest.mark.parametrize("file", sorted({inspect.getfile(one) for one in [*RECORDS, *ENUMS]}))
def test_every_field_and_member_has_a_line_of_its_own(file: str) -> None:
    names = {one.__name__ for one in [*RECORDS, *ENUMS]}
    assert undocumented(Path(file).read_text(encoding="utf-8"), names) == []


def test_a_field_without_a_line_would_be_seen() -> None:
    fields = ["x: int", '"""X."""', "y: int", "z = 1"]
    source = "\n    ".join(["class A:", '"""A."""', *fields]) + "\nclass B:\n    q: int\n"
    assert undocumented(source, {"A"}) == ["A.y", "A.z"]
    assert undocumented(source, {"B"}) == ["B.q"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: one.__name__)
def test_what_a_record_holds_is_public_too(record: type) -> None:
    hints = typing.get_type_hints(record)
    held = {kind for hint in hints.values() for kind in classes_in(hint)}
    ours = {kind for kind in held if kind.__module__.startswith("planner.")}
    assert ours <= set(CLASSES), {kind.__name__ for kind in ours - set(CLASSES)}


def test_what_a_function_returns_is_public() -> None:
    public = [getattr(planner, name) for name in NAMES]
    functions = [one for one in public if inspect.isfunction(one)]
    assert len(functions) == 17
    for function in functions:
        returned = inspect.signature(function).return_annotation
        assert returned in {*(one.__name__ for one in CLASSES), "int | None", "Path"}


def test_every_error_of_a_question_is_public() -> None:
    tree = {
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, PlannerError)
    }
    assert tree - set(CLASSES) == OF_THE_COMMAND_LINE


def test_importing_planner_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import planner; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {one for one in done.stdout.split() if one.startswith(("planner", "torch"))} == {
        "planner",
        "planner._version",
    }


def test_every_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    directives = re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)
    assert len(directives) == len(set(directives))
    places = {
        f"{public.__module__}.{public.__qualname__}": name
        for name in NAMES
        for public in [getattr(planner, name)]
    }
    errors_alone = {place for place in places if place.startswith("planner.errors.")}
    groups = {f"{options.__name__}.{name}" for name in vars(options) if name.endswith("Options")}
    assert set(directives) == (set(places) - errors_alone) | groups | {"planner.errors"}


def test_a_question_is_the_same_without_the_list_of_names() -> None:
    questions = (
        "advise", "compare", "curve", "estimate", "inspect", "learn", "learn_trace",
        "max_batch_size", "parallelize", "run", "serving", "sweep", "verify",
    )  # fmt: skip
    assert questions == planner._QUESTIONS  # type: ignore[attr-defined]
    for name in questions:
        assert getattr(planner, name) is getattr(public, name)
    program = (
        "import sys, planner; planner.curve; assert 'planner.questions.verify' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
