"""Published peaks of sharded Llama training whose memory depends on how far the card is behind.

In: nothing. Out: Case records. Sources: torchtitan's pull request 165 (March 2024), with FSDP's
first and second version on 8 x H100 of 96 GB (https://github.com/pytorch/torchtitan/pull/165; its
percentages are of 95.0396 GiB), and llama-recipes' pull request 41 (July 2023), LoRA with and
without FSDP's rate limiter on 4 x A100 (https://github.com/meta-llama/llama-cookbook/pull/41). The
second one does not say the batch and the length: those here are guesses, and only the quotient of
its two rows can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Checkpointing(str, Enum):
    """What a block keeps for backward."""

    FULL = "full"
    """Its input."""
    SELECTIVE = "selective"
    """Attention and every second matrix product."""


class Sharding(str, Enum):
    """The version of FSDP."""

    FSDP1 = "FSDP1"
    """Frees its gathered parameters after record_stream."""
    FSDP2 = "FSDP2"
    """Waits for streams on the card, without record_stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run on `ranks` cards, of which rank 0 is run here.

    `active` and `reserved` are the published peaks in GiB, those of LoRA in "GB". `chooses`: the
    lag is chosen by this case, and not judged by it.
    """

    name: str
    sharding: Sharding
    checkpointing: Checkpointing
    ranks: int
    batch: int
    sequence: int
    active: float
    reserved: float
    chooses: bool = False
    is_lora: bool = False
    limits_all_gathers: bool = True


_TITAN = {"ranks": 8, "batch": 8, "sequence": 2048}
_LORA = {"ranks": 4, "batch": 4, "sequence": 2048, "is_lora": True, "chooses": True}
LIMITED, UNLIMITED = "lora-limited", "lora-unlimited"
CASES = (
    Case(
        name="fsdp1-full", sharding=Sharding.FSDP1, checkpointing=Checkpointing.FULL,
        active=23.579, reserved=32.142, chooses=True, **_TITAN,
    ),
    Case(
        name="fsdp1-selective", sharding=Sharding.FSDP1, checkpointing=Checkpointing.SELECTIVE,
        active=50.352, reserved=63.895, **_TITAN,
    ),
    Case(
        name="fsdp2-full", sharding=Sharding.FSDP2, checkpointing=Checkpointing.FULL,
        active=22.733, reserved=31.021, **_TITAN,
    ),
    Case(
        name="fsdp2-selective", sharding=Sharding.FSDP2, checkpointing=Checkpointing.SELECTIVE,
        active=49.544, reserved=59.409, **_TITAN,
    ),
    Case(
        name=LIMITED, sharding=Sharding.FSDP1, checkpointing=Checkpointing.FULL,
        active=20.20, reserved=27.36, **_LORA,
    ),
    Case(
        name=UNLIMITED, sharding=Sharding.FSDP1, checkpointing=Checkpointing.FULL,
        active=25.86, reserved=32.67, limits_all_gathers=False, **_LORA,
    ),
)  # fmt: skip
