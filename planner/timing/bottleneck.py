"""Finds the bottleneck of a step: the share of each part, the longest one, and the next one.

In: seconds of the card, of launching, of the input. Out: Bottleneck. Convention: seconds of one
optimizer step; parts that overlap each have their share of it, so shares may add up to more than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.input_pipeline.rates import InputTimes, step_with_input
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.roofline import GpuTime
from planner.wire.trace import Phase


class Bound(str, Enum):
    """The possible limits of a training job."""

    DATA = "data preparation"
    """Workers, storage, handing batches over."""
    HOST_RAM = "host RAM"
    """The job does not fit in the RAM of its host."""
    COPY = "PCIe copy"
    """Copies of batches to the card."""
    OFFLOAD = "offload"
    """Copies of what is kept on the host, and an optimizer's update there; the card waits."""
    MESSAGES = "messages between GPUs"
    """Collectives and sends to other ranks that the kernels of the card wait for."""
    BUBBLE = "pipeline bubble"
    """The card waits for what other stages of the pipeline compute."""
    LAUNCHES = "kernel launches"
    """The CPU is slower to launch kernels than the card to run them, or they are so small that
    their begin and end take longer than their work."""
    BANDWIDTH = "memory bandwidth"
    """Memory bandwidth of the card."""
    COMPUTE = "compute"
    """Tensor cores, or CUDA cores where those cannot be used."""
    VRAM = "VRAM capacity"
    """The step does not fit on the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCopies:
    """Seconds of the copies of FSDP's shards between card and host, of one micro-batch."""

    phases_s: tuple[tuple[Phase, float], ...] = ()
    """All copies of a phase."""
    unit_s: float = 0.0
    """Those of the largest unit of FSDP: no kernel runs beside the first or the last one."""
    overlap: bool = True
    """Whether they run beside kernels: those of pinned memory do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadTimes:
    """Seconds that the kernels of a step wait for what is kept on the host."""

    activations_s: float = 0.0
    """Copies of saved tensors of a micro-batch, both ways."""
    optimizer_copy_s: float = 0.0
    """Copies of gradients and weights of an optimizer step, or of the models of a pipeline."""
    update_s: float = 0.0
    """The update of an optimizer step on the host."""
    shards: ShardCopies | None = None
    """Copies of shards that FSDP keeps on the host; None: it keeps none there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTimes:
    """Seconds of the messages of one optimizer step to other ranks."""

    total_s: float = 0.0
    """All messages, one after another."""
    exposed_s: float = 0.0
    """Those that no kernel runs beside, where they overlap as the strategy allows."""
    copies_s: float = 0.0
    """All copies of shards between card and host."""
    exposed_copies_s: float = 0.0
    """Those that no kernel runs beside, next to the messages."""

    @property
    def hidden_s(self) -> float:
        """Returns the seconds of messages and copies beside kernels."""
        return self.total_s - self.exposed_s + self.copies_s - self.exposed_copies_s


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParts:
    """Seconds of one optimizer step, and the input of one of its `micro_batches`.

    `launch_s` is the CPU's time to launch all kernels. `phases_s` are of the card, `uncovered` are
    operators without a rule. `offload_copy_s` and `offload_update_s` are of what is kept on the
    host; neither overlaps the kernels. `messages` are to other ranks; in `bubble_s` the card waits
    for other stages of a pipeline; in `stall_s` CPU and card wait for each other, because the CPU
    reads values. `sources_s` are seconds of the card by where the times of kernels are from.
    """

    compute_s: float
    bandwidth_s: float
    fixed_s: float
    launch_s: float
    micro_batches: int = 1
    input: InputTimes | None = None
    phases_s: tuple[tuple[Phase, float], ...] = ()
    uncovered: tuple[str, ...] = ()
    offload_copy_s: float = 0.0
    offload_update_s: float = 0.0
    messages: MessageTimes = MessageTimes()
    bubble_s: float = 0.0
    stall_s: float = 0.0
    sources_s: tuple[tuple[TimeSource, float], ...] = ()

    @property
    def source_shares(self) -> tuple[tuple[TimeSource, float], ...]:
        """Returns the shares of the kernels' time by where it is from, the largest first."""
        whole = sum(seconds for _, seconds in self.sources_s)
        shares = [(source, seconds / whole) for source, seconds in self.sources_s if seconds]
        return tuple(sorted(shares, key=lambda one: -one[1]))

    @property
    def offload_s(self) -> float:
        """Returns the seconds that the kernels wait for the host."""
        return self.offload_copy_s + self.offload_update_s

    @property
    def waits_s(self) -> float:
        """Returns the seconds that the kernels wait for the host and for other ranks."""
        return self.offload_s + self.messages.exposed_s + self.bubble_s

    @property
    def own_s(self) -> float:
        """Returns the seconds of the step if its input were always there."""
        return self.card_s + self.waits_s

    @property
    def gpu_s(self) -> float:
        """Returns the seconds that the card is busy."""
        return self.compute_s + self.bandwidth_s + self.fixed_s

    @property
    def card_s(self) -> float:
        """Returns the seconds until the card has run all kernels that the CPU launches."""
        return max(self.gpu_s, self.launch_s) + self.stall_s

    @property
    def loader_s(self) -> float:
        """Returns the seconds that the loader takes for the batches of the step."""
        return 0.0 if self.input is None else self.micro_batches * self.input.loader_s

    @property
    def copy_s(self) -> float:
        """Returns the seconds that the batches take over PCIe."""
        return 0.0 if self.input is None else self.micro_batches * (self.input.copy_s or 0.0)

    @property
    def step_s(self) -> float:
        """Returns the seconds of the step, without parts hidden by longer ones."""
        return self.step_of(self.card_s)

    def step_of(self, card_s: float) -> float:
        """Returns the seconds of the step if the card took `card_s`."""
        own_s = card_s + self.waits_s
        if self.input is None:
            return own_s
        return self.micro_batches * step_with_input(own_s / self.micro_batches, self.input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The bound of a step, and the next one."""

    bound: Bound
    """The longest part of the step, or the memory that is too small."""
    shares: tuple[tuple[Bound, float], ...]
    """Share of the step of each part, the largest first; parts that overlap add up to more than
    1."""
    runner_up: Bound | None
    """The next bound once this one is faster; where the job does not fit, the bound if it did fit.
    None: there is no other."""
    takes_over_factor: float | None
    """How much faster the bound must get for `runner_up` to take over; None: the job does not
    fit, or there is no other."""

    @property
    def share(self) -> float | None:
        """Returns the bound's share of the step; None for HOST_RAM and VRAM, which take no time."""
        return dict(self.shares).get(self.bound)


def bottleneck(parts: StepParts) -> Bottleneck:
    """Returns the longest part of the step, and the part that comes after it."""
    roofs = _roofs(parts)
    card = max(roofs, key=lambda one: roofs[one])
    lanes = {
        Bound.DATA: parts.loader_s,
        Bound.COPY: parts.copy_s,
        Bound.LAUNCHES: parts.launch_s,
    }
    chain_s = parts.gpu_s + parts.waits_s
    lanes[card] = max(lanes.get(card, 0.0), chain_s)
    bound = max(lanes, key=lambda one: lanes[one])
    factors = {
        other: lanes[bound] / seconds
        for other, seconds in lanes.items()
        if other is not bound and seconds > 0
    }
    if bound is card and chain_s >= parts.launch_s:
        factors = _factors_of_a_roof(card, roofs, parts)
    elif bound is card:  # launches, on CPU and card: the work of the kernels comes after them
        factors |= {
            other: lanes[bound] / seconds
            for other, seconds in roofs.items()
            if other is not card and seconds > 0
        }
    runner_up = min(factors, key=lambda one: factors[one], default=None)
    busy = {
        Bound.DATA: parts.loader_s,
        Bound.COPY: parts.copy_s,
        **roofs,
        Bound.LAUNCHES: max(parts.launch_s, parts.fixed_s),
    }
    return Bottleneck(
        bound=bound,
        shares=tuple(
            (name, busy[name] / parts.step_s)
            for name in sorted(busy, key=lambda one: -busy[one])
            if busy[name] > 0
        ),
        runner_up=runner_up,
        takes_over_factor=None if runner_up is None else factors[runner_up],
    )


def without_room(found: Bottleneck, bound: Bound) -> Bottleneck:
    """Returns the bottleneck of a job that does not fit: the memory of `bound` is too small."""
    return Bottleneck(
        bound=bound, shares=found.shares, runner_up=found.bound, takes_over_factor=None
    )


def _roofs(parts: StepParts) -> dict[Bound, float]:
    """Returns the seconds of what runs one after another, by its bound: kernels and waits."""
    return {
        Bound.COMPUTE: parts.compute_s,
        Bound.BANDWIDTH: parts.bandwidth_s,
        Bound.LAUNCHES: parts.fixed_s,
        **({Bound.OFFLOAD: parts.offload_s} if parts.offload_s else {}),
        **({Bound.MESSAGES: parts.messages.exposed_s} if parts.messages.exposed_s else {}),
        **({Bound.BUBBLE: parts.bubble_s} if parts.bubble_s else {}),
    }


def _factors_of_a_roof(
    card: Bound, roofs: dict[Bound, float], parts: StepParts
) -> dict[Bound, float]:
    """Returns how much faster the kernels under one roof must get until another part is longest.

    The card's other kernels run one after another with them: their time stays, whatever the factor.
    """
    mine_s = roofs[card]
    others_s = parts.gpu_s + parts.waits_s - mine_s
    factors = {
        other: mine_s / seconds
        for other, seconds in roofs.items()
        if other is not card and seconds > 0
    }
    beside = (
        (Bound.DATA, parts.loader_s), (Bound.COPY, parts.copy_s), (Bound.LAUNCHES, parts.launch_s)
    )  # fmt: skip
    for other, seconds in beside:
        if other is not card and seconds > others_s:
            factor = mine_s / (seconds - others_s)
            factors[other] = min(factor, factors.get(other, factor))
    return factors


def step_parts(
    micro_batch: GpuTime,
    optimizer_step: GpuTime,
    *,
    micro_batches: int,
    launch_s: tuple[float, float],
    input: InputTimes | None = None,
    offload: OffloadTimes = OffloadTimes(),
    messages: MessageTimes = MessageTimes(),
    bubble_s: float = 0.0,
    stall_s: float = 0.0,
) -> StepParts:
    """Adds up `micro_batches` and one optimizer step; `launch_s` is of one of each."""
    phases = {phase: micro_batches * seconds for phase, seconds in micro_batch.phases_s}
    for phase, seconds in optimizer_step.phases_s:
        phases[phase] = phases.get(phase, 0.0) + seconds
    sources = {source: micro_batches * seconds for source, seconds in micro_batch.sources_s}
    for source, seconds in optimizer_step.sources_s:
        sources[source] = sources.get(source, 0.0) + seconds
    return StepParts(
        compute_s=micro_batches * micro_batch.compute_s + optimizer_step.compute_s,
        bandwidth_s=micro_batches * micro_batch.bandwidth_s + optimizer_step.bandwidth_s,
        fixed_s=micro_batches * micro_batch.fixed_s + optimizer_step.fixed_s,
        launch_s=micro_batches * launch_s[0] + launch_s[1],
        micro_batches=micro_batches,
        input=input,
        offload_copy_s=micro_batches * offload.activations_s
        + offload.optimizer_copy_s
        + messages.exposed_copies_s,
        offload_update_s=offload.update_s,
        messages=messages,
        bubble_s=bubble_s,
        stall_s=stall_s,
        phases_s=tuple(phases.items()),
        sources_s=tuple(sources.items()),
        uncovered=tuple(dict.fromkeys((*micro_batch.uncovered, *optimizer_step.uncovered))),
    )
