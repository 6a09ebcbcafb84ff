"""Compares the kernels of a trace with their predicted times, by the kind of kernel.

In: MeasuredOperators of one card. Out: KernelComparison, and a factor for each kind: measured over
predicted seconds of work, all calls together. Convention: the kind is the key of Efficiencies. Work
is without begin and end of a kernel: of measured ones that is the shortest kernel of the trace.
Kernels whose work takes less than planner's begin and end show nothing about it and do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.kernel_roofs import efficiency_key, kernel_rate
from planner.timing.kernel_times import kernel_time
from planner.timing.kernels import kernels_of
from planner.wire.trace import OperatorRecord

LEAST_SHARE = 0.005  # of the time of all kernels: a kind with less is not compared
# Beyond it the kernels are others than planner takes them for: another algorithm, other units.
FARTHEST = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredOperator:
    """Alike calls with their kernels' time. `measured_s` is of all calls of the record."""

    operator: OperatorRecord
    measured_s: float
    is_tf32: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredKernels:
    """The kernels of one trace that can be compared.

    `steps` is the number of steps that they are of, `kernels_s` the time of all kernels of these
    steps, `shortest_s` that of the shortest one.
    """

    steps: int
    kernels_s: float
    shortest_s: float
    operators: tuple[MeasuredOperator, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelComparison:
    """Kernels of one kind on one card."""

    kind: str
    """The kind, as the key of Efficiencies."""
    calls: int
    """Calls of operators that have such kernels, of all steps."""
    measured_s: float
    """Measured seconds of their work in a step."""
    predicted_s: float
    """Predicted seconds of their work in a step."""

    @property
    def factor(self) -> float:
        """Returns measured over predicted."""
        return self.measured_s / self.predicted_s

    def to_dict(self) -> dict[str, object]:
        """Returns the JSON document."""
        return {
            "kind": self.kind,
            "calls": self.calls,
            "measured_s": self.measured_s,
            "predicted_s": self.predicted_s,
            "factor": self.factor,
        }

    @property
    def is_credible(self) -> bool:
        """Returns whether the factor can be that of the same kernels."""
        return 1 / FARTHEST <= self.factor <= FARTHEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """All kinds of one trace, the most time first; `short_s` of kernels that are too short."""

    kinds: tuple[KernelComparison, ...]
    short_s: float = 0.0


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    measured_s: float = 0.0
    predicted_s: float = 0.0


@dataclass(slots=True)
class _Sums:
    kinds: dict[str, _Sum] = field(default_factory=dict)
    short_s: float = 0.0


def compared(kernels: MeasuredKernels, card: GpuSpec) -> Compared:
    """Returns measured and predicted seconds of each kind with a notable part of the time."""
    sums = _Sums()
    begin_end_s = min(kernels.shortest_s, efficiencies().kernel_s)
    for one in kernels.operators:
        _add(sums, one, card, begin_end_s)
    least_s = LEAST_SHARE * kernels.kernels_s
    kinds = [
        KernelComparison(
            kind=kind,
            calls=found.calls,
            measured_s=found.measured_s / kernels.steps,
            predicted_s=found.predicted_s / kernels.steps,
        )
        for kind, found in sums.kinds.items()
        if found.measured_s >= least_s and found.measured_s > 0
    ]
    return Compared(
        kinds=tuple(sorted(kinds, key=lambda one: -one.measured_s)),
        short_s=sums.short_s / kernels.steps,
    )


def _add(sums: _Sums, one: MeasuredOperator, card: GpuSpec, begin_end_s: float) -> None:
    """Adds an operator; kernels of several kinds share its time as they are predicted to."""
    record, small_s = one.operator, efficiencies().kernel_s
    kernels, tf32 = kernels_of(record), _is_tf32(one, card)
    works_s = [kernel_time(kernel, card, tf32_matmul=tf32).busy_s for kernel in kernels]
    work_s = sum(works_s)
    measured_s = one.measured_s - record.calls * max(1, record.launches) * begin_end_s
    if measured_s <= 0 or work_s < small_s * len(kernels):
        sums.short_s += one.measured_s
        return
    for kernel, own_s in zip(kernels, works_s, strict=True):
        path = kernel_rate(kernel, card, tf32_matmul=tf32).path
        found = sums.kinds.setdefault(efficiency_key(kernel, card, path), _Sum())
        found.calls += record.calls
        found.measured_s += measured_s * own_s / work_s
        found.predicted_s += record.calls * own_s


def _is_tf32(one: MeasuredOperator, card: GpuSpec) -> bool:
    """Returns whether a product ran in TF32: by its name, or because CUDA cores are not so fast."""
    peak, record = card.peak_flops_per_s.fp32, one.operator
    if one.is_tf32 or peak is None or not record.total_flops:
        return one.is_tf32
    is_single = all(tensor.dtype == "float32" for tensor in record.inputs)
    return is_single and record.total_flops > peak * one.measured_s


def kernel_factors(traces: Iterable[MeasuredKernels], card: GpuSpec) -> dict[str, float]:
    """Returns the factor of each kind from all traces of a card, each by one of its steps."""
    sums: dict[str, _Sum] = {}
    for trace in traces:
        for one in compared(trace, card).kinds:
            found = sums.setdefault(one.kind, _Sum())
            found.measured_s += one.measured_s
            found.predicted_s += one.predicted_s
    return credible_factors(
        [
            KernelComparison(
                kind=kind, calls=0, measured_s=one.measured_s, predicted_s=one.predicted_s
            )
            for kind, one in sums.items()
        ]
    )


def credible_factors(kinds: Sequence[KernelComparison]) -> dict[str, float]:
    """Returns the factors that can be of the same kernels, by kind."""
    return {one.kind: one.factor for one in kinds if one.is_credible}
