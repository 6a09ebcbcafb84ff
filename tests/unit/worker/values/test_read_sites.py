"""Reads that decide nothing: zero is right for them."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from planner.worker.values.read_sites import is_harmless


def frame_in(file: str, function: str) -> FrameType:
    """A frame of a function of that name, in a file of that name."""
    kept: dict[str, object] = {"sys": sys}
    exec(compile(f"def {function}():\n    return sys._getframe()", file, "exec"), kept)
    found = kept[function]()  # type: ignore[operator]
    assert isinstance(found, FrameType)
    return found


@pytest.mark.parametrize(
    ("file", "function", "harmless"),
    [
        ("/env/torch/amp/grad_scaler.py", "_maybe_opt_step", True),
        ("/env/deepspeed/runtime/utils.py", "is_invalid_grad_norm", True),
        ("/env/deepspeed/runtime/zero/stage3.py", "has_overflow", True),
        ("/env/deepspeed/runtime/utils.py", "clip_grad_norm_", False),
        ("/home/me/train.py", "has_overflow", False),
    ],
)
def test_tests_for_infinity_are_harmless(file: str, function: str, harmless: bool) -> None:
    assert is_harmless(frame_in(file, function)) is harmless


def test_an_unknown_place_may_matter() -> None:
    assert not is_harmless(None)
