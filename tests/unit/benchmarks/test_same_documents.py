"""Where two documents differ is said by key; equal ones are equal."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.same_documents import COMMANDS, different_keys


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ({"a": [1, {"b": 2.5}]}, {"a": [1, {"b": 2.5}]}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 became 2"]),
        ({"a": 1}, {"a": 1.0}, ["a: 1 became 1.0"]),
        ({"a": 1}, {"a": True}, ["a: 1 became True"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b[1]: 2 became 3"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a: [1] became [1, 2]"]),
        ({"a": 1, "b": 2}, {"b": 2, "c": 3}, ["a: gone", "c: new"]),
        ({"a": None}, {"a": 0}, ["a: None became 0"]),
    ],
)
def test_what_differs_is_said_by_key(one: Any, two: Any, said: list[str]) -> None:
    assert list(different_keys(one, two)) == said


def test_every_question_is_asked_and_errors_too() -> None:
    asked = {command.split()[0] for command in COMMANDS}
    assert asked >= {"estimate", "curve", "compare", "inspect", "verify", "gpus", "cpus", "hosts"}
    assert len(COMMANDS) == len(set(COMMANDS))
