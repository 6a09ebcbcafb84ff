"""The memory of a card and who takes it: usable memory, context overhead, reserve, the rest.

In: card names and the user's overrides. Out: MemoryBudget. Convention: the least usable memory
that any driver was seen to report, because an estimate too low costs a crashed run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError
from planner.hardware.database import GpuDatabase, load_gpus
from planner.hardware.specs import EmulationProfile, Vendor
from planner.units import MIB, format_bytes, parse_bytes, parse_reserve

ALL_CARDS = "all"  # every card in the database that can be emulated


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """One card as asked for. `note` says what the name was taken to mean, if it was not exact."""

    requested: str
    card: EmulationProfile
    usable_memory_bytes: int
    reserve_bytes: int
    note: str | None

    @property
    def context_overhead_bytes(self) -> int:
        """Taken by the CUDA context before the first tensor."""
        return self.card.context_overhead_bytes

    @property
    def capacity_bytes(self) -> int:
        """What PyTorch's allocator may reserve: usable memory - context overhead - reserve."""
        return self.usable_memory_bytes - self.context_overhead_bytes - self.reserve_bytes


def memory_budgets(
    names: Sequence[str],
    *,
    hardware_db: Path | None,
    gpu_memory: str | int | None,
    reserve: str | int,
) -> tuple[MemoryBudget, ...]:
    """The cards asked for, each once, in the order asked; ALL_CARDS stands for the database.

    `gpu_memory` replaces the usable memory of every card (a slice, another driver's figure);
    `reserve` is kept free: bytes, a size like "1GiB" or a share like "5%".

    Raises:
        UnknownGpuError: no such card. UsageError: no card named, or no memory left.
    """
    if not names:
        raise UsageError('say which card: gpu="a100" or --gpu a100; `planner gpus` lists them')
    database = load_gpus(hardware_db)
    budgets = []
    for name in _names(names, database):
        match = database.find(name)
        card = match.spec.profile
        usable = card.total_memory_bytes if gpu_memory is None else _size(gpu_memory)
        kept = parse_reserve(reserve, usable)
        budget = MemoryBudget(
            requested=name,
            card=card,
            usable_memory_bytes=usable,
            reserve_bytes=kept,
            note=match.note,
        )
        if kept < 0 or budget.capacity_bytes < 2 * MIB:
            raise UsageError(
                f"{name}: of {format_bytes(usable)} nothing is left for tensors after "
                f"{format_bytes(budget.context_overhead_bytes)} of CUDA context and a reserve of "
                f"{format_bytes(kept)}"
            )
        budgets.append(budget)
    return tuple(budgets)


def is_every_card(names: Sequence[str]) -> bool:
    """Whether ALL_CARDS is among the names."""
    return any(name.lower() == ALL_CARDS for name in names)


def _names(names: Sequence[str], database: GpuDatabase) -> Sequence[str]:
    if not is_every_card(names):
        return tuple(dict.fromkeys(names))
    if len(names) > 1:
        raise UsageError(f"--gpu {ALL_CARDS} stands for every card: leave the others out")
    return [card.id for card in database.all() if card.vendor is Vendor.NVIDIA]


def _size(value: str | int) -> int:
    size_bytes = parse_bytes(value) if isinstance(value, str) else value
    if size_bytes <= 0:
        raise UsageError(f"gpu memory must be more than 0, not {value!r}")
    return size_bytes
