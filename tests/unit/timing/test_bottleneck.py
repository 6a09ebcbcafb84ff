"""Parts of a step by hand: what holds it up, its shares, what comes next and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.input_pipeline.rates import InputLimit, InputTimes
from planner.timing.bottleneck import Bound, StepParts, bottleneck, step_parts, without_room
from planner.timing.roofline import GpuTime
from planner.wire.trace import Phase


def batch(loader_s: float, copy_s: float | None = 0.0, **changes: Any) -> InputTimes:
    """The input of one batch; only what a step takes of it matters here."""
    given: dict[str, Any] = {
        "batch_size": 8, "prepare_s": loader_s, "collate_s": 0.0, "send_s": 0.0, "take_s": 0.0,
        "pin_s": 0.0, "storage_s": 0.0, "copy_s": copy_s, "loader_s": loader_s,
        "limit": InputLimit.WORKERS, "overlaps_step": True, "copy_overlaps_step": True, **changes,
    }  # fmt: skip
    return InputTimes(**given)


def parts(
    compute_s: float = 0.0, bandwidth_s: float = 0.0, fixed_s: float = 0.0, launch_s: float = 0.0,
    **more: Any,
) -> StepParts:  # fmt: skip
    return StepParts(
        compute_s=compute_s, bandwidth_s=bandwidth_s, fixed_s=fixed_s, launch_s=launch_s, **more
    )


@pytest.mark.parametrize(
    ("given", "bound", "runner_up", "factor"),
    [
        # On the card one part follows the other: bandwidth is longer once compute is 6/3 as fast.
        pytest.param(
            parts(6.0, 3.0, 1.0, 2.0), Bound.COMPUTE, Bound.BANDWIDTH, 2.0, id="compute"
        ),
        pytest.param(
            parts(2.0, 7.0, 1.0, 2.0), Bound.BANDWIDTH, Bound.COMPUTE, 3.5, id="bandwidth"
        ),
        # The CPU needs 9: it is the longest once compute takes less than 9 - 4 of its 6.
        pytest.param(
            parts(6.0, 3.0, 1.0, 9.0), Bound.COMPUTE, Bound.LAUNCHES, 1.2, id="launches next"
        ),
        pytest.param(
            parts(6.0, 3.0, 1.0, 20.0), Bound.LAUNCHES, Bound.COMPUTE, 2.0, id="launches"
        ),
        # Many small kernels: the CPU's 20 and the card's own 6 both go with their number.
        pytest.param(
            parts(1.0, 2.0, 6.0, 20.0), Bound.LAUNCHES, Bound.BANDWIDTH, 10.0, id="small kernels"
        ),
        pytest.param(
            parts(1.0, 2.0, 6.0, 20.0, input=batch(8.0)),
            Bound.LAUNCHES, Bound.DATA, 2.5, id="small kernels and a loader",
        ),
        pytest.param(
            parts(1.0, 2.0, 6.0, 3.0), Bound.LAUNCHES, Bound.BANDWIDTH, 3.0, id="begin and end"
        ),
        pytest.param(
            parts(6.0, 3.0, 1.0, 2.0, input=batch(15.0)),
            Bound.DATA, Bound.COMPUTE, 1.5, id="loader",
        ),
        pytest.param(
            parts(6.0, 3.0, 1.0, 2.0, input=batch(11.0, 12.0)),
            Bound.COPY, Bound.DATA, 12 / 11, id="copy",
        ),
        pytest.param(
            parts(6.0, 3.0, 1.0, 2.0, input=batch(9.4)),
            Bound.COMPUTE, Bound.DATA, 6 / 5.4, id="loader next",
        ),
        pytest.param(parts(6.0), Bound.COMPUTE, None, None, id="nothing else"),
        # The card waits: what is offloaded and the kernels follow each other.
        pytest.param(
            parts(6.0, 3.0, 1.0, 2.0, offload_copy_s=9.0, offload_update_s=3.0),
            Bound.OFFLOAD, Bound.COMPUTE, 2.0, id="offload",
        ),
        pytest.param(
            parts(6.0, 3.0, 0.0, 2.0, offload_copy_s=4.0),
            Bound.COMPUTE, Bound.OFFLOAD, 1.5, id="offload next",
        ),
    ],
)  # fmt: skip
def test_the_longest_part_holds_the_step_up(
    given: StepParts, bound: Bound, runner_up: Bound | None, factor: float | None
) -> None:
    found = bottleneck(given)
    assert (found.bound, found.runner_up) == (bound, runner_up)
    assert found.takes_over_factor == (None if factor is None else pytest.approx(factor))


def test_shares_are_of_the_step_the_largest_first() -> None:
    found = bottleneck(parts(6.0, 3.0, 1.0, 2.0, input=batch(5.0)))
    assert found.shares == (
        (Bound.COMPUTE, 0.6), (Bound.DATA, 0.5), (Bound.BANDWIDTH, 0.3), (Bound.LAUNCHES, 0.2)
    )  # fmt: skip
    assert found.share == 0.6


def test_without_workers_everything_comes_after_another() -> None:
    alone = batch(4.0, 1.0, overlaps_step=False, copy_overlaps_step=False)
    step = parts(6.0, 3.0, 1.0, 2.0, input=alone)
    assert step.step_s == 15.0
    found = bottleneck(step)
    assert found.bound is Bound.COMPUTE
    assert dict(found.shares)[Bound.DATA] == pytest.approx(4 / 15)


def test_memory_comes_before_time() -> None:
    timed = bottleneck(parts(6.0, 3.0, 1.0, 2.0))
    found = without_room(timed, Bound.VRAM)
    assert (found.bound, found.runner_up) == (Bound.VRAM, Bound.COMPUTE)
    assert (found.takes_over_factor, found.share) == (None, None)
    assert found.shares == timed.shares


def test_micro_batches_repeat_the_step_and_its_input_but_not_the_optimizer() -> None:
    micro = GpuTime(
        phases_s=((Phase.FORWARD, 3.0),), compute_s=2.0, bandwidth_s=0.5, fixed_s=0.5, kernels=3
    )
    optimizer = replace(micro, phases_s=(), compute_s=0.0, bandwidth_s=1.0, fixed_s=0.0)
    step = step_parts(
        micro, optimizer, micro_batches=4, launch_s=(0.5, 0.25), input=batch(1.0, 0.5)
    )
    assert (step.compute_s, step.bandwidth_s, step.fixed_s) == (8.0, 3.0, 2.0)
    assert (step.gpu_s, step.launch_s, step.loader_s, step.copy_s) == (13.0, 2.25, 4.0, 2.0)
    assert step.step_s == 13.0
    slow = replace(step, input=batch(5.0))
    assert slow.step_s == 20.0


def test_the_step_of_another_time_on_the_card() -> None:
    step = parts(6.0, input=batch(5.0))
    assert [step.step_of(card_s) for card_s in (4.0, 6.0, 7.0)] == [5.0, 6.0, 7.0]
    assert parts(6.0).step_of(4.0) == 4.0


def test_the_kernels_wait_for_what_is_offloaded() -> None:
    step = parts(4.0, launch_s=5.0, offload_copy_s=2.0, offload_update_s=1.0)
    assert (step.card_s, step.own_s, step.step_s) == (5.0, 8.0, 8.0)
    fed = replace(step, input=batch(7.0))
    assert fed.step_s == 8.0
    assert dict(bottleneck(step).shares)[Bound.OFFLOAD] == 3.0 / 8.0
