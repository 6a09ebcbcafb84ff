"""The figures of saving and loading, from those of a run and those of the counted step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.estimation.device_memory import DeviceMemory
from planner.estimation.full_state import full_state_of, full_state_warnings, unknown_full_state
from planner.memory.budget import memory_budgets
from planner.results.device_estimate import DeviceEstimate
from planner.results.full_state import FullState
from planner.units import GIB
from planner.wire.full_state import FullStateCounts
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.trace import Counts, RunOutcome, StepTrace

FOUND = FullStateCounts(
    is_divided=True,
    model_bytes=32 * GIB,
    optimizer_bytes=64 * GIB,
    built_bytes=4 * GIB,
    saving_bytes=2 * GIB,
    saving_on_card_bytes=32 * GIB,
    saving_all_on_card_bytes=96 * GIB,
    loading_bytes=2 * GIB,
    loading_each_bytes=6 * GIB,
)
COUNTED = ModelCounts(
    counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
    step=StepCounts(forward_flops_per_sample=1, step_flops=3, activations_per_sample=1),
    modules=(),
    structure=Structure.WHOLE_MODEL,
    flop_rules=FlopRules.TORCH,
    forward_flops_by_torch=1,
    build_on="meta",
    full_state=FOUND,
)


def answer(rest_bytes: int = 16 * GIB) -> DeviceMemory:
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    trace = StepTrace(
        outcome=RunOutcome.COMPLETED,
        batch_size=1,
        peak_allocated_bytes=60 * GIB,
        peak_active_bytes=60 * GIB,
        peak_reserved_bytes=60 * GIB,
        rest_bytes=rest_bytes,
    )
    return DeviceMemory(budget=budget, trace=trace, fits=True)


def entry(state: FullState, *, fits: bool = True) -> DeviceEstimate:
    return DeviceEstimate(
        requested="a100",
        name="A100",
        total_memory_bytes=80 * GIB,
        usable_memory_bytes=80 * GIB,
        context_overhead_bytes=GIB,
        reserve_bytes=0,
        peak_allocated_bytes=60 * GIB,
        peak_reserved_bytes=60 * GIB,
        fits=fits,
        full_state=state,
    )


def test_saving_is_beyond_a_step_and_loading_beyond_the_model() -> None:
    found = answer()
    state = full_state_of(found, COUNTED)
    assert state is not None
    assert state.saving_bytes == 18 * GIB
    assert state.saving_on_card_bytes == 48 * GIB
    assert state.saving_all_on_card_bytes == 112 * GIB
    assert state.loading_bytes == 6 * GIB
    assert state.loading_each_bytes == 10 * GIB
    assert state.rank_0_bytes == 96 * GIB
    assert state.capacity_bytes == found.budget.capacity_bytes
    assert list(full_state_warnings(entry(state))) == []


@pytest.mark.parametrize(
    ("found", "counted"),
    [
        (answer(), None),
        (answer(), replace(COUNTED, full_state=None)),
        (answer(rest_bytes=0), COUNTED),  # no step has ended
    ],
    ids=["not counted", "one GPU", "no step"],
)
def test_where_it_is_not_known(found: DeviceMemory, counted: ModelCounts | None) -> None:
    assert full_state_of(found, counted) is None


def test_more_than_the_card_is_a_warning_where_the_step_fits() -> None:
    state = full_state_of(answer(rest_bytes=78 * GIB), COUNTED)
    assert state is not None
    state = replace(state, capacity_bytes=79 * GIB)
    (text,) = full_state_warnings(entry(state))
    assert "saving a full state dict takes 80.0 GiB of the card, 1.00 GiB too much" in text
    assert "without full_state_dict=True" in text
    assert list(full_state_warnings(entry(state, fits=False))) == []
    loading = replace(state, saving_bytes=GIB, loading_bytes=81 * GIB)
    (text,) = full_state_warnings(entry(loading))
    assert "loading a full state dict takes 81.0 GiB" in text


def test_what_is_left_out_is_said() -> None:
    assert unknown_full_state(None) == unknown_full_state(COUNTED) == ()
    (part,) = unknown_full_state(replace(COUNTED, full_state_problem="KeyError: 1"))
    assert part == "the optimizer's full state dict is not in the figures: KeyError: 1"
    (whole,) = unknown_full_state(
        replace(COUNTED, full_state=None, full_state_problem="KeyError: 1")
    )
    assert whole.startswith("a full state dict is not in the figures")
