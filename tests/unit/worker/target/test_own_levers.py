"""Levers of a model file: read as written, refused with what to write instead."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from planner.errors import TargetError
from planner.wire.own_lever import OwnLever
from planner.wire.protocol import Loaded, decode, encode
from planner.worker.target.own_levers import own_levers


def module(levers: Any = None) -> ModuleType:
    made = ModuleType("net")
    if levers is not None:
        made.levers = levers  # type: ignore[attr-defined]  # as a user's file would have it
    return made


def test_a_file_without_levers_has_none() -> None:
    assert own_levers(module()) == ()
    assert own_levers(module({})) == ()


def test_levers_are_read_and_reach_the_parent() -> None:
    table = {
        "window": {"arguments": {"attention": "window", "size": 64}, "note": "sees less"},
        "thin": {"arguments": {"width": 8}, "code": "model = Net(width=8)"},
    }
    found = own_levers(module(table))
    assert found == (
        OwnLever(
            name="window", arguments=(("attention", "window"), ("size", 64)), note="sees less"
        ),
        OwnLever(name="thin", arguments=(("width", 8),), code="model = Net(width=8)"),
    )
    loaded = Loaded(levers=found)
    assert decode(encode(loaded), (Loaded,)) == loaded


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([1], "levers in net is a list"),
        ({"a": 1}, "'a' is no lever"),
        ({"a": {"note": "x"}}, "has no arguments"),
        ({"a": {"arguments": {"x": 1}, "flags": "x"}}, "has the key 'flags'"),
        ({"a": {"arguments": {"x": [1]}}}, "x must be a number"),
        ({"a": {"arguments": {"x": 1}, "note": 3}}, "note must be text, not 3"),
    ],
)
def test_another_form_is_refused(table: Any, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        own_levers(module(table))
