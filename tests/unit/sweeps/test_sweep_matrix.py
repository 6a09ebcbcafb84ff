"""The grid of a sweep: axes, include and exclude as in a matrix of CI, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.errors import UsageError
from planner.sweeps.case import SweepCase, sweep_case
from planner.sweeps.matrix import matrix_file, matrix_of, split_rows

AXES = {"target": ["a.py", "b.py"], "gpu": "t4,a100", "batch": [8, 32]}


def asked(case: SweepCase) -> tuple[Any, ...]:
    options = json.loads(case.options)
    others = {name: value for name, value in options.items() if name != "batch_size"}
    del others["precision"]
    return (case.target, case.gpu, options["batch_size"], *others.items())


def cases(*rows: Any, **words: Any) -> list[tuple[Any, ...]]:
    return [asked(case) for case in matrix_of(*rows, **words).cases()]


def test_each_with_each_in_the_order_of_the_axes() -> None:
    assert cases(AXES) == [
        ("a.py", "t4", 8), ("a.py", "t4", 32), ("a.py", "a100", 8), ("a.py", "a100", 32),
        ("b.py", "t4", 8), ("b.py", "t4", 32), ("b.py", "a100", 8), ("b.py", "a100", 32),
    ]  # fmt: skip


def test_exclude_takes_out_what_has_all_of_a_row() -> None:
    found = cases(AXES, exclude=[{"target": "a.py", "batch": 32}, {"gpu": "a100"}])
    assert found == [("a.py", "t4", 8), ("b.py", "t4", 8), ("b.py", "t4", 32)]


# The example of GitHub's documentation, with options of ours:
# https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations
def test_include_is_that_of_github() -> None:
    axes = {"target": ["apple", "pear"], "gpu": ["t4", "a100"]}
    rows = [
        {"seq": 1},
        {"gpu": "t4", "seq": 2},
        {"target": "apple", "mode": "infer"},
        {"target": "banana", "gpu": "t4"},
        {"target": "banana", "gpu": "t4", "mode": "infer"},
    ]
    assert cases(axes, include=rows) == [
        ("apple", "t4", 8, ("mode", "infer"), ("sequence_length", 2)),
        ("apple", "a100", 8, ("mode", "infer"), ("sequence_length", 1)),
        ("pear", "t4", 8, ("sequence_length", 2)),
        ("pear", "a100", 8, ("sequence_length", 1)),
        ("banana", "t4", 8),
        ("banana", "t4", 8, ("mode", "infer")),
    ]


def test_included_rows_alone_are_a_matrix() -> None:
    assert cases({}, include=[{"target": "a.py", "gpu": "t4", "batch": 2}]) == [("a.py", "t4", 2)]


def test_a_case_that_is_included_twice_is_one() -> None:
    axes = {"target": "a.py", "gpu": "t4", "batch": [8, 8]}
    assert cases(axes, include=[{"target": "a.py", "gpu": "t4", "batch": 8}]) == [("a.py", "t4", 8)]


@pytest.mark.parametrize(
    ("axes", "words", "says"),
    [
        ({"target": "a.py"}, {}, "has no gpu"),
        ({"gpu": "t4"}, {}, "has no target"),
        ({}, {}, "has no case"),
        (AXES, {"exclude": [{"target": "a.py"}, {"target": "b.py"}]}, "has no case"),
        ({**AXES, "bacth": 8}, {}, "'bacth' is no option that a sweep can vary; did you mean"),
        ({**AXES, "device": "cpu"}, {}, "'device' is no option"),
        ({**AXES, "batch": []}, {}, "batch_size has no value"),
        ({**AXES, "batch": ["many"]}, {}, "batch_size must be a whole number"),
        ({**AXES, "batch": [0]}, {}, "batch_size"),
        ({**AXES, "precision": "half"}, {}, "did you mean fp16"),
        ({**AXES, "confirm": "yes"}, {}, "confirm must be true or false"),
        ({**AXES, "batch_size": 8}, {}, "names batch_size twice"),
        ({**AXES, "price": float("nan")}, {}, "finite"),
        ({**AXES, "target": [["a.py"]]}, {}, "target must be a text"),
        (AXES, {"include": {"gpu": "t4"}}, "include must be a list of rows"),
        (AXES, {"exclude": ["t4"]}, "exclude must be a list of rows"),
        ({**AXES, "seq": list(range(1, 500)), "steps": list(range(1, 400))}, {}, "at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_refused(axes: Any, words: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        matrix_of(axes, **words).cases()


def test_the_key_is_of_what_is_asked() -> None:
    one = sweep_case("net.py", "a100", {"batch_size": 8, "mode": "train"})
    assert one.key == sweep_case("net.py", " A100", {"mode": "train", "batch_size": 8}).key
    assert one.key == sweep_case("net.py", "a100", {**json.loads(one.options), "timeout_s": 9}).key
    assert sweep_case("net.py", "t4", {}).key == "8406399a7d0b5baa"  # on each machine, for good
    others = [
        sweep_case("net2.py", "a100", {"batch_size": 8, "mode": "train"}),
        sweep_case("net.py", "t4", {"batch_size": 8, "mode": "train"}),
        sweep_case("net.py", "a100", {"batch_size": 9, "mode": "train"}),
        sweep_case("net.py", "a100", {"batch_size": 8, "mode": "train", "precision": "fp32"}),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_nothing_said_is_the_default() -> None:
    plain = sweep_case("net.py", "t4", {})
    assert plain.key == sweep_case("net.py", "t4", {"batch_size": 8}).key
    assert plain.key == sweep_case("net.py", "t4", {"precision": "as-built"}).key


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("target: a.py\ngpu: [t4]\nbatch: [1, 2]\nexclude:\n  - {batch: 2}\n")
    axes, included, excluded = split_rows(matrix_file(file))
    assert cases(axes, included, excluded) == [("a.py", "t4", 1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("target: [a.py\n", "is not valid YAML"),
        ("- a.py\n", "an axis on each line"),
        ("", "is empty"),
        ("gpu: t4\ngpu: a100\n", "written twice"),
        ("target: !!python/object/apply:os.system [id]\n", "is not valid YAML"),
        ("date: 2026-13-45\n", "is not a valid"),
        (f"target: [{'a' * (1 << 20)}]", "too long: a matrix has"),
    ],
    ids=["broken", "list", "empty", "twice", "python", "date", "long"],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        matrix_file(file)
    with pytest.raises(UsageError, match="cannot be read"):
        matrix_file(tmp_path / "none.yaml")
