"""The card as an engine that serves sees it.

In: nothing; questions/serving.py fills it from the hardware database. Out: ServingCard.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCard:
    """A card. `total_bytes` is what PyTorch reports; `context_bytes` that of a CUDA context.

    `beside_bytes` are held by something else, such as a training step.
    """

    name: str
    total_bytes: int
    context_bytes: int
    nvlink_bytes_per_s: float
    compute_capability: tuple[int, int] = (9, 0)
    beside_bytes: int = 0

    @property
    def free_bytes(self) -> int:
        """Returns what an engine may take at most."""
        return max(0, self.total_bytes - self.context_bytes - self.beside_bytes)
