"""Answers what saving and loading the whole state of a job take on a card and its host.

In: DeviceMemory of a card, ModelCounts. Out: FullState, warnings. Convention:
a rank saves after a step, with its gradients, the loss and what the model has returned.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.estimation.device_memory import DeviceMemory
from planner.results.device_estimate import DeviceEstimate
from planner.results.full_state import FullState
from planner.units import format_bytes
from planner.wire.module_counts import ModelCounts

_IN_PARTS = (
    "save in parts, by torch.distributed.checkpoint.save of a state dict without "
    "full_state_dict=True"
)


def full_state_of(answer: DeviceMemory, counted: ModelCounts | None) -> FullState | None:
    """Returns it; None: the job runs on one GPU, or it is not known."""
    found = None if counted is None else counted.full_state
    rest_bytes = answer.trace.rest_bytes
    if found is None or not rest_bytes:
        return None
    most_bytes = found.saving_all_on_card_bytes
    return FullState(
        is_divided=found.is_divided,
        model_bytes=found.model_bytes,
        optimizer_bytes=found.optimizer_bytes,
        saving_bytes=rest_bytes + found.saving_bytes,
        saving_on_card_bytes=rest_bytes + found.saving_on_card_bytes,
        saving_all_on_card_bytes=None if most_bytes is None else rest_bytes + most_bytes,
        loading_bytes=found.built_bytes + found.loading_bytes,
        loading_each_bytes=found.built_bytes + found.loading_each_bytes,
        capacity_bytes=answer.budget.capacity_bytes,
    )


def full_state_warnings(entry: DeviceEstimate) -> Iterator[str]:
    """Warns of a state that cannot be saved or loaded where the step itself fits."""
    state = entry.full_state
    if state is None:
        return
    if entry.fits and not state.fits:
        most_bytes = max(state.saving_bytes, state.loading_bytes)
        doing = "saving" if state.saving_bytes == most_bytes else "loading"
        over = format_bytes(most_bytes - state.capacity_bytes)
        yield (
            f"{entry.requested}: the step fits, and {doing} a full state dict takes "
            f"{format_bytes(most_bytes)} of the card, {over} too much: {_IN_PARTS}, or free "
            "gradients and outputs before"
        )
    ram_bytes = None if entry.host is None else entry.host.usable_ram_bytes
    if ram_bytes is not None and state.model_bytes > ram_bytes:
        yield (
            f"a full state dict of the model takes {format_bytes(state.model_bytes)} of RAM on "
            f"rank 0, and the host has {format_bytes(ram_bytes)} for it: {_IN_PARTS}"
        )


def unknown_full_state(counted: ModelCounts | None) -> tuple[str, ...]:
    """Says why the whole state, or the optimizer's part of it, is not in the figures."""
    if counted is None or not counted.full_state_problem:
        return ()
    what = "a full state dict" if counted.full_state is None else "the optimizer's full state dict"
    return (f"{what} is not in the figures: {counted.full_state_problem}",)
