"""Records of one processor, and how fast one core of it prepares data.

In: values already checked by `cpu_record`, or measured by `this_host`. Out: CpuSpec. Bytes, Hz,
bytes per second. Convention: a core's speed is relative to the reference core, an EPYC 9B14 that
decodes 537 ImageNet JPEGs a second with Pillow in one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.hardware.specs import Confidence

# One thread, ImageNet validation set, Pillow, on Google Cloud's C3D: Iglovikov and Kosarevsky,
# https://arxiv.org/abs/2605.08731, table in https://github.com/ternaus/imread_benchmark
REFERENCE_DECODE_ITEMS_PER_S = 537.0

# Figures of the same table divided by each processor's greatest clock, in items per second and GHz;
# clocks by Google: https://cloud.google.com/compute/docs/cpu-platforms
_ZEN4 = 537 / 3.7  # EPYC 9B14
_ZEN5 = 726 / 4.1  # EPYC 9B45
_GOLDEN_COVE = 577 / 4.0  # Xeon Platinum 8581C; Raptor Cove is the same core with more cache
_NEOVERSE_N1 = 360 / 3.0  # Ampere Altra
_NEOVERSE_V2 = 551 / 3.0  # Google Axion, whose clock is an estimate
# Other cores: the nearest measured one, divided by the gain per clock that its maker states.
_ZEN3 = _ZEN4 / 1.13  # https://www.amd.com/en/technologies/zen-core
_SUNNY_COVE = _GOLDEN_COVE / 1.19  # Intel Architecture Day 2021
_SKYLAKE = _SUNNY_COVE / 1.18  # Intel Architecture Day 2018
DECODE_ITEMS_PER_S_AND_GHZ = {
    "zen2": _ZEN3 / 1.19,  # https://www.amd.com/en/technologies/zen-core-3
    "zen3": _ZEN3,
    "zen4": _ZEN4,
    "zen5": _ZEN5,
    "broadwell": _SKYLAKE / 1.10,  # Intel, at the launch of Xeon Scalable, 2017
    "skylake": _SKYLAKE,
    "cascade-lake": _SKYLAKE,
    "ice-lake": _SUNNY_COVE,
    "sapphire-rapids": _GOLDEN_COVE,
    "emerald-rapids": _GOLDEN_COVE,
    "alder-lake": _GOLDEN_COVE,
    "raptor-lake": _GOLDEN_COVE,
    "neoverse-n1": _NEOVERSE_N1,
    # 25 % more for each core of Graviton3 at 2.6 GHz than of Graviton2 at 2.5 GHz:
    # https://aws.amazon.com/ec2/graviton/
    "neoverse-v1": _NEOVERSE_N1 * 1.25 * 2.5 / 2.6,
    "neoverse-v2": _NEOVERSE_V2,
}
MEASURED_ARCHITECTURES = ("zen4", "zen5", "emerald-rapids", "neoverse-n1", "neoverse-v2")
# A judgement: AMD's own 16 % from Zen 4 to Zen 5 would give 5 % less than was measured, and a cloud
# core may stay below its greatest clock.
CORE_SPEED_ERROR_FRACTION = 0.2


class CpuVendor(str, Enum):
    """Who sells the processor."""

    AMD = "amd"
    INTEL = "intel"
    AWS = "aws"
    AMPERE = "ampere"
    GOOGLE = "google"
    NVIDIA = "nvidia"
    UNKNOWN = "unknown"  # only for this machine: /proc/cpuinfo does not name the vendor


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSpec:
    """One processor (one socket). None: not published, or not known of this machine.

    `jpeg_decode_items_per_s`: ImageNet-sized JPEGs that one core decodes with Pillow.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    vendor: CpuVendor
    architecture: str
    performance_cores: int
    efficiency_cores: int
    threads: int
    base_clock_hz: int | None
    boost_clock_hz: int | None
    l2_bytes: int | None
    l3_bytes: int | None
    memory_channels: int | None
    memory_transfers_per_s: int | None
    memory_bandwidth_bytes_per_s: float | None
    pcie_generation: int | None
    pcie_lanes: int | None
    tdp_w: int | None
    jpeg_decode_items_per_s: float | None
    sources: tuple[tuple[str, str], ...]
    confidence: Confidence
    note: str | None

    @property
    def cores(self) -> int:
        """Returns the number of performance and efficiency cores together."""
        return self.performance_cores + self.efficiency_cores

    @property
    def core_speed(self) -> float:
        """Returns the speed of a performance core in data preparation; reference core: 1.0."""
        if self.jpeg_decode_items_per_s is not None:
            return self.jpeg_decode_items_per_s / REFERENCE_DECODE_ITEMS_PER_S
        if self.boost_clock_hz is None:
            return 1.0
        rate = DECODE_ITEMS_PER_S_AND_GHZ.get(self.architecture, _ZEN4)
        return rate * self.boost_clock_hz / 1e9 / REFERENCE_DECODE_ITEMS_PER_S

    @property
    def core_speed_basis(self) -> str:
        """Returns the source of `core_speed`, in words."""
        if self.jpeg_decode_items_per_s is not None:
            return (
                f"measured: {self.jpeg_decode_items_per_s:.0f} JPEGs/s with Pillow in one thread, "
                f"{REFERENCE_DECODE_ITEMS_PER_S:.0f} on the reference core (EPYC 9B14)"
            )
        if self.boost_clock_hz is None:
            return "unknown: neither decode rate nor clock; taken for the reference core"
        clock = f"boost clock, {self.boost_clock_hz / 1e9:g} GHz"
        if self.architecture not in DECODE_ITEMS_PER_S_AND_GHZ:
            return f"guessed from the {clock}: {self.architecture} is unknown, taken for zen4"
        kind = "measured" if self.architecture in MEASURED_ARCHITECTURES else "derived"
        rate = DECODE_ITEMS_PER_S_AND_GHZ[self.architecture]
        return (
            f"estimated from the {clock}, times {rate:.0f} JPEGs/s and GHz, {kind} for "
            f"{self.architecture}; +-{CORE_SPEED_ERROR_FRACTION:.0%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the processor for a JSON document: plain types, stable order."""
        return {
            "id": self.id,
            "name": self.name,
            "aliases": list(self.aliases),
            "vendor": self.vendor.value,
            "architecture": self.architecture,
            "performance_cores": self.performance_cores,
            "efficiency_cores": self.efficiency_cores,
            "threads": self.threads,
            "base_clock_hz": self.base_clock_hz,
            "boost_clock_hz": self.boost_clock_hz,
            "l2_bytes": self.l2_bytes,
            "l3_bytes": self.l3_bytes,
            "memory_channels": self.memory_channels,
            "memory_transfers_per_s": self.memory_transfers_per_s,
            "memory_bandwidth_bytes_per_s": self.memory_bandwidth_bytes_per_s,
            "pcie_generation": self.pcie_generation,
            "pcie_lanes": self.pcie_lanes,
            "tdp_w": self.tdp_w,
            "jpeg_decode_items_per_s": self.jpeg_decode_items_per_s,
            "core_speed": self.core_speed,
            "core_speed_basis": self.core_speed_basis,
            "sources": dict(self.sources),
            "confidence": self.confidence.value,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMatch:
    """A processor found by name. `note` says what was assumed; None: nothing."""

    spec: CpuSpec
    requested: str
    note: str | None = None
