"""The lanes of a step, by hand: who decides, which part is the bound, and what is hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.input_pipeline.rates import InputLimit, InputTimes
from planner.results.lanes import KERNEL_ENDS, lanes_of
from planner.results.step_time import StepTime
from planner.timing.bottleneck import Bound, MessageTimes, StepParts, bottleneck, without_room


def timed(parts: StepParts) -> StepTime:
    """The times that a report would have of these parts."""
    times = parts.input
    return StepTime(
        step_s=parts.step_s,
        samples_per_s=1.0,
        gpu_s=parts.gpu_s,
        launch_s=parts.launch_s,
        phases_s=(),
        bottleneck=bottleneck(parts),
        loader_s=None if times is None else parts.loader_s,
        copy_s=None if times is None else parts.copy_s,
    )


def batch(loader_s: float, copy_s: float, *, overlaps: bool = True) -> InputTimes:
    return InputTimes(
        batch_size=1, prepare_s=loader_s, collate_s=0.0, send_s=0.0, take_s=0.0, pin_s=0.0,
        storage_s=0.0, copy_s=copy_s, loader_s=loader_s, limit=InputLimit.WORKERS,
        overlaps_step=overlaps, copy_overlaps_step=overlaps,
    )  # fmt: skip


OF_THE_CARD = StepParts(compute_s=3.0, bandwidth_s=5.0, fixed_s=2.0, launch_s=7.0)


def test_the_card_decides_though_launches_have_the_largest_share() -> None:
    time = timed(OF_THE_CARD)
    assert time.bottleneck.shares[0] == (Bound.LAUNCHES, 0.7)
    card, launches = lanes_of(time).lanes
    assert card.decides
    assert not launches.decides
    assert [(part.name, pytest.approx(part.seconds), part.is_bound) for part in card.parts] == [
        ("memory bandwidth", 5.0, True), ("compute", 3.0, False), (KERNEL_ENDS, 2.0, False),
    ]  # fmt: skip
    assert card.seconds == pytest.approx(time.step_s) == pytest.approx(10.0)
    assert launches.seconds == 7.0
    assert lanes_of(time).why == (
        "Here that is the card; memory bandwidth is the largest part of it (50 % of "
        "the step), and so the bound. Beside it, and hidden by it: CPU: launches of kernels (70 %)."
    )


@pytest.mark.parametrize(
    ("parts", "first", "begin"),
    [
        pytest.param(
            replace(OF_THE_CARD, launch_s=20.0), "CPU: launches of kernels",
            "Here that is \"CPU: launches of kernels\", and the card waits for it.", id="launches",
        ),
        pytest.param(
            replace(OF_THE_CARD, input=batch(30.0, 1.0)), "loader: data preparation",
            "Here that is \"loader: data preparation\", and the card waits for it.", id="data",
        ),
        pytest.param(
            replace(OF_THE_CARD, input=batch(1.0, 30.0)), "PCIe: copies of batches",
            "Here that is \"PCIe: copies of batches\", and the card waits for it.", id="copy",
        ),
        pytest.param(
            replace(OF_THE_CARD, fixed_s=6.0), "card, one after another",
            "Here that is the card; begin and end of kernels is the largest part",
            id="many small kernels",
        ),
        pytest.param(
            replace(OF_THE_CARD, messages=MessageTimes(total_s=8.0, exposed_s=6.0)),
            "card, one after another", "Here that is the card; messages between GPUs",
            id="messages",
        ),
    ],
)  # fmt: skip
def test_the_lane_that_decides_is_first(parts: StepParts, first: str, begin: str) -> None:
    found = lanes_of(timed(parts))
    assert found.lanes[0].name == first
    assert [lane.decides for lane in found.lanes] == [True] + [False] * (len(found.lanes) - 1)
    assert found.why.startswith(begin)
    bounds = [part for lane in found.lanes for part in lane.parts if part.is_bound]
    assert len(bounds) == 1
    assert bounds[0] is found.lanes[0].parts[0]
    assert found.lanes[0].seconds == pytest.approx(timed(parts).step_s)


def test_parts_that_wait_for_each_other_are_said_to() -> None:
    """Without workers a batch is prepared, copied and computed one after another: 4 + 1 + 10."""
    time = timed(replace(OF_THE_CARD, input=batch(4.0, 1.0, overlaps=False)))
    found = lanes_of(time)
    assert time.step_s == pytest.approx(15.0)
    assert found.lanes[0].seconds == pytest.approx(10.0)
    assert "longer than its longest row" in found.why
    assert "hidden" not in found.why


def test_a_step_that_does_not_fit_has_the_bound_that_it_would_have() -> None:
    time = timed(OF_THE_CARD)
    cramped = replace(time, bottleneck=without_room(time.bottleneck, Bound.VRAM))
    found = lanes_of(cramped)
    assert found.lanes == lanes_of(time).lanes
    assert found.why.startswith("If the job had its memory, that is the card;")
