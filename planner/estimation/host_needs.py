"""Computes the needs of a job on its host: RAM, /dev/shm, workers, cores to keep its card busy.

In: TimedStep and its parts, the bytes of a checkpoint. Out: HostNeeds.
"""

from __future__ import annotations

from planner.config.step import Mode
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.offload import offloaded_bytes
from planner.estimation.timed_step import TimedStep
from planner.input_pipeline.feeding import cores_needed
from planner.input_pipeline.host_budget import HostBudget
from planner.input_pipeline.host_ram import Room, host_ram, room_in_ram, room_in_shm
from planner.results.step_time import HostNeeds
from planner.timing.bottleneck import StepParts
from planner.units import MIB
from planner.wire.trace import TensorCategory

_CHECKPOINTED = (
    TensorCategory.PARAMETER, TensorCategory.BUFFER, TensorCategory.OPTIMIZER_STATE,
)  # fmt: skip
_RESIDENT_GRAIN_BYTES = 64 * MIB
# Where no host was named, cores are counted in reference cores, without any other limit.
_REFERENCE_CORE = "EPYC 9B14 (Zen 4)"
_ANY_HOST = HostBudget(
    requested="", cores=1.0, threads=1, core_speed=1.0, ram_bytes=0, shm_bytes=None,
    storage_bytes_per_s=None, pcie_generation=None, pcie_lanes=None,
)  # fmt: skip


def checkpoint_bytes(answer: DeviceMemory, mode: Mode) -> int:
    """Returns the bytes of a copy of model and optimizer state in RAM, held while it is written.

    0 in inference, which writes none, and where the run could not be recorded.
    """
    if answer.breakdown is None or mode is Mode.INFER:
        return 0
    sums = answer.breakdown.by_category()
    return sum(sums.get(category.value, 0) for category in _CHECKPOINTED)


def host_needs(step: TimedStep, parts: StepParts, checkpoint: int) -> HostNeeds:
    """Returns the host needs of the step on its card; `checkpoint` is in bytes.

    Of a job on several GPUs, RAM and cores are those of one machine, with all its ranks.
    """
    request, item = step.request, step.item
    host, loader = request.host, request.loader
    hosts = step.gpus // step.gpus_of_a_host
    ram = host_ram(
        loader,
        step.counted.batch_tensors_bytes,
        base_bytes=_coarse(step.counted.resident_bytes),
        checkpoint_bytes=checkpoint,
        offloaded_bytes=offloaded_bytes(step.counted),
    ).of_processes(step.gpus_of_a_host)
    needed = None
    if item is not None:
        needed = cores_needed(
            item,
            step.samples / hosts / parts.own_s,
            host or _ANY_HOST,
            batch_size=step.config.batch_size,
            pin_memory=loader.pin_memory,
        )
    shm_bytes = None if host is None else host.shm_bytes
    has_ram = request.ram_bytes is not None
    return HostNeeds(
        requested=None if host is None else host.requested,
        ram=ram,
        ram_room=room_in_ram(ram, request.ram_bytes or 0) if has_ram else Room.UNKNOWN,
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


def _coarse(resident_bytes: int) -> int:
    """Rounds up: resident memory differs by some pages from run to run, the answer should not."""
    return -(-resident_bytes // _RESIDENT_GRAIN_BYTES) * _RESIDENT_GRAIN_BYTES
