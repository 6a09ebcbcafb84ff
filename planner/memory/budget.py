"""Divides the memory of a card: usable memory, context overhead, reserve, the rest.

In: card names and the user's overrides. Out: MemoryBudget. Convention: the least usable memory
that any driver was seen to report, because a prediction that is too low costs a crashed run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from planner.emulator.profile import UNLIMITED_BYTES
from planner.errors import UsageError
from planner.hardware.database import load_gpus
from planner.hardware.specs import EmulationProfile, GpuSpec
from planner.memory.card_words import named_cards
from planner.units import MIB, format_bytes, parse_memory, parse_reserve

_LEAST_BYTES = 2 * MIB  # the allocator's smallest segment
MOST_MEMORY_BYTES = UNLIMITED_BYTES  # of a card: the memory of a step is measured up to here


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Corrections of a card, from runs on a physical one.

    `context_overhead_bytes` is the median of the measured ones, None where none was measured.
    `reserved_offset_bytes` is the median of measured - predicted peak reserved, 0 where too few are
    known. `step_time_ratio` is the median of measured over predicted step time, None where none was
    measured. `basis` describes the runs in words.
    """

    card: str
    runs: int
    context_overhead_bytes: int | None
    reserved_offset_bytes: int
    step_time_ratio: float | None
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardKernels:
    """Times of kernels that were measured on the card in `traces` of torch.profiler.

    `factors` are measured over predicted seconds of work, by the kind of the kernel.
    """

    factors: Mapping[str, float] = field(hash=False)
    traces: int

    @property
    def basis(self) -> str:
        """Returns the traces in words."""
        return (
            f"kernels of this card as measured in {self.traces} "
            f"trace{'' if self.traces == 1 else 's'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """One requested card. `note` says how its name was understood, if it was not exact.

    `outside_bytes` are those that the step takes outside PyTorch's allocator, once it was run. They
    may be `outside_spread_bytes` fewer or more: NCCL's are known between two bounds. The middle of
    these is `nccl_bytes`, which no emulated card takes by itself. `kernels` are measured times of
    kernels on the card, None where none are known.
    """

    requested: str
    spec: GpuSpec
    card: EmulationProfile
    usable_memory_bytes: int
    reserve_bytes: int
    note: str | None
    calibration: Calibration | None = None
    kernels: CardKernels | None = None
    outside_bytes: int = 0
    outside_spread_bytes: int = 0
    nccl_bytes: int = 0

    @property
    def context_overhead_bytes(self) -> int:
        """Returns the bytes of the CUDA context before any tensor: measured, else of the record."""
        measured = None if self.calibration is None else self.calibration.context_overhead_bytes
        return self.card.context_overhead_bytes if measured is None else measured

    @property
    def reserved_offset_bytes(self) -> int:
        """Returns the bytes that physical runs reserve beyond the prediction; may be negative."""
        return 0 if self.calibration is None else self.calibration.reserved_offset_bytes

    @property
    def capacity_bytes(self) -> int:
        """Returns the limit of a predicted peak reserved: usable memory - all that others take.

        Negative where the step takes more outside PyTorch's allocator than the others leave.
        """
        return self.allocatable_bytes - self.outside_bytes

    def device_total_bytes(self, peak_reserved_bytes: int) -> int:
        """Returns the device total of a step with this peak reserved, corrected by past runs."""
        beside_bytes = self.context_overhead_bytes + self.reserved_offset_bytes
        return peak_reserved_bytes + beside_bytes + self.outside_bytes

    @property
    def allocatable_bytes(self) -> int:
        """Returns the bytes that the step may take, inside and outside PyTorch's allocator."""
        others_bytes = self.context_overhead_bytes + self.reserve_bytes
        return self.usable_memory_bytes - others_bytes - self.reserved_offset_bytes


def memory_budgets(
    names: Sequence[str],
    *,
    hardware_db: Path | None,
    gpu_memory: str | int | None,
    reserve: str | int,
) -> tuple[MemoryBudget, ...]:
    """Returns the requested cards, each once, in order; card_words.py has words for many cards.

    `gpu_memory` replaces the usable memory of every card (a slice, another driver's figure), up to
    MOST_MEMORY_BYTES; `reserve` is kept free: bytes, a size like "1GiB" or a share like "5%".

    Raises:
        UnknownGpuError: no such card. UsageError: no card named, or no memory left.
    """
    if not names:
        raise UsageError('say which card: gpu="a100" or --gpu a100; `planner gpus` lists them')
    database = load_gpus(hardware_db)
    budgets = []
    for named in named_cards(names, database):
        match = database.find(named.name)
        card = match.spec.profile
        usable = (
            card.total_memory_bytes
            if gpu_memory is None
            else parse_memory(gpu_memory, "gpu memory", MOST_MEMORY_BYTES)
        )
        kept = parse_reserve(reserve, usable)
        budget = MemoryBudget(
            requested=named.name,
            spec=match.spec,
            card=card,
            usable_memory_bytes=usable,
            reserve_bytes=kept,
            note=named.note or match.note,
        )
        budgets.append(_checked(budget))
    return tuple(budgets)


def calibrated(
    budget: MemoryBudget, calibration: Calibration | None, kernels: CardKernels | None = None
) -> MemoryBudget:
    """Returns the card with what was measured on it.

    Raises:
        UsageError: no memory is left.
    """
    return _checked(replace(budget, calibration=calibration, kernels=kernels))


def with_outside(
    budget: MemoryBudget, outside_bytes: int, between_bytes: tuple[int, int] = (0, 0)
) -> MemoryBudget:
    """Returns the card for a step that takes `outside_bytes` outside PyTorch's allocator.

    `between_bytes` are two bounds of what it takes besides; their middle counts.
    """
    low_bytes, high_bytes = between_bytes
    nccl_bytes = (low_bytes + high_bytes) // 2
    return replace(
        budget,
        outside_bytes=outside_bytes + nccl_bytes,
        outside_spread_bytes=(high_bytes - low_bytes + 1) // 2,
        nccl_bytes=nccl_bytes,
    )


def _checked(budget: MemoryBudget) -> MemoryBudget:
    if budget.reserve_bytes < 0 or budget.capacity_bytes < _LEAST_BYTES:
        raise UsageError(
            f"{budget.requested}: of {format_bytes(budget.usable_memory_bytes)} nothing is left "
            f"for tensors after {format_bytes(budget.context_overhead_bytes)} of CUDA context and "
            f"a reserve of {format_bytes(budget.reserve_bytes)}"
        )
    return budget
