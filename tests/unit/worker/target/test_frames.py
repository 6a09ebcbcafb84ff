from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from planner.errors import UsageError
from planner.units import parse_bytes
from planner.worker.target.frames import describe, first_line, user_frames


def raised(function: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as error:  # noqa: PT011  # any: its frames are what is tested
        function()
    return error.value


class Net(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        return x @ torch.ones(7, 7)


def test_torchs_frames_are_left_out() -> None:
    frames = user_frames(raised(lambda: Net()(torch.ones(2, 2)))).splitlines()
    assert "in forward" in frames[-4]
    assert frames[-3].strip() == "return self.inner(x)"
    assert "test_frames.py" in frames[-2]
    assert frames[-1].strip() == "return x @ torch.ones(7, 7)"
    assert not any("_call_impl" in frame for frame in frames)


def test_planners_frames_are_left_out() -> None:
    error = raised(lambda: parse_bytes("much"))
    assert isinstance(error, UsageError)
    assert "units.py" not in user_frames(error)
    assert "test_frames.py" in user_frames(error)


def test_a_deep_recursion_is_cut() -> None:
    def down(depth: int) -> None:
        if depth == 0:
            raise ValueError("bottom")
        down(depth - 1)

    assert len(user_frames(raised(lambda: down(50))).splitlines()) == 24


def test_texts() -> None:
    assert describe(ValueError("no\nmore")) == "ValueError: no\nmore"
    assert describe(KeyError()) == "KeyError"
    assert first_line(ValueError("no.\nmore")) == "ValueError: no"
    assert len(first_line(ValueError("x" * 500))) == 200
