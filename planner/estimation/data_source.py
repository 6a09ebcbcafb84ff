"""Gives the cost of a data item: one named by the caller, or timed from the user's own data set.

In: JobConfig, the child that has loaded the target, the counted step. Out: DataItem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.estimation.job import JobConfig
from planner.input_pipeline.data_item import DataItem, with_batch
from planner.machine.this_host import this_core_speed
from planner.process.client import Runner
from planner.units import format_bytes, format_duration
from planner.wire.data_cost import DataCost

MEASURED_S = 2.0  # for so long the user's data set delivers items
# Another crop or a longer text differs by less; tokens for a network of images differ by more.
_UNLIKE_FACTOR = 16
_WAITS_FACTOR = 1.2  # of wall over CPU seconds: from there on an item waits for something


def measured_data(runner: Runner, request: JobConfig) -> JobConfig:
    """Returns the request with the user's own items, timed in the child where that was requested.

    Raises:
        TargetError: the model file has no build_dataset.
        ModelError: the data set raised, or is not a data set.
        ChildError: the child was killed before it delivered, or took too long.
    """
    if not request.measure_data:
        return request
    item = measured_item(runner.data_cost(MEASURED_S), this_core_speed())
    return replace(request, item=item, measure_data=False)


def measured_item(cost: DataCost, core_speed: float) -> DataItem:
    """Returns the user's own item, timed on a core of that speed."""
    basis = (
        f"build_dataset(), {cost.items} items timed on this machine, "
        f"{format_duration(cost.cpu_mean_s)} of CPU for each"
    )
    if cost.wall_mean_s > _WAITS_FACTOR * cost.cpu_mean_s:
        basis += (
            f"; they took {format_duration(cost.wall_mean_s)}, and what they waited for (storage, "
            "other threads) is not counted"
        )
    return DataItem(
        name="build_dataset",
        prepare_s=cost.cpu_mean_s * core_speed,
        item_bytes=cost.item_bytes,
        stored_bytes=0,
        basis=basis,
        collate_s=None if cost.collate_s is None else cost.collate_s * core_speed,
    )


def item_of_batch(
    item: DataItem | None, batch_tensors_bytes: Sequence[int], batch_size: int
) -> DataItem | None:
    """Returns the item with its bytes in the step's batch, else with its own bytes.

    None where neither is known.
    """
    if item is None:
        return None
    if batch_tensors_bytes:
        return with_batch(item, sum(batch_tensors_bytes), batch_size)
    return item if item.item_bytes is not None else None


def unlike_words(named: DataItem, item: DataItem) -> str | None:
    """Warns that the named items can hardly be those of the step's batch; None where they can."""
    if named.item_bytes is None or item.item_bytes is None:
        return None
    small, large = sorted((named.item_bytes, item.item_bytes))
    if large < _UNLIKE_FACTOR * small:
        return None
    return (
        f"data: an item of {named.name} has {format_bytes(named.item_bytes)}, a sample of the "
        f"step's batch {format_bytes(item.item_bytes)}: look whether these are its data (--data)"
    )
