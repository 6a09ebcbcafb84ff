"""Estimates with a few blocks at the peak, made by hand, for checks and differences."""

from __future__ import annotations

from dataclasses import replace

from planner.config.step import Precision, StepConfig
from planner.memory.peak import Breakdown, Held
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate, Versions
from planner.units import GIB, MIB
from planner.wire.trace import Counts, Origin, Phase, TensorCategory

VERSIONS = Versions(
    torch="2.14.1+cu130", cuda="13.0", cudnn="9.24.0", python="3.11.7", planner="0.1.0"
)


def block(
    size_mib: int,
    module: str = "",
    source: str = "",
    operator: str = "aten::linear",
    category: TensorCategory = TensorCategory.SAVED_ACTIVATION,
) -> Held:
    return Held(
        size_bytes=size_mib * MIB,
        block_bytes=size_mib * MIB,
        category=category,
        step=1,
        phase=Phase.FORWARD,
        origin=Origin(module=module, operator=operator, source=source),
    )


def card(*blocks: Held, gpu: str = "t4", largest: int | None = 64) -> DeviceEstimate:
    """A card of 10 GiB, with 1 GiB of context overhead; the interval reaches 1 GiB above."""
    peak = sum(one.block_bytes for one in blocks)
    return DeviceEstimate(
        requested=gpu,
        name="Tesla T4",
        id="t4",
        total_memory_bytes=10 * GIB,
        usable_memory_bytes=10 * GIB,
        context_overhead_bytes=GIB,
        reserve_bytes=0,
        peak_allocated_bytes=peak,
        peak_reserved_bytes=peak,
        fits=peak + GIB <= 10 * GIB,
        max_batch_size=largest,
        suggested_batch_size=None if largest is None else largest - 8,
        device_total_interval_bytes=(peak + GIB, peak + 2 * GIB),
        interval_coverage=0.9,
        interval_basis="by hand",
        breakdown=Breakdown(
            held=blocks,
            peak_step=1,
            peak_phase=Phase.FORWARD,
            step_peak_bytes=(peak,),
        ),
    )


def estimate_of(*cards: DeviceEstimate, target: str = "net.py", **config: object) -> Estimate:
    step = StepConfig(batch_size=8, precision=Precision.FP32)
    return Estimate(
        target=target,
        config=replace(step, **config),  # type: ignore[arg-type]  # fields of StepConfig
        counts=Counts(parameters=10, trainable_parameters=10, buffers=0),
        gpus=cards,
        versions=VERSIONS,
        optimizer="AdamW",
        build_on="meta",
    )
