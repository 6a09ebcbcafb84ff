"""The operators and messages of a counted step with the seconds of each, on one card.

In: records of a count, their times. Out: TimedOperators. Convention: seconds are of one
micro-batch; the step of the optimizer comes once. Records are in the order of the first call of
each: alike calls are one record, so the order of the calls themselves is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.timing.measured.kernel_time import TimeSource
from planner.wire.communication import CollectiveRecord
from planner.wire.trace import OperatorRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOperator:
    """Alike calls of an operator, with the seconds of all of them together."""

    operator: OperatorRecord
    """The calls."""
    compute_s: float
    """Seconds of its kernels that arithmetic bounds."""
    bandwidth_s: float
    """Seconds of its kernels that memory bandwidth bounds."""
    fixed_s: float
    """Seconds of begin and end of its kernels."""
    kernels: int
    """Kernels that all calls together launch."""
    source: TimeSource
    """Where the time of most of its work is from."""

    @property
    def total_s(self) -> float:
        """Returns the seconds that the card is busy with them."""
        return self.compute_s + self.bandwidth_s + self.fixed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedMessage:
    """Alike messages to other GPUs."""

    message: CollectiveRecord
    """The messages."""
    message_s: float
    """Seconds of one of them."""

    @property
    def total_s(self) -> float:
        """Returns the seconds of all of them, one after another."""
        return self.message.calls * self.message_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOperators:
    """All operators and messages of a step on one card."""

    micro_batches: int
    """How often all but the optimizer's part comes in a step."""
    operators: tuple[TimedOperator, ...]
    """Operators of one micro-batch, and of the optimizer's step."""
    messages: tuple[TimedMessage, ...] = ()
    """Messages of the same; none on one GPU."""
    tf32_matmul: bool = False
    """Whether float32 products may use TF32."""
