"""The time of a step on one card, the needs of its host, and the JSON form of both.

In: figures of the models of time. Out: StepTime, HostNeeds. Seconds of one optimizer step; bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cost.energy import EpochCost, StepCost
from planner.input_pipeline.host_ram import HostRam, Room
from planner.timing.bottleneck import Bottleneck
from planner.timing.measured.kernel_time import TimeSource
from planner.wire.trace import Phase

if TYPE_CHECKING:
    from planner.results.schema.step import (
        CostDocument,
        EpochDocument,
        GainDocument,
        HostDocument,
        TimeDocument,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A change that moves the bound."""

    change: str
    """The change, in words of the command line."""
    factor: float
    """Throughput with the change over that without; above 1 is faster."""
    is_approximate: bool = True
    """It is computed from the same run, not from one with the change."""

    def to_dict(self) -> GainDocument:
        """Returns the entry of the JSON list `gains`."""
        return {
            "change": self.change,
            "factor": self.factor,
            "is_approximate": self.is_approximate,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One optimizer step, with its input where that is known. All times are seconds."""

    step_s: float
    """Seconds of one optimizer step."""
    samples_per_s: float
    """Samples of the step over its time."""
    gpu_s: float
    """Seconds that the card is busy."""
    launch_s: float
    """Seconds that the CPU takes to launch all kernels."""
    phases_s: tuple[tuple[Phase, float], ...]
    """Seconds of the card in each phase."""
    bottleneck: Bottleneck
    """The bound of the step, with the shares of the other bounds."""
    loader_s: float | None = None
    """Seconds that the loader takes for the batches; None: no data were named."""
    copy_s: float | None = None
    """Seconds of copying them to the card; None: no data were named."""
    offload_copy_s: float | None = 0.0
    """Seconds of copying what is offloaded, to the host and back; None: the link is not known."""
    offload_update_s: float = 0.0
    """Seconds of an optimizer's update on the host."""
    messages_s: float | None = None
    """Seconds of all messages to other GPUs, one after another; None: the job runs on one GPU."""
    exposed_messages_s: float | None = None
    """Seconds of those that no kernel runs beside; None: the job runs on one GPU."""
    bubble_s: float | None = None
    """Seconds that the GPU waits for other stages of a pipeline; None: there is none."""
    samples_per_s_per_gpu: float | None = None
    """`samples_per_s` over the GPUs of the job; None: the job runs on one GPU."""
    tokens_per_s_per_gpu: float | None = None
    """Tokens of the step over its time and the GPUs of the job; None: no sequence length was
    given."""
    mfu: float | None = None
    """Model FLOPs utilization, from 0 to 1: FLOPs of the step without recomputation over those that
    the card could do in its time at the peak of the dtype; None: no FLOPs, or no peak is known."""
    scaling_efficiency: float | None = None
    """Time of the step if no other GPU were waited for over its time; None: the job runs on one
    GPU."""
    first_token_s: float | None = None
    """Seconds of a generation until its first token; None: the step is none."""
    token_s: float | None = None
    """Seconds of each later token, on average; None: the step is no generation."""
    new_tokens_per_s: float | None = None
    """Tokens that a generation writes for all samples over its time; None: it is none."""
    interval_s: tuple[float, float] | None = None
    """Low and high end of `step_s` in a share `interval_coverage` of cases; None: no past errors
    are known."""
    interval_coverage: float | None = None
    """Share of cases within the interval, from 0 to 1; None: there is no interval."""
    interval_basis: str | None = None
    """Past errors that the interval comes from, or why there is none."""
    time_sources: tuple[tuple[TimeSource, float], ...] = ()
    """Shares of the kernels' time by where it is from, the largest first."""
    gains: tuple[Gain, ...] = ()
    """Changes that would make it faster, the largest first."""
    uncounted_operators: tuple[str, ...] = ()
    """Operators without a rule: only their bytes are counted."""
    stages_s: tuple[tuple[str, float], ...] = ()
    """Seconds of the card in each stage of a pipeline; none: the target is no pipeline."""

    def to_dict(self) -> TimeDocument:
        """Returns the JSON object `time`."""
        found = self.bottleneck
        return {
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "samples_per_s_per_gpu": self.samples_per_s_per_gpu,
            "tokens_per_s_per_gpu": self.tokens_per_s_per_gpu,
            "mfu": self.mfu,
            "scaling_efficiency": self.scaling_efficiency,
            "first_token_s": self.first_token_s,
            "token_s": self.token_s,
            "new_tokens_per_s": self.new_tokens_per_s,
            "gpu_s": self.gpu_s,
            "launch_s": self.launch_s,
            "loader_s": self.loader_s,
            "copy_s": self.copy_s,
            "offload_copy_s": self.offload_copy_s,
            "offload_update_s": self.offload_update_s,
            "messages_s": self.messages_s,
            "exposed_messages_s": self.exposed_messages_s,
            "bubble_s": self.bubble_s,
            "phases_s": {phase.value: seconds for phase, seconds in self.phases_s},
            "stages_s": dict(self.stages_s) or None,
            "bound": found.bound.value,
            "shares": {bound.value: share for bound, share in found.shares},
            "runner_up": None if found.runner_up is None else found.runner_up.value,
            "takes_over_factor": found.takes_over_factor,
            "interval": _ends(self.interval_s),  # deprecated: interval_s has the unit in its name
            "interval_s": _ends(self.interval_s),
            "interval_coverage": self.interval_coverage,
            "interval_basis": self.interval_basis,
            "time_sources": {source.value: share for source, share in self.time_sources},
            "gains": [gain.to_dict() for gain in self.gains],
            "uncounted_operators": list(self.uncounted_operators),
        }


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNeeds:
    """Memory and cores for the job on its host."""

    requested: str | None
    """The host in the words of the caller; None: none was named."""
    ram: HostRam
    """RAM of the job, by part."""
    ram_room: Room
    """Whether that is within the RAM of the host."""
    usable_ram_bytes: int | None
    """RAM of the host; None: not known."""
    shm_room: Room
    """Whether the batches are within /dev/shm."""
    shm_bytes: int | None
    """Size of /dev/shm; None: not known."""
    workers: int
    """Workers of the DataLoader that the figures are for; 0: the process loads itself."""
    cores: float | None = None
    """Cores of the host; None: not known."""
    cores_needed: float | None = None
    """Cores like `cores_like` that feed the card as fast as it goes; None: no data were named,
    or see `cores_limit`."""
    cores_like: str | None = None
    """Processor whose cores are meant; None: no data were named."""
    cores_limit: str | None = None
    """Why no number of cores is enough; None: some number is."""
    data: str | None = None
    """Named kind of data item; None: no data were named."""

    @property
    def fits(self) -> bool | None:
        """Returns whether the job fits into RAM; None where no RAM was named."""
        if self.ram_room is Room.UNKNOWN:
            return None
        return self.ram_room is not Room.DOES_NOT_FIT

    def to_dict(self) -> HostDocument:
        """Returns the JSON object `host`."""
        ram = self.ram
        return {
            "requested": self.requested,
            "ram_bytes": ram.total_bytes,
            "usable_ram_bytes": self.usable_ram_bytes,
            "fits": self.fits,
            "verdict": self.ram_room.value,
            "ram_parts_bytes": {
                "process": ram.base_bytes,
                "workers": ram.workers_bytes,
                "prefetched batches": ram.prefetch_bytes,
                "pinned batches": ram.pinned_bytes,
                "data set": ram.dataset_bytes,
                "checkpoint": ram.checkpoint_bytes,
                "offloaded": ram.offloaded_bytes,
            },
            "shm_peak_bytes": ram.shm_peak_bytes,
            "shm_bytes": self.shm_bytes,
            "shm_verdict": self.shm_room.value,
            "workers": self.workers,
            "cores": self.cores,
            "cores_needed": self.cores_needed,
            "cores_like": self.cores_like,
            "cores_limit": self.cores_limit,
            "data": self.data,
        }


def cost_document(found: StepCost) -> CostDocument:
    """Returns the JSON object `cost`."""
    cost, price = found.cost_per_sample, found.price
    return {
        "power_w": list(found.power_w),
        "joule_per_sample": list(found.joule_per_sample),
        "samples_per_s": found.samples_per_s,
        "cost_per_sample": None if cost is None else list(cost),
        "price_per_hour": None if price is None else [price.low, price.high],
        "currency": None if price is None else price.currency,
        "epoch": None if found.epoch is None else _epoch_dict(found.epoch),
        "basis": list(found.basis),
    }


def _epoch_dict(epoch: EpochCost) -> EpochDocument:
    return {
        "samples": epoch.samples,
        "hours": epoch.hours,
        "kwh": list(epoch.kwh),
        "money": None if epoch.money is None else list(epoch.money),
        "currency": epoch.currency,
    }
