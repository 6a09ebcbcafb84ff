"""The operators of a step under the roofs of its card.

In: an Inspection, or an Estimate with recordings. Out: Roofline. Convention: FLOPs and bytes are
counted, seconds are predicted, as in a step time; one multiply-add is 2 FLOPs. An operator without
FLOPs is at no place of a roofline: its share of the time is known all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import UnknownGpuError, UsageError
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.timing.kernel_roofs import kernel_rate
from planner.timing.kernels import kernels_of
from planner.timing.rates import peak_rate
from planner.timing.roofline import gpu_time
from planner.wire.trace import OperatorRecord, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflinePoint:
    """Alike calls of an operator with FLOPs."""

    name: str
    """As torch names it: aten::addmm."""
    phase: Phase
    """Phase of the calls."""
    intensity_flops_per_byte: float
    """FLOPs for each byte read or written."""
    flops_per_s: float
    """FLOPs of a call over its predicted time."""
    spent_s: float
    """Predicted seconds of all calls."""
    calls: int
    """Number of calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticRoof:
    """The rate of the units that compute one dtype."""

    name: str
    """Dtype and the units that compute, as "bfloat16, tensor cores"."""
    flops_per_s: float
    """Published dense peak; without one the rate that large products reach."""
    is_peak: bool
    """Whether it is the published peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The operators of a step, and the roofs of the card."""

    points: tuple[RooflinePoint, ...]
    """Operators with FLOPs, those that take the most time first."""
    roofs: tuple[ArithmeticRoof, ...]
    """The arithmetic rates that these operators have as roof, the highest first."""
    memory_bytes_per_s: float
    """Published bandwidth of the card's memory."""
    step_s: float
    """Predicted seconds of the card for the step."""
    without_flops: int
    """Number of alike calls that have no FLOPs."""
    without_flops_s: float
    """Predicted seconds of these."""


def roofline_of(inspection: Inspection) -> Roofline:
    """Returns the operators under the roofs of the card that was inspected.

    Raises:
        UsageError: the card is not in the database, or no operator has FLOPs.
    """
    card = _card(inspection.gpu_id or inspection.gpu, inspection.gpu)
    tf32 = inspection.model.tf32_matmul
    timed = [
        (one, gpu_time((one,), card, tf32_matmul=tf32).total_s)
        for one in inspection.model.operators
    ]
    return _roofline(timed, card, inspection.target, tf32=tf32)


def roofline_of_estimate(estimate: Estimate, index: int = 0) -> Roofline:
    """Returns the operators of one micro-batch and of the optimizer under the roofs of a card.

    Raises:
        UsageError: the card is not in the database, no operator has FLOPs, or the estimate keeps
            no operators.
    """
    found = estimate.operators[index] if index < len(estimate.operators) else None
    if found is None:
        raise UsageError(
            "this result keeps no operators: make it with `planner estimate ... --save FILE`, or "
            "planner.estimate(..., keep_allocations=True)"
        )
    entry = estimate.gpus[index]
    timed = [(one.operator, one.total_s) for one in found.operators]
    card = _card(entry.id or entry.requested, entry.name)
    return _roofline(timed, card, estimate.target, tf32=found.tf32_matmul)


def _roofline(
    timed: Sequence[tuple[OperatorRecord, float]], card: GpuSpec, target: str, *, tf32: bool
) -> Roofline:
    points: list[RooflinePoint] = []
    roofs: dict[str, ArithmeticRoof] = {}
    without, without_s, step_s = 0, 0.0, 0.0
    for record, spent_s in timed:
        step_s += spent_s
        moved_bytes = record.read_bytes + record.written_bytes
        if not record.flops or not moved_bytes or not spent_s:
            without, without_s = without + 1, without_s + spent_s
            continue
        points.append(
            RooflinePoint(
                name=record.name,
                phase=record.phase,
                intensity_flops_per_byte=record.flops / moved_bytes,
                flops_per_s=record.total_flops / spent_s,
                spent_s=spent_s,
                calls=record.calls,
            )
        )
        roofs |= _roofs(record, card, tf32)
    if not points:
        raise UsageError(
            f"there is nothing to plot for {target}: no operator of the step has FLOPs"
        )
    return Roofline(
        points=tuple(sorted(points, key=lambda one: -one.spent_s)),
        roofs=tuple(sorted(roofs.values(), key=lambda one: -one.flops_per_s)),
        memory_bytes_per_s=card.memory_bandwidth_bytes_per_s,
        step_s=step_s,
        without_flops=without,
        without_flops_s=without_s,
    )


def _card(name: str, shown: str) -> GpuSpec:
    try:
        return load_gpus().find(name).spec
    except UnknownGpuError as error:
        raise UsageError(
            f"a roofline needs the rates of {shown}, which is not in the database: {error}"
        ) from error


def _roofs(record: OperatorRecord, card: GpuSpec, tf32: bool) -> dict[str, ArithmeticRoof]:
    found = {}
    for kernel in kernels_of(record):
        if kernel.flops:
            rate = kernel_rate(kernel, card, tf32_matmul=tf32)
            peak = peak_rate(card, kernel.dtype, rate.path)
            name = f"{kernel.dtype}, {rate.path.value}"
            found[name] = ArithmeticRoof(
                name=name, flops_per_s=peak or rate.flops_per_s, is_peak=peak is not None
            )
    return found
