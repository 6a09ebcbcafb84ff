"""Times the parts of one counted step on one card, with its host and its data.

In: the counted step, GpuSpec, JobConfig. Out: StepParts, also of the step with a change.
Convention: operators are those of the card that they were counted on; seconds are of one
optimizer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.estimation.job import JobConfig
from planner.estimation.offload import link_bytes_per_s, offload_times
from planner.estimation.pipeline import waiting_s
from planner.hardware.specs import GpuSpec
from planner.input_pipeline.data_item import DataItem
from planner.input_pipeline.host_budget import PcieLink
from planner.input_pipeline.loader import Loader
from planner.input_pipeline.rates import InputTimes, input_times
from planner.memory.budget import CardKernels
from planner.timing.bottleneck import MessageTimes, ShardCopies, StepParts, step_parts
from planner.timing.issue import issue_costs, issue_times
from planner.timing.power_limit import bandwidth_at
from planner.timing.queues import calls_in_order, stall_s, waits_of
from planner.timing.roofline import Change, GpuTime, gpu_time
from planner.timing.timed_operators import TimedOperator, TimedOperators
from planner.wire.call_order import NO_ORDER
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import OperatorRecord, Phase

if TYPE_CHECKING:
    from planner.estimation.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Changes to the kernels of a step; by default none.

    `allow_tf32` lets matrix products of float32 be rounded. With `batch_size` the work of the
    kernels grows as the batch does, their number stays: an upper bound, because weights are not
    read more often.
    """

    change: Change | None = None
    allow_tf32: bool = False
    batch_size: int | None = None


AS_ASKED = Variant()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedStep:
    """A step to time. `item` is None where no data were named, or their bytes are not known.

    `time_ratio` is measured over predicted step time of past runs on this card, `kernels` are
    measured times of its kernels; only one of both is given. `network` joins the GPUs of a job on
    several. `clock` is that of the card under a power limit, as a share.
    """

    card: GpuSpec
    config: StepConfig
    counted: ModelCounts
    request: JobConfig
    item: DataItem | None = None
    time_ratio: float = 1.0
    kernels: CardKernels | None = None
    network: Network | None = None
    clock: float = 1.0

    @property
    def samples(self) -> int:
        """Returns samples of one optimizer step, of all ranks together."""
        return self.config.samples_of_a_step

    @property
    def gpus(self) -> int:
        """Returns the GPUs of the job."""
        return 1 if self.config.parallel is None else self.config.parallel.gpus

    @property
    def gpus_of_a_host(self) -> int:
        """Returns the GPUs of the job on one machine, each with a process of its own."""
        return 1 if self.config.parallel is None else self.config.parallel.gpus_of_a_host

    @property
    def link(self) -> PcieLink:
        """Returns the link of the card."""
        return PcieLink(generation=self.card.pcie_generation, lanes=self.card.pcie_lanes)

    @property
    def knows_link(self) -> bool:
        """Returns whether the copies of what is offloaded, if anything is, have a time."""
        is_known = link_bytes_per_s(self.link, self.request) is not None
        return self.counted.offloaded is None or is_known

    def gpu_times(self, variant: Variant = AS_ASKED) -> tuple[GpuTime, GpuTime]:
        """Returns the time of one micro-batch and that of the optimizer step (0 in inference)."""
        grown = self._growth(variant)
        steps, others = _by_part(self.counted.operators)
        return (
            self._card_time(others, variant, grown=grown),
            self._card_time(steps, variant),
        )

    def _card_time(
        self, records: Sequence[OperatorRecord], variant: Variant, *, grown: float = 1.0
    ) -> GpuTime:
        """Returns the time of some operators on this card, their work `grown` with the batch."""
        found = gpu_time(
            records,
            self.card,
            tf32_matmul=variant.allow_tf32 or self.counted.tf32_matmul,
            change=variant.change,
            factors=None if self.kernels is None else self.kernels.factors,
        )
        ratio = self.time_ratio
        return _scaled(_at_clock(found, self.clock), work=grown * ratio, fixed=ratio)

    def timed_operators(self) -> TimedOperators:
        """Returns each operator and message with its time; their sums are those of `parts`."""
        found = []
        for record in self.counted.operators:
            time = self._card_time((record,), AS_ASKED)
            found.append(
                TimedOperator(
                    operator=record,
                    compute_s=time.compute_s,
                    bandwidth_s=time.bandwidth_s,
                    fixed_s=time.fixed_s,
                    kernels=time.kernels,
                    source=time.main_source,
                )
            )
        messages = (
            () if self.network is None else self.network.timed(self.card, self.counted.collectives)
        )
        return TimedOperators(
            micro_batches=self.config.accumulate,
            operators=tuple(found),
            messages=messages,
            tf32_matmul=self.counted.tf32_matmul,
        )

    def stages_s(self) -> tuple[tuple[str, float], ...]:
        """Returns the seconds of the card in each stage of a pipeline, in order; else none."""
        stages = dict.fromkeys(one.stage for one in self.counted.operators if one.stage)
        return tuple(
            (name, self._card_time(self._of_stage(name), AS_ASKED).total_s) for name in stages
        )

    def _of_stage(self, name: str) -> list[OperatorRecord]:
        return [one for one in self.counted.operators if one.stage == name]

    def _growth(self, variant: Variant) -> float:
        """Returns the batch of a variant over that of the step."""
        return (variant.batch_size or self.config.batch_size) / self.config.batch_size

    def launch_s(self) -> tuple[float, float]:
        """Returns CPU seconds to launch the kernels of a micro-batch and those of the optimizer."""
        slower = self._issue_ratio()
        found = issue_times(self.counted.operators, self.counted.order)
        return slower * found.micro_batch_s, slower * found.optimizer_s

    def _issue_ratio(self) -> float:
        """Returns seconds of this host's core over those of the reference core."""
        core = 1.0 if self.request.host is None else self.request.host.core_speed
        return self.time_ratio / core

    def _stall_s(self, variant: Variant) -> float:
        """Returns the seconds that CPU and card wait for each other where the CPU reads values.

        Beyond the longer of both sums; more micro-batches than two add the same each.
        """
        if self.counted.serial_parts:
            parts = self._serial_parts(variant)
            return sum(map(max, parts)) - max(map(sum, zip(*parts, strict=True)))
        operators = self.counted.operators
        waits = waits_of(operators)
        if not any(waits):
            return 0.0
        slower, costs, grown = self._issue_ratio(), issue_costs(), self._growth(variant)
        card_s = []
        for record in operators:
            work = 1.0 if record.phase is Phase.OPTIMIZER_STEP else grown
            found = self._card_time((record,), variant, grown=work)
            card_s.append(found.total_s / record.calls)
        calls = calls_in_order(
            self.counted.order,
            [slower * costs.of(record) for record in operators],
            [slower * costs.view_s(record.phase) for record in operators],
            card_s,
            waits,
        )
        steps = [
            operators[place].phase is Phase.OPTIMIZER_STEP for place in self.counted.order.operators
        ]
        of_batch = [call for call, is_step in zip(calls, steps, strict=True) if not is_step]
        of_step = [call for call, is_step in zip(calls, steps, strict=True) if is_step]
        one_s, two_s = (stall_s(times * of_batch + of_step) for times in (1, 2))
        return max(0.0, one_s + (self.config.accumulate - 1) * (two_s - one_s))

    def serial_s(self, variant: Variant = AS_ASKED) -> list[float]:
        """Returns the seconds of each part of the step that ends before the next one begins."""
        return list(map(max, self._serial_parts(variant)))

    def _serial_parts(self, variant: Variant) -> list[tuple[float, float]]:
        """Returns the seconds of CPU and card for each of these parts."""
        found, begin = [], 0
        slower = self._issue_ratio()
        whole_s = sum(self.launch_s())
        calls_s = slower * issue_times(self.counted.operators, NO_ORDER).micro_batch_s
        for part in self.counted.serial_parts:
            records = self.counted.operators[begin : begin + part.operators]
            begin += part.operators
            issue_s = slower * issue_times(records, NO_ORDER).micro_batch_s
            views_s = (whole_s - calls_s) * (issue_s / calls_s if calls_s else 0.0)
            card_s = self._card_time(records, variant, grown=self._growth(variant)).total_s
            found.append((issue_s + views_s, card_s))
        return found

    def parts(self, variant: Variant = AS_ASKED) -> StepParts:
        """Returns the seconds of the step."""
        micro_batch, optimizer = self.gpu_times(variant)
        grown = self._growth(variant)
        launch_s = self.launch_s()
        offload = offload_times(self.counted, self.link, self.request, self.config, grown)
        return step_parts(
            micro_batch,
            optimizer,
            micro_batches=self.config.accumulate,
            launch_s=launch_s,
            input=self._input(launch_s[0], self.request.loader, variant.batch_size),
            offload=offload,
            messages=self._messages(micro_batch, offload.shards),
            bubble_s=self._bubble_s(micro_batch, launch_s[0], variant),
            stall_s=self._stall_s(variant),
        )

    def _messages(self, micro_batch: GpuTime, copies: ShardCopies | None) -> MessageTimes:
        """Returns the times of messages to other ranks, next to the kernels of a micro-batch."""
        if self.network is None:
            return MessageTimes()
        return self.network.times(
            self.card,
            self.counted.collectives,
            dict(micro_batch.phases_s),
            self.config.accumulate,
            copies,
        )

    def _bubble_s(self, micro_batch: GpuTime, launch_s: float, variant: Variant) -> float:
        """Returns the seconds that this rank waits for other stages of the pipeline."""
        parallel = self.config.parallel
        if self.network is None or parallel is None or self.counted.pipeline is None:
            return 0.0
        # Where the CPU is slower to launch kernels than the card to run them, phases are longer.
        slower = max(1.0, launch_s / micro_batch.total_s) if micro_batch.total_s else 1.0

        def seconds_of(counts: ModelCounts) -> dict[Phase, float]:
            found = replace(self, counted=counts).gpu_times(variant)[0]
            return {phase: slower * seconds for phase, seconds in found.phases_s}

        return waiting_s(
            parallel.place,
            self.counted,
            self.network.stage_counts,
            seconds_of,
            self.network.message_s(self.card, self.counted.collectives),
        )

    def fed_by(self, parts: StepParts, loader: Loader) -> StepParts:
        """Returns `parts` with other settings of the DataLoader."""
        return replace(parts, input=self._input(self.launch_s()[0], loader))

    def samples_per_s(self, parts: StepParts | None = None) -> float:
        """Returns the throughput of the step, or that of `parts` in its place."""
        return self.samples / (parts or self.parts()).step_s

    def _input(
        self, launch_s: float, loader: Loader, batch_size: int | None = None
    ) -> InputTimes | None:
        """Returns the input times; None without data or host: the loader is assumed to keep up."""
        request = self.request
        if self.item is None or request.host is None:
            return None
        return input_times(
            self.item,
            batch_size or self.config.batch_size,
            loader,
            request.host,
            self.link,
            trainer_s=launch_s,
        )


def _by_part(
    operators: Sequence[OperatorRecord],
) -> tuple[list[OperatorRecord], list[OperatorRecord]]:
    """Splits the operators into those of the optimizer and the others."""
    steps = [one for one in operators if one.phase is Phase.OPTIMIZER_STEP]
    return steps, [one for one in operators if one.phase is not Phase.OPTIMIZER_STEP]


def _at_clock(time: GpuTime, clock: float) -> GpuTime:
    """Returns the time with the cores of the card at a share of their clock."""
    if clock == 1.0:
        return time
    slowed = replace(
        time,
        compute_s=time.compute_s / clock,
        bandwidth_s=time.bandwidth_s / bandwidth_at(clock),
    )
    return _with_phases_of(slowed, time)


def _with_phases_of(changed: GpuTime, time: GpuTime) -> GpuTime:
    """Scales the phases of `time` as the whole has changed."""
    whole = changed.total_s / time.total_s if time.total_s else 1.0
    return replace(changed, phases_s=tuple((phase, whole * s) for phase, s in time.phases_s))


def _scaled(time: GpuTime, *, work: float, fixed: float) -> GpuTime:
    """Multiplies the work of kernels by `work`, the time of their begin and end by `fixed`."""
    scaled = replace(
        time,
        compute_s=work * time.compute_s,
        bandwidth_s=work * time.bandwidth_s,
        fixed_s=fixed * time.fixed_s,
    )
    return _with_phases_of(scaled, time)
