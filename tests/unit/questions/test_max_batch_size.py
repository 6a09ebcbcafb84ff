"""max_batch_size(): which number of an estimate it is, and for which card."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

import planner
from planner.errors import UnsupportedPlatformError, UsageError
from planner.machine.nvml import PhysicalCard
from planner.machine.this_card import ThisCard
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import GIB

MODULE = import_module("planner.questions.max_batch_size")


@pytest.fixture
def asked(
    estimate: Estimate, a100: DeviceEstimate, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The call of estimate() that was made; its answer is `card`, with 100 and suggested 90."""
    card = replace(a100, max_batch_size=100, suggested_batch_size=90, max_batch_is_bound=False)
    given: dict[str, Any] = {"card": card}

    def stand_in(target: Any, **options: Any) -> Estimate:
        given.update(options)
        return replace(estimate, gpus=(given["card"],))

    monkeypatch.setattr(MODULE, "estimate", stand_in)
    return given


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {}, 90),
        ({}, {"margin": False}, 100),
        ({"suggested_batch_size": None}, {}, 100),
        ({"suggested_batch_size": 0}, {}, 0),
        ({"max_batch_size": 0, "suggested_batch_size": 0}, {"margin": False}, 0),
        ({}, {"most": 64}, 64),
        ({}, {"most": 95}, 90),
        ({"max_batch_is_bound": True, "suggested_batch_size": None}, {}, None),
        ({"max_batch_is_bound": True, "suggested_batch_size": None}, {"most": 80}, 80),
        ({"max_batch_is_bound": True, "suggested_batch_size": None}, {"most": 101}, None),
        ({"max_batch_is_bound": True}, {}, 90),
        ({"max_batch_is_bound": True, "suggested_batch_size": 100}, {}, None),
    ],
)
def test_which_number(
    asked: dict[str, Any], changes: dict[str, Any], options: dict[str, Any], expected: int | None
) -> None:
    asked["card"] = replace(asked["card"], **changes)
    assert planner.max_batch_size("net.py", gpu="a100", **options) == expected


def test_options_are_those_of_estimate(asked: dict[str, Any]) -> None:
    planner.max_batch_size("net.py", gpu="t4", precision="bf16", reserve="5%")
    assert (asked["gpu"], asked["precision"], asked["reserve"]) == ("t4", "bf16", "5%")


@pytest.mark.parametrize("gpu", ["a100,t4", "all"])
def test_one_card_is_needed(asked: dict[str, Any], gpu: str) -> None:
    with pytest.raises(UsageError, match="max_batch_size answers for one card"):
        planner.max_batch_size("net.py", gpu=gpu)


@pytest.mark.parametrize("most", [0, -1, 2.5, True])
def test_a_most_that_is_none(asked: dict[str, Any], most: Any) -> None:
    with pytest.raises(UsageError, match="most must be a whole number"):
        planner.max_batch_size("net.py", gpu="t4", most=most)


def test_without_gpu_it_is_the_card_of_this_process(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = PhysicalCard(
        index=0,
        uuid="GPU-0",
        name="Tesla T4",
        driver="580.65.06",
        is_partitioned=False,
        usable_memory_bytes=15 * GIB,
        ecc=True,
        power_limit_w=70.0,
    )

    @contextmanager
    def opened() -> Any:
        yield None

    monkeypatch.setattr(MODULE.nvml, "opened", opened)
    monkeypatch.setattr(MODULE, "this_card", lambda _: ThisCard(card=card, others_bytes=4 * GIB))
    planner.max_batch_size("net.py")
    assert (asked["gpu"], asked["gpu_memory"]) == ("t4", 11 * GIB)
    planner.max_batch_size("net.py", gpu_memory="8GiB")
    assert asked["gpu_memory"] == "8GiB"


def test_without_a_card_here_it_says_so(asked: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPlatformError, match="here no NVIDIA driver answers"):
        planner.max_batch_size("net.py")
