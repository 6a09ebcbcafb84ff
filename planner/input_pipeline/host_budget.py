"""The host of a training job, as far as it feeds the card: cores, RAM, storage, PCIe slot.

In: nothing. Out: HostBudget. Convention: what the job may use (a cgroup, a share of a machine), not
what the machine has.
"""

from __future__ import annotations

from dataclasses import dataclass

# Each further thread of a core that works already adds this part of a core: a planning figure,
# from decoders that gain 20 to 40 % by the second thread of a core.
SMT_GAIN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBudget:
    """What one job has of a host; None is what nobody knows.

    `cores` are physical cores and may be a fraction, `threads` the hardware threads on them.
    `core_speed` is the speed of one core at preparing data, relative to the reference core.
    """

    requested: str
    cores: float
    threads: int
    core_speed: float
    ram_bytes: int
    shm_bytes: int | None
    storage_bytes_per_s: float | None
    pcie_generation: int | None
    pcie_lanes: int | None


def effective_cores(host: HostBudget, busy_threads: float) -> float:
    """How many cores' work `busy_threads` get done: one each, then SMT_GAIN for each sibling."""
    siblings = int(host.threads - host.cores)  # a part of a core, as cgroups give it, has none
    beyond = max(0.0, busy_threads - host.cores)
    return min(busy_threads, host.cores) + SMT_GAIN * max(0.0, min(beyond, siblings))
