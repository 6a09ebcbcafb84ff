"""Describes the host of a training job as it feeds the card: cores, RAM, storage, PCIe slot.

In: slot of the host, link of the card. Out: HostBudget, bytes per second from host memory to the
card. Convention: the resources that the job may use (a cgroup, a share of a machine), not all of
the machine; copies from pinned memory, at the rate of copies of megabytes, not the link's raw rate.
"""

from __future__ import annotations

from dataclasses import dataclass

# Host to device with 16 lanes. Measured: 3 (V100, and an A100 in such a slot), 4 (A100 SXM4), by
# bandwidthTest of the CUDA samples. The others: 0.79 or, from 5 on, 0.83 of the raw rate
# (https://pcisig.com/specifications), as 3 and 4 reach.
_H2D_X16_BYTES_PER_S = {1: 3.2e9, 2: 6.3e9, 3: 12.4e9, 4: 26.1e9, 5: 52e9, 6: 100e9}
_LANES = 16
# A copy from pageable memory goes through a pinned buffer of the driver: a planning figure.
PAGEABLE_FRACTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PcieLink:
    """Generation and lanes of a card or of a slot; None is unknown."""

    generation: int | None
    lanes: int | None


def narrower(card: PcieLink, slot: PcieLink) -> PcieLink:
    """Returns the link that both support; where one is unknown, the other decides."""
    return PcieLink(
        generation=_least(card.generation, slot.generation), lanes=_least(card.lanes, slot.lanes)
    )


def _least(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)


def h2d_bytes_per_s(link: PcieLink, *, pinned: bool) -> float | None:
    """Returns the rate of a copy to the card; None where generation or lanes are unknown.

    A generation newer than those in the table counts as its last one.
    """
    if link.generation is None or link.lanes is None:
        return None
    generation = min(link.generation, max(_H2D_X16_BYTES_PER_S))
    rate = _H2D_X16_BYTES_PER_S[generation] * link.lanes / _LANES
    return rate if pinned else rate * PAGEABLE_FRACTION


# Each further thread of a core that works already adds this part of a core: a planning figure,
# from decoders that gain 20 to 40 % by the second thread of a core.
SMT_GAIN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBudget:
    """The resources of a host that one job may use; None: unknown.

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
    """Returns the work of `busy_threads` in cores: 1 for each core, SMT_GAIN for each sibling."""
    siblings = int(host.threads - host.cores)  # a part of a core, as from a cgroup, has none
    beyond = max(0.0, busy_threads - host.cores)
    return min(busy_threads, host.cores) + SMT_GAIN * max(0.0, min(beyond, siblings))
