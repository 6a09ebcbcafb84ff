"""The result of reading a trace of torch.profiler: what it measured, and what was kept of it.

In: ProfilerTrace, KernelComparisons. Out: LearnedTrace.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.verification.kernel_factors import KernelComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedTrace:
    """What a trace measured on a card.

    Seconds are of one step, or of the whole trace where it marks no steps.
    """

    card: str
    """Name of the card's record."""
    device: str
    """The card as the trace names it; empty where it does not."""
    cuda: str | None
    """Newest CUDA version of the driver; None where the trace has none."""
    steps: int
    """Whole steps; 0: the trace marks none."""
    left_out_steps: int
    """Steps that are incomplete, or unlike the others."""
    step_s: float | None
    """Median of the steps from begin to end, on the CPU; None without steps."""
    kernels: int
    """Kernels of all whole steps."""
    kernels_s: float
    """Time of all kernels."""
    messages_s: float
    """Time of messages to other GPUs, which is not among that of the kernels."""
    host_copies_s: float
    """Time of copies to and from the host, which is not among that of the kernels."""
    compared_s: float
    """Time of the operators that were compared."""
    short_s: float
    """Time of kernels that are too short to show more than their begin and end."""
    comparisons: tuple[KernelComparison, ...]
    """Measured and predicted work by the kind of the kernel, the most time first."""
    not_compared: tuple[tuple[str, float], ...]
    """Names of operators without a prediction, with their seconds; the most first."""
    kept_as: int | None
    """Id of the entry in the history; None: nothing was kept."""
    not_kept: str | None
    """Why nothing was kept; None: something was."""
    notes: tuple[str, ...] = ()
    """How steps and card were understood."""

    def to_dict(self) -> dict[str, object]:
        """Returns the JSON document, without its version."""
        return {
            "card": self.card,
            "device": self.device,
            "cuda": self.cuda,
            "steps": self.steps,
            "left_out_steps": self.left_out_steps,
            "step_s": self.step_s,
            "kernels": self.kernels,
            "kernels_s": self.kernels_s,
            "messages_s": self.messages_s,
            "host_copies_s": self.host_copies_s,
            "compared_s": self.compared_s,
            "short_s": self.short_s,
            "comparisons": [
                {**one.to_dict(), "is_used": one.is_credible} for one in self.comparisons
            ],
            "not_compared": [
                {"operator": name, "seconds": seconds} for name, seconds in self.not_compared
            ],
            "kept_as": self.kept_as,
            "not_kept": self.not_kept,
            "notes": list(self.notes),
        }
