"""The batch that fits at the upper end of the interval, against a program known at every batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.estimation.device_memory import DeviceMemory
from planner.estimation.prediction_interval import PredictionInterval, outlook
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request
from planner.memory.budget import memory_budgets
from planner.memory.interval import ErrorInterval, NoInterval
from planner.memory.largest import LargestValue, Method
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.memory.search import BOUND, Capacity
from planner.units import GIB, MIB
from planner.wire.trace import EventKind, RunOutcome, StepTrace

SETTINGS = parse_alloc_conf("", "2.14.1")
# The card has 10 GiB and 198 MiB of context, so that 10042 MiB are left.
SPREAD = ErrorInterval(reserved=(0.9, 1.25), context=(0.5, 2.0), coverage=0.9, basis="19 runs")


def linear(batch: int) -> tuple[Request, ...]:
    """100 MiB of weights, and 20 MiB for each sample, in one block."""
    return (Request(EventKind.ALLOC, 0, 100 * MIB), Request(EventKind.ALLOC, 1, 20 * MIB * batch))


def scaled(*values: int) -> ScaledRequests:
    found = fit([Sample(value=value, requests=linear(value)) for value in values])
    assert isinstance(found, ScaledRequests)
    return found


def answer(largest: int = 497, asked: int = 8, values: tuple[int, ...] = (8, 400)) -> DeviceMemory:
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory="10GiB", reserve=0)
    trace = StepTrace(
        outcome=RunOutcome.COMPLETED,
        batch_size=asked,
        peak_allocated_bytes=(100 + 20 * asked) * MIB,
        peak_active_bytes=(100 + 20 * asked) * MIB,
        peak_reserved_bytes=(100 + 20 * asked) * MIB,
        optimizer="SGD",
        build_on="cpu",
    )
    batch = LargestValue(
        capacity=Capacity(largest=largest, is_bound=largest == BOUND, probes=()),
        method=Method.REPLAY,
        is_confirmed=True,
        scaled=scaled(*values),
    )
    return DeviceMemory(budget=budget, trace=trace, fits=True, batch=batch)


@pytest.mark.parametrize("asked", [8, 100, 497])
def test_the_suggested_batch_by_hand(asked: int) -> None:
    """(10240 - 2 x 198) / 1.25 = 7875 MiB for tensors: (7875 - 100) / 20 = 388 samples."""
    found = outlook(answer(asked=asked), SPREAD, SETTINGS)
    assert found.suggested_batch_size == 388
    assert found.suggested_margin_bytes == 10042 * MIB - round(7875.2 * MIB) + 0
    assert found.coverage == 0.9
    upper = round((100 + 20 * asked) * MIB * 1.25) + 396 * MIB
    assert found.interval_bytes is not None
    assert found.interval_bytes[1] == upper


def test_other_draws_of_sizes_widen_the_interval_and_lower_the_batch() -> None:
    """7875.2 / 1.1 = 7159 MiB for tensors: (7159 - 100) / 20 = 352 samples."""
    found = outlook(replace(answer(), reserved_spread=(0.8, 1.1)), SPREAD, SETTINGS)
    assert found.suggested_batch_size == 352
    low = round(round(0.8 * 260 * MIB) * 0.9 + 198 * MIB * 0.5)
    high = round(round(1.1 * 260 * MIB) * 1.25 + 198 * MIB * 2.0)
    assert found.interval_bytes == (low, high)


def test_a_card_that_keeps_up_lowers_the_lower_end_alone() -> None:
    """Of 260 MiB two thirds wait for another stream: a card that keeps up holds 86.7 MiB."""
    requests = tuple(
        Request(kind, block, 20 * MIB)
        for block in range(3)
        for kind in (EventKind.ALLOC, EventKind.FREE_REQUESTED)
    )
    plain, found = (
        outlook(replace(answer(), requests=made), SPREAD, SETTINGS) for made in ((), requests)
    )
    low = round(round(260 * MIB / 3) * 0.9 + 198 * MIB * 0.5)
    assert found.interval_bytes is not None
    assert plain.interval_bytes is not None
    assert found.interval_bytes == (low, plain.interval_bytes[1])
    assert found.suggested_batch_size == plain.suggested_batch_size == 388
    assert "a card that keeps up with the host" in found.said[0]
    assert "a card that keeps up with the host" not in plain.said[0]


def test_no_more_than_the_largest_batch_is_suggested() -> None:
    """Runs may have found less than a replay gives."""
    assert outlook(answer(largest=300), SPREAD, SETTINGS).suggested_batch_size == 300


def test_a_step_that_fits_nowhere() -> None:
    found = outlook(answer(largest=0), SPREAD, SETTINGS)
    assert found.suggested_batch_size == 0


def test_a_context_that_may_take_everything() -> None:
    wide = replace(SPREAD, context=(0.5, 60.0))
    found = outlook(answer(), wide, SETTINGS)
    assert found.suggested_batch_size == 0


@pytest.mark.parametrize(
    "change",
    [
        {"batch": None},
        {"has_no_limit": True},
        {"scaled": None},
    ],
    ids=str,
)
def test_where_nothing_can_be_suggested(change: dict[str, object]) -> None:
    one = answer()
    assert one.batch is not None
    batch = None if "batch" in change else replace(one.batch, **change)  # type: ignore[arg-type] # mixed values
    found = outlook(replace(one, batch=batch), SPREAD, SETTINGS)
    assert (found.suggested_batch_size, found.suggested_margin_bytes) == (None, None)
    assert found.interval_bytes is not None
    reason = found.suggested_batch_reason
    assert reason is not None
    said = [] if batch is None else [f"no batch is suggested: {reason}"]  # nothing was asked for
    assert list(found.said[1:]) == said


def test_without_a_replay_or_below_all_samples_nothing_is_suggested() -> None:
    far = answer(values=(450, 490), asked=450)
    one = answer()
    assert one.batch is not None
    by_runs = replace(one.batch, scaled=None, method=Method.RUNS, reason="the requests differ")
    for found, reason in (
        (outlook(answer(), SPREAD, None), "cannot be replayed"),
        (outlook(answer(), SPREAD, SETTINGS, suggest=False), "ask for a card by its name"),
        (outlook(far, SPREAD, SETTINGS), "less than 450, the smallest batch"),
        (
            outlook(replace(one, batch=by_runs), SPREAD, SETTINGS),
            "searched by runs: the requests differ",
        ),
    ):
        assert found.suggested_batch_size is None
        assert found.suggested_batch_reason is not None
        assert reason in found.suggested_batch_reason
    assert outlook(one, SPREAD, SETTINGS).suggested_batch_reason is None


@pytest.mark.parametrize(("reserved", "suggested"), [(7875 * MIB, 1), (7876 * MIB, 0)])
def test_batch_1_is_known_from_its_own_run(reserved: int, suggested: int) -> None:
    """Batch 2 takes 9 GiB, which the upper end does not leave."""
    one = answer(largest=2, asked=1)
    assert one.batch is not None
    samples = [
        Sample(value=value, requests=(Request(EventKind.ALLOC, 0, 9 * GIB + 40 * MIB * value),))
        for value in (2, 3)
    ]
    rule = fit(samples)
    assert isinstance(rule, ScaledRequests)
    batch = replace(one.batch, scaled=rule)
    run = replace(one.trace, peak_reserved_bytes=reserved)
    found = outlook(replace(one, batch=batch, trace=run), SPREAD, SETTINGS)
    assert found.suggested_batch_size == suggested


@pytest.mark.parametrize(
    ("first_mib", "second_mib", "is_tight"),
    [(3000, 6000, False), (3000, 7000, False), (3000, 7900, True)],
)
def test_what_lies_idle_does_not_make_it_tight(
    first_mib: int, second_mib: int, is_tight: bool
) -> None:
    """The first block is freed before the second is taken: both are reserved unless it is full.

    With 9000 and 10000 MiB reserved the upper end, 1.25 times that, is beyond the card of 10240;
    but of the 7875 MiB that its card at the upper end leaves, 6000 and 7000 are taken.
    """
    one = answer()
    requests = (
        Request(EventKind.ALLOC, 0, first_mib * MIB),
        Request(EventKind.FREE, 0),
        Request(EventKind.ALLOC, 1, second_mib * MIB),
    )
    peak = {
        "peak_allocated_bytes": second_mib * MIB,
        "peak_reserved_bytes": (first_mib + second_mib) * MIB,
    }
    run = replace(one, requests=requests, trace=replace(one.trace, **peak))
    found = outlook(run, SPREAD, SETTINGS)
    assert found.interval_bytes is not None
    assert (found.interval_bytes[1] > 10 * GIB) == is_tight
    unrecorded = outlook(replace(run, requests=()), SPREAD, SETTINGS)
    assert unrecorded.interval_bytes is not None
    assert unrecorded.interval_bytes[1] == round(peak["peak_reserved_bytes"] * 1.25) + 396 * MIB


def test_without_errors_there_is_no_interval() -> None:
    reason = "no interval of device total: nothing is known"
    found = outlook(answer(), NoInterval(reason=reason), SETTINGS)
    assert found == PredictionInterval(
        basis=reason, suggested_batch_reason=found.suggested_batch_reason
    )
    assert found.suggested_batch_reason is not None
    assert "no interval" in found.suggested_batch_reason
    assert found.said == (reason,)


def test_a_reserve_is_kept_free_as_well() -> None:
    one = answer()
    kept = replace(one, budget=replace(one.budget, reserve_bytes=GIB))
    found = outlook(kept, SPREAD, SETTINGS)
    assert found.suggested_batch_size == (int((9216 - 396) / 1.25) - 100) // 20
