"""The result of reading a message or a log: what it says, and what was kept of it.

In: OomMessages, VllmBoot. Out: Learned.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.verification.oom_message import OomMessage
from planner.verification.vllm_log import VllmBoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a text says about memory on a card, and what was kept of it."""

    messages: tuple[OomMessage, ...]
    """Messages "CUDA out of memory", each different one once."""
    vllm: VllmBoot | None
    """Figures of vLLM's start; None: the text is no such log."""
    card: str | None
    """Name of the card, where it was given."""
    candidates: tuple[str, ...]
    """Cards of the database with the memory that the message states."""
    kept_as: int | None
    """Id of the entry in the history; None: nothing was kept."""
    not_kept: str | None
    """Why nothing was kept; None: something was."""

    def to_dict(self) -> dict[str, object]:
        """Returns the JSON document, without its version."""
        return {
            "messages": [one.to_dict() for one in self.messages],
            "vllm": None if self.vllm is None else self.vllm.to_dict(),
            "card": self.card,
            "candidates": list(self.candidates),
            "kept_as": self.kept_as,
            "not_kept": self.not_kept,
        }
