"""What a step waits for: the share of each part, the one that holds it up, and the next in line.

In: seconds of the card, of launching, of the input. Out: Bottleneck. Convention: seconds of one
optimizer step; parts that overlap each have their share of it, so shares may add up to more than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.performance.input_pipeline import InputTimes, step_with_input
from planner.performance.roofline import GpuTime


class Bound(str, Enum):
    """What may hold a training job up."""

    DATA = "data preparation"  # workers, storage, handing batches over
    HOST_RAM = "host RAM"  # the job does not fit beside the card
    COPY = "PCIe copy"
    LAUNCHES = "kernel launches"  # the CPU is slower to ask for kernels than the card to run them
    BANDWIDTH = "memory bandwidth"  # of the card
    COMPUTE = "compute"  # tensor cores, or CUDA cores where those cannot be used
    VRAM = "VRAM capacity"  # the step does not fit, or a larger batch would be faster


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """Seconds of one optimizer step, and its input, each of `micro_batches` alike.

    `launch_s` is what the CPU takes to ask for all kernels.
    """

    compute_s: float
    bandwidth_s: float
    fixed_s: float
    launch_s: float
    micro_batches: int = 1
    input: InputTimes | None = None

    @property
    def gpu_s(self) -> float:
        """Seconds that the card is busy."""
        return self.compute_s + self.bandwidth_s + self.fixed_s

    @property
    def card_s(self) -> float:
        """Seconds until the card has done what the CPU asks of it."""
        return max(self.gpu_s, self.launch_s)

    @property
    def loader_s(self) -> float:
        """Seconds that the loader takes for the batches of the step."""
        return 0.0 if self.input is None else self.micro_batches * self.input.loader_s

    @property
    def copy_s(self) -> float:
        """Seconds that the batches take over PCIe."""
        return 0.0 if self.input is None else self.micro_batches * (self.input.copy_s or 0.0)

    @property
    def step_s(self) -> float:
        """Seconds of the step, with what overlaps hidden."""
        if self.input is None:
            return self.card_s
        return self.micro_batches * step_with_input(self.card_s / self.micro_batches, self.input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """`takes_over_factor`: how much faster the bound must get for `runner_up` to hold the step up.

    `shares` are of the step, the largest first, without those that are nothing.
    """

    bound: Bound
    shares: tuple[tuple[Bound, float], ...]
    runner_up: Bound | None
    takes_over_factor: float | None


def bottleneck(parts: StepParts) -> Bottleneck:
    """The longest part of the step, and what comes after it."""
    card = Bound.COMPUTE if parts.compute_s >= parts.bandwidth_s else Bound.BANDWIDTH
    contenders = {
        Bound.DATA: parts.loader_s,
        Bound.COPY: parts.copy_s,
        Bound.LAUNCHES: parts.launch_s,
        card: parts.gpu_s,
    }
    ordered = sorted(contenders, key=lambda one: -contenders[one])
    bound, runner_up = ordered[:2]
    busy = {
        Bound.DATA: parts.loader_s,
        Bound.COPY: parts.copy_s,
        Bound.LAUNCHES: parts.launch_s,
        Bound.COMPUTE: parts.compute_s,
        Bound.BANDWIDTH: parts.bandwidth_s,
    }
    has_next = contenders[runner_up] > 0
    return Bottleneck(
        bound=bound,
        shares=tuple(
            (name, busy[name] / parts.step_s)
            for name in sorted(busy, key=lambda one: -busy[one])
            if busy[name] > 0
        ),
        runner_up=runner_up if has_next else None,
        takes_over_factor=contenders[bound] / contenders[runner_up] if has_next else None,
    )


def step_parts(
    micro_batch: GpuTime,
    optimizer_step: GpuTime,
    *,
    micro_batches: int,
    launch_s: tuple[float, float],
    input: InputTimes | None = None,
) -> StepParts:
    """A step of `micro_batches` and one optimizer step; `launch_s` is of one of each."""
    return StepParts(
        compute_s=micro_batches * micro_batch.compute_s + optimizer_step.compute_s,
        bandwidth_s=micro_batches * micro_batch.bandwidth_s + optimizer_step.bandwidth_s,
        fixed_s=micro_batches * micro_batch.fixed_s + optimizer_step.fixed_s,
        launch_s=micro_batches * launch_s[0] + launch_s[1],
        micro_batches=micro_batches,
        input=input,
    )
