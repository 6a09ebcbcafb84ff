"""Reads the physical cards of this machine from NVIDIA's management library.

In: nothing. Out: PhysicalCards, and the used memory of one. Convention: cards are only read, never
changed; no CUDA context is made, so the card's memory stays as it was. The package nvidia-ml-py is
imported at the first use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from planner.errors import UnsupportedPlatformError, UsageError

_EMULATED_HINT = "planner verify FILE --emulated a100 and --device cpu need none"
_MILLIWATTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalCard:
    """One card. `usable_memory_bytes` excludes the driver's own part; None: not reported."""

    index: int
    uuid: str
    name: str
    driver: str
    is_partitioned: bool
    usable_memory_bytes: int
    ecc: bool | None
    power_limit_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardUser:
    """A process on the card; `used_bytes` is None if the driver does not report it."""

    pid: int
    used_bytes: int | None


class Nvml:
    """An open connection to the library; see `opened`."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def cards(self) -> tuple[PhysicalCard, ...]:
        """Returns all cards of the machine, in the order of their PCI buses."""
        count = self._library.nvmlDeviceGetCount()
        return tuple(self._card(index) for index in range(count))

    def used_bytes(self, card: PhysicalCard) -> int:
        """Returns the card's memory that all processes hold now, with their contexts."""
        return int(self._memory(self._handle(card.index)).used)

    def users(self, card: PhysicalCard) -> tuple[CardUser, ...]:
        """Returns the processes with a context on the card now, as far as the driver reports."""
        try:
            running = self._library.nvmlDeviceGetComputeRunningProcesses(self._handle(card.index))
        except self._library.NVMLError:
            return ()  # WSL does not report them
        return tuple(CardUser(pid=one.pid, used_bytes=one.usedGpuMemory) for one in running)

    def _card(self, index: int) -> PhysicalCard:
        handle, library = self._handle(index), self._library
        memory = self._memory(handle)
        ecc = power = None
        is_partitioned = False
        with suppress(library.NVMLError):  # only cards that can be partitioned report it
            is_partitioned = bool(library.nvmlDeviceGetMigMode(handle)[0])
        with suppress(library.NVMLError):  # consumer cards have none
            ecc = bool(library.nvmlDeviceGetEccMode(handle)[0])
        with suppress(library.NVMLError):
            power = library.nvmlDeviceGetPowerManagementLimit(handle) / _MILLIWATTS
        return PhysicalCard(
            index=index,
            uuid=_text(library.nvmlDeviceGetUUID(handle)),
            name=_text(library.nvmlDeviceGetName(handle)),
            driver=_text(library.nvmlSystemGetDriverVersion()),
            is_partitioned=is_partitioned,
            usable_memory_bytes=int(memory.total - getattr(memory, "reserved", 0)),
            ecc=ecc,
            power_limit_w=power,
        )

    def _handle(self, index: int) -> Any:
        return self._library.nvmlDeviceGetHandleByIndex(index)

    def _memory(self, handle: Any) -> Any:
        """Reads the memory by version 2, with the driver's own part, else by version 1."""
        library = self._library
        try:
            return library.nvmlDeviceGetMemoryInfo(handle, version=library.nvmlMemory_v2)
        except library.NVMLError:
            return library.nvmlDeviceGetMemoryInfo(handle)


@contextmanager
def opened(library: Any = None) -> Iterator[Nvml]:
    """Opens the library within the context; `library` replaces the real one in tests.

    Raises:
        UnsupportedPlatformError: there is no driver on this machine, or it does not answer.
    """
    if library is None:
        library = import_module("pynvml")
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise UnsupportedPlatformError(
            f"no NVIDIA driver answers on this machine ({error}), so there is no physical GPU to "
            f"verify on; {_EMULATED_HINT}"
        ) from error
    try:
        yield Nvml(library)
    except library.NVMLError as error:
        raise UnsupportedPlatformError(
            f"the NVIDIA driver does not tell of its cards what verify has to know ({error}); "
            f"{_EMULATED_HINT}"
        ) from error
    finally:
        with suppress(library.NVMLError):
            library.nvmlShutdown()


def device_index(device: str) -> int:
    """Returns N of "cuda:N"; 0 of "cuda".

    Raises:
        UsageError: another text.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise UsageError(f"device {device!r} is not one of cpu, cuda, cuda:0, cuda:1 ...")
    return int(number or 0)


def chosen_card(
    cards: Sequence[PhysicalCard], index: int, visible: str | None = None
) -> PhysicalCard:
    """Returns the card that CUDA gives this number; `visible` is CUDA_VISIBLE_DEVICES.

    Raises:
        UsageError: no card has this number, or CUDA numbers the cards by speed.
        UnsupportedPlatformError: the card is partitioned.
    """
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = visible_cards(cards, visible)
    _check_order(cards, visible)
    if index >= len(seen):
        known = ", ".join(f"cuda:{i} {card.name}" for i, card in enumerate(seen)) or "none"
        raise UsageError(f"there is no cuda:{index} on this machine; visible cards: {known}")
    if seen[index].is_partitioned:
        raise UnsupportedPlatformError(
            f"cuda:{index}, {seen[index].name}, is partitioned (MIG): verify takes whole cards"
        )
    return seen[index]


def _check_order(cards: Sequence[PhysicalCard], visible: str | None) -> None:
    """Raises UsageError if CUDA numbers the cards by speed, which NVML does not know."""
    by_number = visible is None or visible.replace(",", "").replace(" ", "").isdigit()
    mixed = len({card.name for card in cards}) > 1
    if mixed and by_number and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise UsageError(
            "the cards of this machine differ, and CUDA numbers the fastest first: set "
            "CUDA_DEVICE_ORDER=PCI_BUS_ID, or choose with CUDA_VISIBLE_DEVICES=GPU-..."
        )


def visible_cards(cards: Sequence[PhysicalCard], visible: str | None) -> list[PhysicalCard]:
    """Returns the cards that CUDA_VISIBLE_DEVICES names, up to the first entry without a card."""
    if visible is None:
        return list(cards)
    found = []
    for entry in (part.strip() for part in visible.split(",")):
        match = [
            card
            for card in cards
            if entry and (str(card.index) == entry or card.uuid.startswith(entry))
        ]
        if not match:
            break
        found.append(match[0])
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
