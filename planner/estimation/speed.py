"""How fast the step is on a card, what holds it up, and what its host and its energy come to.

In: the counted step, GpuSpec, SpeedRequest. Out: Speed. Convention: operators are those of the card
that they were counted on; other cards are taken to launch the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.data_cost import DataCost
from planner.device.runner import Runner
from planner.estimation.card_run import CardAnswer
from planner.estimation.speed_request import SpeedRequest
from planner.hardware.specs import GpuSpec
from planner.hardware.this_host import this_core_speed
from planner.module_counts import ModelCounts
from planner.performance.bottleneck import Bound, StepParts, bottleneck, step_parts
from planner.performance.changes import in_channels_last, in_half
from planner.performance.cost import StepCost, StepLoad, step_cost
from planner.performance.data_item import DataItem, with_batch
from planner.performance.efficiency import efficiencies
from planner.performance.feeding import cores_needed, workers_needed
from planner.performance.host_budget import HostBudget
from planner.performance.host_ram import Room, host_ram, room_in_ram, room_in_shm
from planner.performance.input_pipeline import InputLimit, InputTimes, input_times
from planner.performance.loader import Loader
from planner.performance.pcie import PcieLink
from planner.performance.price import rent
from planner.performance.roofline import Change, GpuTime, gpu_time
from planner.speed_result import Gain, HostNeeds, StepTime
from planner.trace import OperatorRecord, Phase, TensorCategory
from planner.units import format_percent
from planner.workload import Mode, Precision, StepConfig

MEASURED_S = 2.0  # that the user's data set is asked for items
_CHECKPOINTED = (
    TensorCategory.PARAMETER, TensorCategory.BUFFER, TensorCategory.OPTIMIZER_STATE,
)  # fmt: skip
_WORTH_FACTOR = 1.05  # a gain below it is within the error of the model
_FAST_PRECISIONS = (Precision.FP32,)
# The core that cores are counted of where no host was named.
_REFERENCE_CORE = "EPYC 9B14 (Zen 4)"
_ENDLESS = HostBudget(
    requested="", cores=1.0, threads=1, core_speed=1.0, ram_bytes=0, shm_bytes=None,
    storage_bytes_per_s=None, pcie_generation=None, pcie_lanes=None,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The three answers for one card, and what was assumed for them."""

    time: StepTime
    host: HostNeeds
    cost: StepCost
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A counted step: `checkpoint_bytes` is a copy of model and optimizer state in host RAM."""

    config: StepConfig
    counted: ModelCounts
    checkpoint_bytes: int = 0

    @property
    def samples(self) -> int:
        """Samples of one optimizer step."""
        return self.config.batch_size * self.config.accumulate


def measured_item(cost: DataCost, core_speed: float) -> DataItem:
    """The user's own item, timed on a core of that speed."""
    return DataItem(
        name="build_dataset",
        prepare_s=cost.cpu_mean_s * core_speed,
        item_bytes=cost.item_bytes,
        stored_bytes=0,
        basis=f"build_dataset(), {cost.items} items timed on this machine",
        collate_s=None if cost.collate_s is None else cost.collate_s * core_speed,
    )


def measured_data(runner: Runner, request: SpeedRequest) -> SpeedRequest:
    """The request with the user's own items, timed in the child where that was asked for.

    Raises:
        TargetError: the model file has no build_dataset.
        ModelError: the data set raised, or is none.
    """
    if not request.measure_data:
        return request
    cost = runner.data_cost(MEASURED_S)
    item = measured_item(cost, this_core_speed())
    return replace(request, item=item, measure_data=False)


def speeds_of(
    answers: Sequence[CardAnswer], config: StepConfig, counted: ModelCounts, request: SpeedRequest
) -> list[Speed]:
    """The speed on each card, in the order of the answers."""
    return [
        speed(
            answer.budget.spec,
            Workload(config=config, counted=counted, checkpoint_bytes=checkpoint_bytes(answer)),
            request,
            step_time_ratio=step_time_ratio(answer),
        )
        for answer in answers
    ]


def step_time_ratio(answer: CardAnswer) -> float | None:
    """Measured over predicted time of past runs on the card; None where there are none."""
    known = answer.budget.calibration
    return None if known is None else known.step_time_ratio


def checkpoint_bytes(answer: CardAnswer) -> int:
    """A copy of the model and of the optimizer's state, for the time of its writing."""
    if answer.breakdown is None:
        return 0
    sums = answer.breakdown.by_category()
    return sum(sums.get(category.value, 0) for category in _CHECKPOINTED)


def speed(
    card: GpuSpec, work: Workload, request: SpeedRequest, *, step_time_ratio: float | None = None
) -> Speed:
    """Step time, host and cost on one card.

    `step_time_ratio` is measured over predicted time of past runs on this card.
    """
    measured = 1.0 if step_time_ratio is None else step_time_ratio
    item = _item(work, request)
    parts = _parts(card, work, request, item, measured)
    time = _time(card, work, request, parts, measured)
    return Speed(
        time=time,
        host=_host(card, work, request, item, parts),
        cost=_cost(card, work, request, parts),
        assumptions=_assumptions(work, request, item),
    )


def samples_per_s(
    card: GpuSpec, work: Workload, request: SpeedRequest, *, step_time_ratio: float | None = None
) -> float:
    """The throughput alone, as speed() has it."""
    measured = 1.0 if step_time_ratio is None else step_time_ratio
    return work.samples / _parts(card, work, request, _item(work, request), measured).step_s


def _item(work: Workload, request: SpeedRequest) -> DataItem | None:
    sizes = work.counted.batch_tensors_bytes
    if request.item is None or not sizes:
        return None
    return with_batch(request.item, sum(sizes), work.config.batch_size)


def _gpu_times(
    card: GpuSpec, counted: ModelCounts, change: Change | None = None
) -> tuple[GpuTime, GpuTime]:
    """Of one micro-batch, and of the optimizer step."""

    def of(records: Sequence[OperatorRecord]) -> GpuTime:
        return gpu_time(records, card, tf32_matmul=counted.tf32_matmul, change=change)

    steps = [one for one in counted.operators if one.phase is Phase.OPTIMIZER_STEP]
    others = [one for one in counted.operators if one.phase is not Phase.OPTIMIZER_STEP]
    return of(others), of(steps)


def _scaled(time: GpuTime, factor: float) -> GpuTime:
    return replace(
        time,
        phases_s=tuple((phase, factor * seconds) for phase, seconds in time.phases_s),
        compute_s=factor * time.compute_s,
        bandwidth_s=factor * time.bandwidth_s,
        fixed_s=factor * time.fixed_s,
    )


def _launch_s(counted: ModelCounts, request: SpeedRequest) -> tuple[float, float]:
    """CPU seconds to ask for the kernels of a micro-batch, and of the optimizer step."""
    core = 1.0 if request.host is None else request.host.core_speed
    of_one_s = efficiencies().launch_s / core
    calls = {True: 0, False: 0}
    for one in counted.operators:
        calls[one.phase is Phase.OPTIMIZER_STEP] += one.calls
    return calls[False] * of_one_s, calls[True] * of_one_s


def _parts(
    card: GpuSpec,
    work: Workload,
    request: SpeedRequest,
    item: DataItem | None,
    measured: float,
    *,
    change: Change | None = None,
    loader: Loader | None = None,
) -> StepParts:
    micro_batch, optimizer = (
        _scaled(one, measured) for one in _gpu_times(card, work.counted, change)
    )
    launch_s = _launch_s(work.counted, request)
    return step_parts(
        micro_batch,
        optimizer,
        micro_batches=work.config.accumulate,
        launch_s=launch_s,
        input=_input(card, work, request, item, launch_s[0], loader or request.loader),
    )


def _input(
    card: GpuSpec,
    work: Workload,
    request: SpeedRequest,
    item: DataItem | None,
    launch_s: float,
    loader: Loader,
) -> InputTimes | None:
    """Where the host is known; of any other the loader is taken to keep up."""
    if item is None or request.host is None:
        return None
    link = PcieLink(generation=card.pcie_generation, lanes=card.pcie_lanes)
    return input_times(item, work.config.batch_size, loader, request.host, link, trainer_s=launch_s)


def _time(
    card: GpuSpec, work: Workload, request: SpeedRequest, parts: StepParts, measured: float
) -> StepTime:
    micro_batch, optimizer = _gpu_times(card, work.counted)
    times = work.config.accumulate
    phases = {phase: measured * times * seconds for phase, seconds in micro_batch.phases_s}
    for phase, seconds in optimizer.phases_s:
        phases[phase] = phases.get(phase, 0.0) + measured * seconds
    spread = efficiencies().spread(is_training=work.config.mode is Mode.TRAIN)
    has_input = parts.input is not None
    return StepTime(
        step_s=parts.step_s,
        samples_per_s=work.samples / parts.step_s,
        gpu_s=parts.gpu_s,
        launch_s=parts.launch_s,
        phases_s=tuple(phases.items()),
        bottleneck=bottleneck(parts),
        loader_s=parts.loader_s if has_input else None,
        copy_s=parts.copy_s if has_input else None,
        interval_s=None
        if spread is None
        else (parts.step_s * spread.low, parts.step_s * spread.high),
        interval_coverage=None if spread is None else spread.coverage,
        interval_basis=None if spread is None else spread.basis,
        gains=_gains(card, work, request, parts, measured),
        uncounted_operators=tuple(dict.fromkeys((*micro_batch.uncovered, *optimizer.uncovered))),
    )


def _gains(
    card: GpuSpec, work: Workload, request: SpeedRequest, parts: StepParts, measured: float
) -> tuple[Gain, ...]:
    """What moves the bound, the largest gain first."""
    bound = bottleneck(parts).bound
    found: list[Gain] = []
    if bound is Bound.DATA:
        found += _data_gains(card, work, request, parts, measured)
    elif bound is Bound.LAUNCHES:
        more = parts.launch_s / parts.gpu_s
        found.append(Gain(change=f"a batch {more:.1f} times as large", factor=more))
    elif bound in (Bound.COMPUTE, Bound.BANDWIDTH):
        item = _item(work, request)
        for change, what in _kernel_changes(card, work.config):
            faster = _parts(card, work, request, item, measured, change=change)
            found.append(Gain(change=what, factor=parts.step_s / faster.step_s))
    worth = [gain for gain in found if gain.factor >= _WORTH_FACTOR]
    return tuple(sorted(worth, key=lambda gain: -gain.factor))


def _kernel_changes(card: GpuSpec, config: StepConfig) -> list[tuple[Change, str]]:
    found: list[tuple[Change, str]] = []
    half = "bfloat16" if card.peak_flops_per_s.bf16 is not None else "float16"
    option = "amp-bf16" if half == "bfloat16" else "amp-fp16"

    if config.precision in _FAST_PRECISIONS:
        found.append((lambda kernel, phase: in_half(kernel, phase, half), f"--precision {option}"))
        if not config.channels_last:
            found.append(
                (
                    lambda kernel, phase: in_channels_last(in_half(kernel, phase, half)),
                    f"--precision {option} --channels-last",
                )
            )
    elif not config.channels_last:
        found.append((lambda kernel, _: in_channels_last(kernel), "--channels-last"))
    return found


def _data_gains(
    card: GpuSpec, work: Workload, request: SpeedRequest, parts: StepParts, measured: float
) -> list[Gain]:
    item, host, times = _item(work, request), request.host, parts.input
    assert item is not None and host is not None and times is not None  # noqa: PT018 one invariant
    wanted = work.samples / parts.card_s
    needed = workers_needed(
        item,
        wanted,
        host,
        batch_size=work.config.batch_size,
        pin_memory=request.loader.pin_memory,
        trainer_s=_launch_s(work.counted, request)[0],
    )
    workers = needed.workers or host.threads
    found = []
    if workers > request.loader.workers and times.limit in (
        InputLimit.WORKERS,
        InputLimit.NO_WORKERS,
    ):
        more = replace(request.loader, workers=workers)
        faster = _parts(card, work, request, item, measured, loader=more)
        found.append(Gain(change=f"{workers} workers", factor=parts.step_s / faster.step_s))
    if needed.workers is None and needed.limit is InputLimit.CORES:
        cores = cores_needed(item, wanted, host, batch_size=work.config.batch_size).cores
        if cores is not None:
            change = f"a host with {cores + 1:.0f} cores like these"
            found.append(Gain(change=change, factor=parts.step_s / parts.card_s))
    if times.limit is InputLimit.STORAGE:
        found.append(Gain(change="faster storage", factor=parts.step_s / parts.card_s))
    return found


def _host(
    card: GpuSpec,
    work: Workload,
    request: SpeedRequest,
    item: DataItem | None,
    parts: StepParts,
) -> HostNeeds:
    host, loader = request.host, request.loader
    ram = host_ram(
        loader,
        work.counted.batch_tensors_bytes,
        base_bytes=work.counted.resident_bytes,
        checkpoint_bytes=work.checkpoint_bytes,
    )
    needed = None
    if item is not None:
        needed = cores_needed(
            item,
            work.samples / parts.card_s,
            host or _ENDLESS,
            batch_size=work.config.batch_size,
            pin_memory=loader.pin_memory,
        )
    shm_bytes = None if host is None else host.shm_bytes
    return HostNeeds(
        requested=None if host is None else host.requested,
        ram=ram,
        ram_room=Room.UNKNOWN if not request.ram_bytes else room_in_ram(ram, request.ram_bytes),
        usable_ram_bytes=request.ram_bytes,
        shm_room=room_in_shm(ram, shm_bytes),
        shm_bytes=shm_bytes,
        workers=loader.workers,
        cores=None if host is None else host.cores,
        cores_needed=None if needed is None else needed.cores,
        cores_like=None if item is None else (request.core_like or _REFERENCE_CORE),
        cores_limit=None if needed is None or needed.limit is None else needed.limit.value,
        data=None if item is None else item.name,
    )


def _cost(card: GpuSpec, work: Workload, request: SpeedRequest, parts: StepParts) -> StepCost:
    load = StepLoad(
        step_s=parts.step_s,
        samples_per_step=work.samples,
        tdp_w=card.tdp_w,
        compute_fraction=parts.compute_s / parts.step_s,
        bandwidth_fraction=parts.bandwidth_s / parts.step_s,
    )
    return step_cost(
        load,
        dataset_samples=request.dataset_samples,
        price=request.price or rent(card.prices),
        pue=request.pue,
    )


def _assumptions(work: Workload, request: SpeedRequest, item: DataItem | None) -> tuple[str, ...]:
    said = [*request.notes]
    if item is not None:
        said.append(f"data: {item.basis}")
        if request.host is None:
            said.append("no host was named: the loader is taken to keep up (--host, --cpu)")
    spread = efficiencies().spread(is_training=work.config.mode is Mode.TRAIN)
    if spread is not None:
        said.append(
            f"interval of the step time: {format_percent(spread.coverage, 1)} of such cases, by "
            f"{spread.basis}"
        )
    return tuple(said)
