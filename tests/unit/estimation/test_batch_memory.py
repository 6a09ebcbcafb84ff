"""Device total at any batch of a program known at each: 100 MiB, and 20 MiB for each sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from planner.config.step import StepConfig
from planner.estimation.alloc_conf import AllocatorPlan
from planner.estimation.batch_memory import BatchMemory
from planner.estimation.context import RunContext
from planner.estimation.device_memory import DeviceMemory
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request
from planner.memory.budget import memory_budgets
from planner.memory.largest import LargestValue, Method
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.memory.search import Capacity
from planner.units import MIB
from planner.wire.trace import EventKind, RunOutcome, StepTrace

CONTEXT = 198  # MiB of a T4


class FakeRunner:
    """Runs any batch by the rule of the program; `failing` ones end in an error."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.failing: tuple[int, ...] = ()

    def run(self, profile: str, config: StepConfig) -> StepTrace:
        self.ran.append(config.batch_size)
        trace = traced(config.batch_size)
        if profile == "limited":  # the allocator gave back all but what fits
            return replace(trace, peak_reserved_bytes=10040 * MIB)
        if config.batch_size in self.failing:
            return replace(trace, outcome=RunOutcome.MODEL_ERROR)
        return trace


class FakeCards:
    """Profiles by name."""

    def unlimited(self, budget: object) -> str:
        return "unlimited"

    def limited(self, budget: object) -> str:
        return "limited"


def traced(batch: int) -> StepTrace:
    peak_bytes = (100 + 20 * batch) * MIB
    return StepTrace(
        outcome=RunOutcome.COMPLETED,
        batch_size=batch,
        peak_allocated_bytes=peak_bytes,
        peak_active_bytes=peak_bytes,
        peak_reserved_bytes=peak_bytes,
        optimizer="SGD",
        build_on="cpu",
    )


def scaled() -> ScaledRequests:
    samples = [
        Sample(
            value=batch,
            requests=(
                Request(EventKind.ALLOC, 0, 100 * MIB),
                Request(EventKind.ALLOC, 1, 20 * MIB * batch),
            ),
        )
        for batch in (8, 400)
    ]
    found = fit(samples)
    assert isinstance(found, ScaledRequests)
    return found


def memory(runner: FakeRunner, rule: ScaledRequests | None, largest: int = 497) -> BatchMemory:
    """A card with 10240 - 198 MiB for tensors: (10042 - 100) / 20 = 497 samples."""
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory="10GiB", reserve=0)
    batch = LargestValue(
        capacity=Capacity(largest=largest, is_bound=False, probes=()),
        method=Method.REPLAY,
        is_confirmed=True,
        scaled=rule,
    )
    setup = RunContext(
        config=StepConfig(batch_size=8),
        plan=AllocatorPlan(text="", in_force=parse_alloc_conf("", "2.14.1")),
        runner=cast(Any, runner),
        cards=cast(Any, FakeCards()),
        progress=lambda _: None,
    )
    answer = DeviceMemory(budget=budget, trace=traced(8), fits=True, batch=batch)
    return BatchMemory(setup=setup, answer=answer)


@pytest.mark.parametrize("batch", [2, 8, 33, 497, 498, 1000])
def test_totals_come_from_a_replay(batch: int) -> None:
    runner = FakeRunner()
    found = memory(runner, scaled())
    assert found.device_total_bytes(batch) == (100 + 20 * batch + CONTEXT) * MIB
    assert found.fits(batch) == (batch <= 497)
    assert runner.ran == []


def test_batch_1_is_run() -> None:
    runner = FakeRunner()
    found = memory(runner, scaled())
    assert found.device_total_bytes(1) == (120 + CONTEXT) * MIB
    assert runner.ran == [1]


def test_without_a_rule_each_batch_is_run() -> None:
    runner = FakeRunner()
    runner.failing = (5,)
    found = memory(runner, None)
    assert found.device_total_bytes(16) == (420 + CONTEXT) * MIB
    assert found.device_total_bytes(5) is None
    assert runner.ran == [16, 5]


@pytest.mark.parametrize("is_replayed", [True, False])
def test_a_batch_that_fits_is_what_it_takes_on_the_card(is_replayed: bool) -> None:
    """A search by runs may find 600, where the allocator gave cached segments back."""
    found = memory(FakeRunner(), scaled() if is_replayed else None, largest=600)
    assert found.device_total_bytes(600) == (10040 + CONTEXT) * MIB
    assert found.device_total_bytes(601) == (100 + 20 * 601 + CONTEXT) * MIB


def test_memory_that_does_not_depend_on_the_batch_fits_always() -> None:
    found = memory(FakeRunner(), scaled())
    answer = found.answer
    assert answer.batch is not None
    endless = replace(answer, batch=replace(answer.batch, has_no_limit=True))
    found = replace(found, answer=endless)
    assert found.largest is None
    assert not found.largest_is_bound
    assert found.fits(10**6)


@pytest.mark.parametrize("is_replayed", [True, False])
def test_beyond_the_bound_of_the_search_its_peak_says_whether_a_batch_fits(
    is_replayed: bool,
) -> None:
    """The search ended at 256 with everything fitting; 497 samples have their place."""
    found = memory(FakeRunner(), scaled() if is_replayed else None, largest=256)
    answer = found.answer
    assert answer.batch is not None
    capacity = replace(answer.batch.capacity, is_bound=True)
    ended = replace(found, answer=replace(answer, batch=replace(answer.batch, capacity=capacity)))
    assert [ended.fits(batch) for batch in (256, 257, 497, 498)] == [True, True, True, False]
    assert (found.largest_is_bound, ended.largest_is_bound) == (False, True)
    assert ended.device_total_bytes(498) == (100 + 20 * 498 + CONTEXT) * MIB


def test_the_batch_that_ran_is_as_it_ran() -> None:
    found = memory(FakeRunner(), scaled())
    tight = replace(found, answer=replace(found.answer, fits=False))
    assert not tight.fits(8)
    assert tight.fits(9)


@pytest.mark.parametrize(("batch", "is_run"), [(8, False), (2, True), (64, True), (390, False)])
def test_scratch_without_a_rule_is_known_near_the_samples_alone(batch: int, is_run: bool) -> None:
    """Samples at 8 and 400; 390 is less than 1/32 away, and 8 is what was asked for."""
    runner = FakeRunner()
    found = memory(runner, replace(scaled(), has_scratch_of_its_own=True))
    assert found.device_total_bytes(batch) == (100 + 20 * batch + CONTEXT) * MIB
    assert runner.ran == [batch] * is_run
