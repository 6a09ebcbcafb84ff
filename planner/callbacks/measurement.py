"""Reads what a training process takes of its card, without a change to it.

In: the torch that the process has imported. Out: Measurement, or None where it has no card.
Convention: peaks are those since the process began, or since the user's own reset of them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.machine import nvml

# Modules of planner that are only loaded where the card is an emulated one.
_EMULATING = ("_vram_planner", "planner.worker.serve.server", "planner.worker.engines.emulation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The memory of one process on one card, in bytes."""

    card: str
    """Name of the card, as torch has it."""
    total_bytes: int
    """Memory of the card, as torch reports it."""
    peak_allocated_bytes: int
    """torch.cuda.max_memory_allocated()."""
    peak_reserved_bytes: int
    """torch.cuda.max_memory_reserved()."""
    context_overhead_bytes: int | None
    """Memory of the process outside of PyTorch's allocator; None: the driver does not report it."""
    driver: str | None
    """Version of the driver; None: it does not answer."""
    torch: str
    """Version of torch."""
    cuda: str
    """Version of the CUDA that torch was built for."""
    cudnn: str | None
    """Version of cuDNN."""
    is_physical: bool
    """The driver knows this card; an emulated one it does not."""

    @property
    def device_total_bytes(self) -> int | None:
        """Returns peak reserved and the memory outside of it."""
        outside_bytes = self.context_overhead_bytes
        return None if outside_bytes is None else self.peak_reserved_bytes + outside_bytes


def measurement() -> Measurement | None:
    """Returns what this process takes now; None where it uses no card."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    driver, own_bytes = _by_driver(properties, torch.cuda.memory_reserved(index))
    return Measurement(
        card=properties.name,
        total_bytes=properties.total_memory,
        peak_allocated_bytes=torch.cuda.max_memory_allocated(index),
        peak_reserved_bytes=torch.cuda.max_memory_reserved(index),
        context_overhead_bytes=own_bytes,
        driver=driver,
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
        cudnn=_cudnn(torch),
        is_physical=driver is not None and not any(name in sys.modules for name in _EMULATING),
    )


def _by_driver(properties: Any, reserved_bytes: int) -> tuple[str | None, int | None]:
    """Returns driver and context overhead of this process on a card; None where not reported."""
    try:
        with nvml.opened() as library:
            cards = [card for card in library.cards() if _is(card, properties)]
            if len(cards) != 1:
                return (cards[0].driver if cards else None), None
            own = [user.used_bytes for user in library.users(cards[0]) if user.pid == os.getpid()]
    except (PlannerError, ImportError):
        return None, None
    if len(own) != 1 or own[0] is None or own[0] < reserved_bytes:
        return cards[0].driver, None
    return cards[0].driver, own[0] - reserved_bytes


def _is(card: nvml.PhysicalCard, properties: Any) -> bool:
    """Returns whether NVML's card is torch's; by its UUID where torch has it (2.4 and later)."""
    uuid = getattr(properties, "uuid", None)
    if uuid is not None:
        return card.uuid.removeprefix("GPU-").lower() == str(uuid).removeprefix("GPU-").lower()
    return card.name == str(properties.name)


def _cudnn(torch: Any) -> str | None:
    """Returns "9.24.0" of 92400, which torch reports."""
    number = torch.backends.cudnn.version()
    if not number:
        return None
    scale = 10_000 if number >= 90_000 else 1000
    return f"{number // scale}.{number % scale // 100}.{number % 100}"
