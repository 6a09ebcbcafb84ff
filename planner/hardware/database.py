"""The hardware database: finds cards, processors, links and hosts by name.

In: hardware_db/{gpus,cpus,links,hosts}/*.yaml and the user's own folder on top. Out: GpuDatabase,
CpuDatabase, LinkDatabase, HostDatabase. Convention: `find` takes an id, an alias or a device name
and reports its assumption; an unknown name is an error that lists near ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from planner.errors import UnknownCpuError, UnknownGpuError, UnknownHostError, UnknownLinkError
from planner.hardware.cpu_record import read_cpu
from planner.hardware.cpu_specs import CpuMatch, CpuSpec
from planner.hardware.gpu_record import read_gpu
from planner.hardware.host_record import read_host
from planner.hardware.host_specs import HostMatch, HostSpec
from planner.hardware.link_record import read_link
from planner.hardware.link_specs import LinkKind, LinkMatch, LinkSpec, has_bridge
from planner.hardware.names import NameIndex, RecordNames
from planner.hardware.records import Kind, Records, load_records
from planner.hardware.specs import GpuMatch, GpuSpec, Vendor
from planner.units import format_bytes

_GPUS = Kind(
    folder="gpus",
    after_names="vendor",
    leading_words=(
        "nvidia", "geforce", "tesla", "quadro", "rtx", "gtx",
        "amd", "radeon", "rx", "instinct", "intel", "arc",
    ),
    read=read_gpu,
)  # fmt: skip
_CPUS = Kind(
    folder="cpus",
    after_names="vendor",
    leading_words=(
        "amd", "epyc", "ryzen", "threadripper", "intel", "xeon", "platinum", "gold", "core",
        "aws", "ampere", "google", "nvidia", "arm",
    ),
    read=read_cpu,
)  # fmt: skip
_MEMORY_SLACK = 0.06  # the driver's own part varies; cards of 10 and 12 GiB stay distinct
_LINK_WORDS = ("nvidia", "aws")
_HOST_WORDS = ("aws", "gcp", "googlecloud", "google", "azure", "standard", "lambda", "runpod")


def card_named(name: str, cards: Sequence[RecordNames]) -> str | None:
    """Returns the id of the card among `cards` that has the name; None: none of them.

    If several cards have the name, the first one counts.
    """
    index = NameIndex(_GPUS.leading_words)
    for card in cards:
        index.add([card])
    claim = index.find(name)
    return None if claim is None else claim.id


class GpuDatabase:
    """All cards by name. `load_gpus()` makes it."""

    def __init__(self, records: Records[GpuSpec]) -> None:
        self._records = records

    @property
    def ids(self) -> tuple[str, ...]:
        """Returns the ids of all cards without reading their records."""
        return self._records.ids

    def all(self) -> tuple[GpuSpec, ...]:
        """Returns every card, sorted by vendor, compute capability, name and memory.

        Raises:
            HardwareDatabaseError: a record does not follow the schema.
        """
        vendors = list(Vendor)
        return tuple(
            sorted(
                self._records.all(),
                key=lambda spec: (
                    vendors.index(spec.vendor),
                    spec.compute_capability or (0, 0),
                    spec.name.lower(),
                    spec.usable_memory_bytes,
                ),
            )
        )

    def find(self, name: str) -> GpuMatch:
        """Returns the card with this id, alias or device name.

        Raises:
            UnknownGpuError: no such card; near names are in the message.
            HardwareDatabaseError: the card's record does not follow the schema.
        """
        spec, others = self._records.find(
            name,
            what="card",
            then="run `planner gpus` to list all of them",
            unknown=UnknownGpuError,
        )
        notes = [_assuming(spec.short_name, others), spec.assumption]
        said = "; ".join(note for note in notes if note) or None
        return GpuMatch(spec=spec, requested=name, note=said)

    def find_physical(self, name: str, usable_memory_bytes: int) -> GpuMatch:
        """Returns the card with this driver name and about this usable memory.

        Raises:
            UnknownGpuError: no such card, or none of that name with such a memory.
            HardwareDatabaseError: the card's record does not follow the schema.
        """
        spec, others = self._records.find(
            name,
            what="card",
            then="run `planner gpus` to list all of them",
            unknown=UnknownGpuError,
        )
        of_name = [spec, *(one for one in map(self._records.by_id, others) if one is not None)]
        for one in of_name:
            least, most = one.usable_memory_bytes, one.usable_memory_max_bytes
            if least * (1 - _MEMORY_SLACK) <= usable_memory_bytes <= most * (1 + _MEMORY_SLACK):
                return GpuMatch(spec=one, requested=name, note=one.assumption)
        raise UnknownGpuError(
            f"the driver names a card {name} with {format_bytes(usable_memory_bytes)}, and "
            f"{spec.id} has {format_bytes(spec.usable_memory_bytes)}; name a card, and with "
            "--gpu-memory its size"
        )


class CpuDatabase:
    """All processors by name. `load_cpus()` makes it."""

    def __init__(self, records: Records[CpuSpec]) -> None:
        self._records = records

    @property
    def ids(self) -> tuple[str, ...]:
        """Returns the ids of all processors without reading their records."""
        return self._records.ids

    def all(self) -> tuple[CpuSpec, ...]:
        """Returns every processor, sorted by vendor and name.

        Raises:
            HardwareDatabaseError: a record does not follow the schema.
        """
        return tuple(
            sorted(self._records.all(), key=lambda spec: (spec.vendor.value, spec.name.lower()))
        )

    def by_id(self, cpu_id: str) -> CpuSpec | None:
        """Returns the processor with this id, or None."""
        return self._records.by_id(cpu_id)

    def find(self, name: str) -> CpuMatch:
        """Returns the processor with this id, alias or model name.

        Raises:
            UnknownCpuError: no such processor; near names are in the message.
            HardwareDatabaseError: its record does not follow the schema.
        """
        spec, others = self._records.find(
            name,
            what="processor",
            then="run `planner cpus` to list all of them",
            unknown=UnknownCpuError,
        )
        return CpuMatch(spec=spec, requested=name, note=_assuming(spec.name, others))


class LinkDatabase:
    """All links by name. `load_links()` makes it."""

    def __init__(self, records: Records[LinkSpec]) -> None:
        self._records = records

    @property
    def ids(self) -> tuple[str, ...]:
        """Returns the ids of all links without reading their records."""
        return self._records.ids

    def all(self) -> tuple[LinkSpec, ...]:
        """Returns every link, sorted by kind, rate and id.

        Raises:
            HardwareDatabaseError: a record does not follow the schema.
        """
        kinds = list(LinkKind)
        return tuple(
            sorted(
                self._records.all(),
                key=lambda spec: (kinds.index(spec.kind), spec.wire_bytes_per_s, spec.id),
            )
        )

    def by_id(self, link_id: str) -> LinkSpec | None:
        """Returns the link with this id, or None."""
        return self._records.by_id(link_id)

    def find(self, name: str) -> LinkMatch:
        """Returns the link with this id, alias or name.

        Raises:
            UnknownLinkError: no such link; near names are in the message.
            HardwareDatabaseError: its record does not follow the schema.
        """
        spec, others = self._records.find(
            name,
            what="link",
            then=f"known: {', '.join(sorted(self.ids))}",
            unknown=UnknownLinkError,
        )
        return LinkMatch(spec=spec, requested=name, note=_assuming(spec.name, others))

    def of_card(self, card: GpuSpec) -> LinkMatch:
        """Returns the link between cards of this kind in one host, when nobody names a host.

        It is the one whose record lists the card, else PCIe of the card's generation. The note
        says in words what was assumed.

        Raises:
            UnknownLinkError: neither is known; a record of links can name the card.
            HardwareDatabaseError: a record does not follow the schema.
        """
        for link in self.all():
            if card.id in link.default_for:
                return LinkMatch(
                    spec=link, requested=card.id, note=f"assuming {link.name} between the cards"
                )
        link_id = f"pcie-{card.pcie_generation}"
        pcie = None if card.pcie_generation is None else self.by_id(link_id)
        if pcie is None:
            raise UnknownLinkError(
                f"no link between several {card.short_name} is known: no record under links/ lists "
                f"{card.id} in default_for, and there is no PCIe generation of the card with a "
                "record; add a record of the link with --hardware-db"
            )
        note = f"assuming {pcie.name} between the cards"
        if has_bridge(card, pcie):
            note += ", without NVLink bridges"
        return LinkMatch(spec=pcie, requested=card.id, note=note)


class HostDatabase:
    """All hosts by name. `load_hosts()` makes it."""

    def __init__(self, records: Records[HostSpec]) -> None:
        self._records = records

    @property
    def ids(self) -> tuple[str, ...]:
        """Returns the ids of all hosts without reading their records."""
        return self._records.ids

    def all(self) -> tuple[HostSpec, ...]:
        """Returns every host, sorted by name.

        Raises:
            HardwareDatabaseError: a record does not follow the schema.
        """
        return tuple(sorted(self._records.all(), key=lambda spec: spec.name.lower()))

    def find(self, name: str) -> HostMatch:
        """Returns the host with this id, alias or name.

        Raises:
            UnknownHostError: no such host; near names are in the message.
            HardwareDatabaseError: its record does not follow the schema.
        """
        spec, others = self._records.find(
            name,
            what="host",
            then="run `planner hosts` to list all of them, or give `this` for the machine you are "
            "on",
            unknown=UnknownHostError,
        )
        return HostMatch(spec=spec, requested=name, note=_assuming(spec.name, others))


def _assuming(name: str, others: Sequence[str]) -> str | None:
    """Returns the note for a name that fits other records too; None if it fits one only."""
    return f"assuming {name}; also: {', '.join(others)}" if others else None


def load_gpus(extra_dir: Path | None = None) -> GpuDatabase:
    """Loads our cards and, on top, those of a user's folder (`*.yaml`, there or under gpus/).

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read or does not follow the schema.
    """
    return GpuDatabase(load_records(_GPUS, extra_dir))


def load_cpus(extra_dir: Path | None = None) -> CpuDatabase:
    """Loads our processors and, on top, those under cpus/ of a user's folder.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read or does not follow the schema.
    """
    return CpuDatabase(load_records(_CPUS, extra_dir))


def load_links(extra_dir: Path | None = None) -> LinkDatabase:
    """Loads our links and, on top, those under links/ of a user's folder.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read, does not follow the schema, or names a card
            that is not in the database.
    """
    return _links(extra_dir, load_gpus(extra_dir).ids)


def _links(extra_dir: Path | None, gpu_ids: Collection[str]) -> LinkDatabase:
    def read(value: object, file: str) -> LinkSpec:
        return read_link(value, file, gpu_ids=gpu_ids)

    return LinkDatabase(
        load_records(
            Kind(folder="links", after_names="kind", leading_words=_LINK_WORDS, read=read),
            extra_dir,
        )
    )


def load_hosts(extra_dir: Path | None = None) -> HostDatabase:
    """Loads our hosts and, on top, those under hosts/ of a user's folder.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read, does not follow the schema, or names a
            processor, a card or a link that is not in the database.
    """
    cpus, gpu_ids = load_cpus(extra_dir), load_gpus(extra_dir).ids
    links = _links(extra_dir, gpu_ids)

    def read(value: object, file: str) -> HostSpec:
        return read_host(value, file, cpu_of=cpus.by_id, gpu_ids=gpu_ids, link_of=links.by_id)

    return HostDatabase(
        load_records(
            Kind(folder="hosts", after_names="cpu", leading_words=_HOST_WORDS, read=read),
            extra_dir,
        )
    )
