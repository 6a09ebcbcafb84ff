"""Times the step on each card: its speed, its bottleneck, the needs of its host, its energy.

In: DeviceMemory of each card, the counted step, JobConfig. Out: DeviceTimings. Convention: a step
that does not fit has the times that it would have with enough memory, and memory as its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.cost.energy import StepCost, StepLoad, step_cost, typical_power_w
from planner.cost.price import HourlyPrice, rent
from planner.estimation.data_source import item_of_batch, unlike_words
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.generation.times import token_times
from planner.estimation.host_needs import checkpoint_bytes, host_needs
from planner.estimation.job import JobConfig
from planner.estimation.offload import offload_words
from planner.estimation.speedups import gains
from planner.estimation.time_interval import (
    interval_basis,
    interval_s,
    interval_words,
    time_spread,
)
from planner.estimation.timed_step import TimedStep
from planner.hardware.specs import GpuSpec
from planner.results.step_time import HostNeeds, StepTime
from planner.timing.bottleneck import (
    Bottleneck,
    Bound,
    MessageTimes,
    StepParts,
    bottleneck,
    without_room,
)
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.power_limit import bandwidth_at, clock_under_limit
from planner.timing.spread import TimeSpread
from planner.timing.timed_operators import TimedOperators
from planner.timing.utilization import utilization
from planner.units import counted, format_percent
from planner.wire.module_counts import ModelCounts

_LEAST_SHARE = 0.005  # of the kernels' time, to be named
_NO_BYTES = (
    "data are left out: the step's batch holds no tensors, so the bytes of an item are not known"
)

if TYPE_CHECKING:
    from planner.estimation.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTiming:
    """The time, the host and the cost of a step on one card, and their assumptions."""

    time: StepTime
    host: HostNeeds
    cost: StepCost
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def device_timings(
    answers: Sequence[DeviceMemory],
    config: StepConfig,
    counted: ModelCounts,
    request: JobConfig,
    network: Network | None = None,
) -> list[DeviceTiming]:
    """Returns the speed on each card, in the order of answers; empty: nothing ran on the card.

    `network` joins the GPUs of a job on several.
    """
    if not counted.operators:
        return []
    found = [
        speed_of(answer, config, counted, request, fits=answer.fits, network=network)
        for answer in answers
    ]
    if len({answer.budget.card.compute_capability for answer in answers}) > 1:
        first = answers[0].budget.requested
        said = f"kernels are counted on {first}; the other cards are taken to launch the same"
        found[0] = replace(found[0], assumptions=(*found[0].assumptions, said))
    return found


def device_operators(
    answers: Sequence[DeviceMemory],
    config: StepConfig,
    counted: ModelCounts,
    request: JobConfig,
    network: Network | None = None,
) -> tuple[TimedOperators, ...]:
    """Returns the operators with their times on each card; empty: nothing ran on the card."""
    if not counted.operators:
        return ()
    return tuple(
        card_step(answer, config, counted, request, network).timed_operators() for answer in answers
    )


def speed_of(
    answer: DeviceMemory,
    config: StepConfig,
    counted: ModelCounts,
    request: JobConfig,
    *,
    fits: bool,
    network: Network | None = None,
) -> DeviceTiming:
    """Returns the speed of the step of `config`, which may differ from that of `answer`.

    `fits` is whether the step of `config` fits.
    """
    capacity = answer.batch_capacity
    found = speed(
        card_step(answer, config, counted, request, network),
        checkpoint=checkpoint_bytes(answer, config.mode),
        fits=fits,
        largest_batch=None if capacity is None else capacity.largest,
    )
    return replace(found, assumptions=(*_corrected(answer), *found.assumptions))


def card_step(
    answer: DeviceMemory,
    config: StepConfig,
    counted: ModelCounts,
    request: JobConfig,
    network: Network | None = None,
) -> TimedStep:
    """Returns the counted step on the card of an answer."""
    ratio = _time_ratio(answer)
    step = TimedStep(
        card=answer.budget.spec,
        config=config,
        counted=counted,
        request=request,
        item=item_of_batch(request.item, counted.batch_tensors_bytes, config.batch_size),
        time_ratio=1.0 if ratio is None else ratio,
        kernels=answer.budget.kernels if ratio is None else None,
        network=network,
    )
    return _under_limit(step)


def _under_limit(step: TimedStep) -> TimedStep:
    """Returns the step at the clock that its power limit leaves it."""
    limit_w = step.request.power_limit_w
    if limit_w is None:
        return step
    drawn_w = typical_power_w(_load(step, step.parts())) / step.gpus
    clock = clock_under_limit(drawn_w=drawn_w, limit_w=limit_w, tdp_w=step.card.tdp_w)
    return replace(step, clock=clock)


def _time_ratio(answer: DeviceMemory) -> float | None:
    known = answer.budget.calibration
    return None if known is None else known.step_time_ratio


def _corrected(answer: DeviceMemory) -> tuple[str, ...]:
    """Says what measurements on the card change of the step time.

    Verifications were compared with times without those of traces: only one of both counts.
    """
    name, kernels = answer.budget.requested, answer.budget.kernels
    known, ratio = answer.budget.calibration, _time_ratio(answer)
    if known is not None and ratio is not None:
        unused = "" if kernels is None else "; kernels of its traces are not used beside it"
        return (f"{name}, step time: {ratio:.3g} x as computed, {known.basis}{unused}",)
    if kernels is None:
        return ()
    low, high = min(kernels.factors.values()), max(kernels.factors.values())
    found = f"{low:.3g}" if len(kernels.factors) == 1 else f"{low:.3g} to {high:.3g}"
    return (
        f"{name}, step time: {kernels.basis}, {counted(len(kernels.factors), 'kind')} of them, "
        f"{found} x as computed",
    )


def speed(
    step: TimedStep, *, checkpoint: int = 0, fits: bool = True, largest_batch: int | None = None
) -> DeviceTiming:
    """Returns the step time, host and cost of one card.

    `checkpoint` is in bytes, `fits` is whether the step fits on the card.
    """
    parts = step.parts()
    host = host_needs(step, parts, checkpoint)
    found = bottleneck(parts)
    if not fits:
        found = without_room(found, Bound.VRAM)
    elif host.fits is False:
        found = without_room(found, Bound.HOST_RAM)
    spread = time_spread(step, parts)
    words = () if spread is None else interval_words(step, spread)
    return DeviceTiming(
        time=_time(step, parts, found, largest_batch, spread),
        host=host,
        cost=_cost(step, parts),
        assumptions=(*_assumptions(step, parts), *words),
        notes=words,
    )


def _time(
    step: TimedStep,
    parts: StepParts,
    found: Bottleneck,
    largest_batch: int | None,
    spread: TimeSpread | None,
) -> StepTime:
    times = parts.input
    tokens = token_times(step)
    samples_per_s, length = step.samples_per_s(parts), step.config.sequence_length
    return StepTime(
        step_s=parts.step_s,
        samples_per_s=samples_per_s,
        gpu_s=parts.gpu_s,
        launch_s=parts.launch_s,
        phases_s=parts.phases_s,
        stages_s=step.stages_s(),
        bottleneck=found,
        loader_s=None if times is None else parts.loader_s,
        copy_s=None if times is None or times.copy_s is None else parts.copy_s,
        offload_copy_s=parts.offload_copy_s if step.knows_link else None,
        offload_update_s=parts.offload_update_s,
        messages_s=None if step.network is None else parts.messages.total_s,
        exposed_messages_s=None if step.network is None else parts.messages.exposed_s,
        bubble_s=None if step.counted.pipeline is None else parts.bubble_s,
        samples_per_s_per_gpu=None if step.network is None else samples_per_s / step.gpus,
        tokens_per_s_per_gpu=None if length is None else samples_per_s * length / step.gpus,
        mfu=utilization(
            step.counted, step.card, seconds=parts.step_s, micro_batches=parts.micro_batches
        ),
        scaling_efficiency=_scaling_efficiency(step, parts),
        first_token_s=None if tokens is None else tokens.first_s,
        token_s=None if tokens is None else tokens.later_s,
        new_tokens_per_s=None if tokens is None else samples_per_s * tokens.tokens,
        interval_s=None if spread is None else interval_s(parts, spread),
        interval_coverage=None if spread is None or step.network else spread.coverage,
        interval_basis=None if spread is None else interval_basis(step, spread),
        time_sources=parts.source_shares,
        gains=gains(step, parts, found.bound, largest_batch),
        uncounted_operators=parts.uncovered,
    )


def _scaling_efficiency(step: TimedStep, parts: StepParts) -> float | None:
    """Returns the time of the step if no other GPU were waited for over its time."""
    if step.network is None:
        return None
    return replace(parts, messages=MessageTimes(), bubble_s=0.0).step_s / parts.step_s


def _load(step: TimedStep, parts: StepParts) -> StepLoad:
    """Returns what all GPUs of the job do in a step."""
    limit_w = step.request.power_limit_w
    return StepLoad(
        step_s=parts.step_s,
        samples_per_step=step.samples,
        tdp_w=step.gpus * step.card.tdp_w,
        compute_fraction=parts.compute_s / parts.step_s,
        bandwidth_fraction=parts.bandwidth_s / parts.step_s,
        limit_w=None if limit_w is None else step.gpus * limit_w,
    )


def _cost(step: TimedStep, parts: StepParts) -> StepCost:
    return step_cost(
        _load(step, parts),
        dataset_samples=step.request.dataset_samples,
        price=_of_all(price_of(step.card, step.request), step.gpus),
        pue=step.request.pue,
    )


def _of_all(price: HourlyPrice | None, gpus: int) -> HourlyPrice | None:
    """Returns the rent of all GPUs of the job."""
    if price is None or gpus == 1:
        return price
    basis = f"{price.basis}, times {gpus} GPUs"
    return replace(price, low=gpus * price.low, high=gpus * price.high, basis=basis)


def price_of(card: GpuSpec, request: JobConfig) -> HourlyPrice | None:
    """Returns the rent of a card: the given one, that of a catalogue, the host, the record."""
    if request.price is not None:
        return request.price
    if card.id in request.prices:
        return request.prices[card.id]
    machine, count = request.machine, dict(request.cards_of_host).get(card.id, 0)
    whole = None if machine is None or not count else rent(machine.prices)
    if machine is None or whole is None:
        return rent(card.prices)
    share = "" if count == 1 else f", 1/{count} for one card"
    basis = f"{machine.id}, {whole.basis}{share}"
    return replace(whole, low=whole.low / count, high=whole.high / count, basis=basis)


def _assumptions(step: TimedStep, parts: StepParts) -> tuple[str, ...]:
    request = step.request
    said = [*request.notes, *_host_words(step.card, request), *_source_words(parts)]
    if request.power_limit_w is not None:
        said.append(_limit_words(step, request.power_limit_w))
    said += offload_words(step.counted, step.link, request, step.config)
    if step.network is not None:
        said += step.network.words(step.card, step.counted.collectives)
    if request.item is not None and step.item is None:
        said.append(_NO_BYTES)
    if step.item is not None:
        said.append(f"data: {step.item.basis}")
        if request.item is not None and (unlike := unlike_words(request.item, step.item)):
            said.append(unlike)
        if request.host is None:
            said.append("no host was named: the loader is taken to keep up (--host, --cpu)")
    if parts.input is not None and parts.input.copy_overlaps_step:
        said.append(
            "the copy to the card is taken to overlap the step, as where the next batch is copied "
            "ahead, non_blocking; else its time comes on top"
        )
    return tuple(said)


_OF_SOURCES = {
    TimeSource.TABLE: "measured kernels of this card",
    TimeSource.RELATED: "measured kernels of related cards",
    TimeSource.FIT: "what such kernels take in published steps",
    TimeSource.FALLBACK: "similar kernels, because no published step has these",
}


def _source_words(parts: StepParts) -> tuple[str, ...]:
    """Says where the times of kernels are from; nothing where all are from published steps."""
    shares = [one for one in parts.source_shares if one[1] >= _LEAST_SHARE]
    if all(source is TimeSource.FIT for source, _ in shares):
        return ()
    said = ", ".join(
        f"{format_percent(share, 1)} by {_OF_SOURCES[source]}" for source, share in shares
    )
    return (f"times of kernels: {said}",)


def _limit_words(step: TimedStep, limit_w: float) -> str:
    """Says what a power limit changes."""
    found = f"{step.card.id} with a power limit of {limit_w:g} W of {step.card.tdp_w} W: "
    if step.clock == 1.0:
        return f"{found}this step draws no more, so it takes as long as without"
    return (
        f"{found}cores at {format_percent(step.clock, 1)} of their clock, memory at "
        f"{format_percent(bandwidth_at(step.clock), 1)} of its rate"
    )


def _host_words(card: GpuSpec, request: JobConfig) -> tuple[str, ...]:
    """Says how this card relates to the cards that the named host comes with."""
    machine, cards = request.machine, dict(request.cards_of_host)
    if machine is None or not cards:
        return ()
    if card.id not in cards:
        # Does not name this card, so that many cards have the same sentence.
        return (f"{machine.id} comes with {', '.join(cards)}: any other card is put in its place",)
    if cards[card.id] > 1:
        return (
            f"this job has all of {machine.id}; with one on each of its {cards[card.id]} cards, "
            "each has that part of its cores and of its RAM",
        )
    return ()
