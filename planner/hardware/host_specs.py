"""Records of one host: the machine that holds the cards.

In: values already checked by `host_record`, or measured by `this_host`. Out: HostSpec. Bytes and
bytes per second. Convention: figures are of the part that the user gets, not of the whole machine:
the vCPUs of a cloud instance, the cores that a container may use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.link_specs import HostLinks
from planner.hardware.specs import Confidence, Price


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One host. None: not published, or not known of this machine.

    `vcpus` are hardware threads. `physical_cores` are their cores, a fraction if a container has a
    share of CPU time. `gpus` holds ids of cards with their count. `storage_bytes_per_s` is of
    reading without pause. `memory_copy_bytes_per_s` is known only if it was measured. `links` is
    what joins its cards to each other and to those of other hosts.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    cpu: CpuSpec
    vcpus: int
    physical_cores: float
    ram_bytes: int
    shm_bytes: int | None
    gpus: tuple[tuple[str, int], ...]
    pcie_generation: int | None
    pcie_lanes: int | None
    storage_bytes_per_s: float | None
    memory_copy_bytes_per_s: float | None = None
    links: HostLinks | None = None
    prices: tuple[Price, ...]
    sources: tuple[tuple[str, str], ...]
    confidence: Confidence
    note: str | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the host for a JSON document: plain types, stable order."""
        return {
            "id": self.id,
            "name": self.name,
            "aliases": list(self.aliases),
            "cpu": self.cpu.to_dict(),
            "vcpus": self.vcpus,
            "physical_cores": self.physical_cores,
            "ram_bytes": self.ram_bytes,
            "shm_bytes": self.shm_bytes,
            "gpus": [{"id": card, "count": count} for card, count in self.gpus],
            "pcie_generation": self.pcie_generation,
            "pcie_lanes": self.pcie_lanes,
            "storage_bytes_per_s": self.storage_bytes_per_s,
            "memory_copy_bytes_per_s": self.memory_copy_bytes_per_s,
            "links": None if self.links is None else self.links.to_dict(),
            "prices": [price.to_dict() for price in self.prices],
            "sources": dict(self.sources),
            "confidence": self.confidence.value,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMatch:
    """A host found by name. `note` says what was assumed; None: nothing."""

    spec: HostSpec
    requested: str
    note: str | None = None
