"""Makes the rows of cases from the estimate that answers them.

In: cases, an Estimate with their cards in the same order. Out: a row for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.cost.energy import StepCost
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.step_time import StepTime
from planner.sweeps.case import SweepCase, SweepOutcome, SweepRow, asked_cells


def answered_rows(cases: Sequence[SweepCase], found: Estimate) -> list[SweepRow]:
    """Returns the rows; a card that the estimate names otherwise is a mistake of ours."""
    by_name = {entry.requested: entry for entry in found.gpus}
    versions = found.versions.to_dict()
    return [
        SweepRow(
            **asked_cells(case),
            **_memory(by_name[case.gpu]),
            **_time(by_name[case.gpu].time),
            **_cost(by_name[case.gpu].cost),
            **versions,
            parameters=found.counts.parameters,
            optimizer=found.optimizer,
            assumptions=found.assumptions,
            warnings=found.warnings,
        )
        for case in cases
    ]


def _memory(entry: DeviceEstimate) -> dict[str, Any]:
    low, high = entry.device_total_interval_bytes or (None, None)
    return {
        "outcome": SweepOutcome.OK if entry.fits else SweepOutcome.DOES_NOT_FIT,
        "card": entry.name,
        "card_id": entry.id,
        "usable_memory_bytes": entry.usable_memory_bytes,
        "peak_allocated_bytes": entry.peak_allocated_bytes,
        "peak_reserved_bytes": entry.peak_reserved_bytes,
        "device_total_bytes": entry.device_total_bytes,
        "device_total_bytes_low": low,
        "device_total_bytes_high": high,
        "missing_bytes": entry.missing_bytes,
        "verdict": entry.verdict.value,
        "max_batch_size": entry.max_batch_size,
        "max_batch_is_bound": entry.max_batch_is_bound,
        "max_batch_confirmed": entry.max_batch_confirmed,
    }


def _time(found: StepTime | None) -> dict[str, Any]:
    if found is None:
        return {}
    low, high = found.interval_s or (None, None)
    return {
        "step_s": found.step_s,
        "step_s_low": low,
        "step_s_high": high,
        "samples_per_s": found.samples_per_s,
        "bound": found.bottleneck.bound.value,
    }


def _cost(found: StepCost | None) -> dict[str, Any]:
    if found is None:
        return {}
    low, high = found.cost_per_sample or (None, None)
    joule_low, joule_high = found.joule_per_sample
    return {
        "cost_per_sample_low": low,
        "cost_per_sample_high": high,
        "currency": None if found.price is None else found.price.currency,
        "joule_per_sample_low": joule_low,
        "joule_per_sample_high": joule_high,
    }
