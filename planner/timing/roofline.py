"""Times the kernels of a step on a card, and finds which of the two roofs bounds each.

In: OperatorRecords of one micro-batch, GpuSpec. Out: GpuTime. Convention: kernels run one after
another; each has a fixed time to begin and end. An operator that launches more kernels than are
timed by their work (clears, sums of parts) has that fixed time for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.kernel_times import corrected, kernel_time
from planner.timing.kernels import Kernel, KernelKind
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.same import kernels_once
from planner.wire.trace import OperatorRecord, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTime:
    """Seconds of the card for one micro-batch, all calls together.

    `compute_s` and `bandwidth_s` are of kernels bound by arithmetic and by memory bandwidth;
    `fixed_s` is the time of begin and end of kernels. `uncovered` are operators without a rule:
    only their bytes are counted. `kernels` is the number of launched kernels; `sources_s` has the
    seconds by where the times of kernels are from.
    """

    phases_s: tuple[tuple[Phase, float], ...]
    compute_s: float
    bandwidth_s: float
    fixed_s: float
    kernels: int
    uncovered: tuple[str, ...] = ()
    sources_s: tuple[tuple[TimeSource, float], ...] = ()

    @property
    def total_s(self) -> float:
        """Returns the seconds that the card is busy."""
        return self.compute_s + self.bandwidth_s + self.fixed_s

    @property
    def main_source(self) -> TimeSource:
        """Returns where most of the time is from; FALLBACK where no kernel is timed."""
        shares = dict(self.sources_s)
        return max(shares, key=lambda one: shares[one], default=TimeSource.FALLBACK)

    def phase_s(self, phase: Phase) -> float:
        """Returns the seconds of one phase."""
        return dict(self.phases_s).get(phase, 0.0)


Change = Callable[[Kernel, Phase], Kernel]


@dataclass(slots=True)
class _Sums:
    """Seconds of one call of an operator, or of all."""

    compute_s: float = 0.0
    bandwidth_s: float = 0.0
    fixed_s: float = 0.0


def gpu_time(
    operators: Iterable[OperatorRecord],
    card: GpuSpec,
    *,
    tf32_matmul: bool = False,
    change: Change | None = None,
    factors: Mapping[str, float] | None = None,
) -> GpuTime:
    """Times all operators on the card, one after another.

    `tf32_matmul` is torch.backends.cuda.matmul.allow_tf32; `change` is made to each kernel first.
    `factors` are measured over predicted times of work on this card, by the kind of the kernel.
    """
    small_s = efficiencies().kernel_s
    sums, phases, sources = _Sums(), dict[Phase, float](), dict[TimeSource, float]()
    launched, uncovered = 0, dict[str, None]()
    for record in operators:
        kernels = kernels_once(record)
        if any(kernel.kind is KernelKind.UNKNOWN for kernel in kernels):
            uncovered[record.name] = None
        more = max(0, record.launches - len(kernels))
        one_s = more * small_s
        sums.fixed_s += record.calls * more * small_s
        for kernel in kernels:
            changed = kernel if change is None else change(kernel, record.phase)
            found = kernel_time(changed, card, tf32_matmul=tf32_matmul)
            if factors:
                found = corrected(found, changed, card, factors, tf32_matmul=tf32_matmul)
            if found.is_compute_bound:
                sums.compute_s += record.calls * found.busy_s
            else:
                sums.bandwidth_s += record.calls * found.busy_s
            sums.fixed_s += record.calls * found.fixed_s
            spent = record.calls * found.total_s
            sources[found.source] = sources.get(found.source, 0.0) + spent
            one_s += found.total_s
        phases[record.phase] = phases.get(record.phase, 0.0) + record.calls * one_s
        launched += record.calls * max(len(kernels), record.launches)
    return GpuTime(
        phases_s=tuple(phases.items()),
        compute_s=sums.compute_s,
        bandwidth_s=sums.bandwidth_s,
        fixed_s=sums.fixed_s,
        kernels=launched,
        uncovered=tuple(uncovered),
        sources_s=tuple(sources.items()),
    )
