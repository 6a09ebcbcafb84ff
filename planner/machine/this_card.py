"""Finds the card that this process trains on, and what others hold on it.

In: the environment, and torch where the process has imported it already. Out: ThisCard. Convention:
the card is only read; torch is never imported, and CUDA never started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import UsageError
from planner.machine.nvml import CardUser, Nvml, PhysicalCard, chosen_card
from planner.units import MIB, format_bytes

_IDLE_BYTES = 64 * MIB  # held by the driver on a card that nobody uses
_NAME_IT = "name the card with gpu, and with gpu_memory what the job may take of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisCard:
    """A card, and the memory of it that other processes hold."""

    card: PhysicalCard
    others_bytes: int

    @property
    def free_bytes(self) -> int:
        """Returns the memory that this process can have, with what it holds already."""
        return self.card.usable_memory_bytes - self.others_bytes


def this_card(library: Nvml, environment: dict[str, str] | None = None) -> ThisCard:
    """Returns the card of this process.

    Raises:
        UsageError: the process is one of several, there is no such card, or it cannot be known how
            much of the card this process holds itself.
        UnsupportedPlatformError: the card is partitioned.
    """
    environment = dict(os.environ) if environment is None else environment
    _refuse_ranks(environment)
    card = chosen_card(library.cards(), _index(), environment.get("CUDA_VISIBLE_DEVICES"))
    used_bytes = library.used_bytes(card)
    own_bytes = _own_bytes(library.users(card), used_bytes)
    return ThisCard(card=card, others_bytes=max(0, used_bytes - own_bytes))


def _refuse_ranks(environment: dict[str, str]) -> None:
    ranks = environment.get("WORLD_SIZE", "1")
    if ranks.isdecimal() and int(ranks) > 1:
        raise UsageError(
            f"this process is one of {ranks} (WORLD_SIZE), and the figures are those of one "
            "process: the buckets of DDP and the memory of NCCL are not in them. Name the card "
            "with gpu, and keep memory free for these with reserve, like reserve='15%'"
        )


def _index() -> int:
    """Returns the number of the device that torch uses, as CUDA counts; 0 before it has begun."""
    cuda = _begun_cuda()
    return 0 if cuda is None else int(cuda.current_device())


def _own_bytes(users: Sequence[CardUser], used_bytes: int) -> int:
    """Returns what this process holds on the card.

    Raises:
        UsageError: it holds something, and the driver does not report how much.
    """
    for user in users:
        if user.pid == os.getpid() and user.used_bytes is not None:
            return user.used_bytes
    if _begun_cuda() is not None and used_bytes > _IDLE_BYTES:
        raise UsageError(
            f"{format_bytes(used_bytes)} of the card are in use, this process is one of its users, "
            "and the driver does not report which part is its own, as in a container: call this "
            f"before anything is moved to the card, or {_NAME_IT}"
        )
    return 0


def _begun_cuda() -> Any:
    """Returns torch.cuda if this process has a context already; None where it has none."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None
