"""The records of step times: a source, a published step time, and its operators.

Convention: seconds of one step with one micro-batch; an error is (predicted - measured) / measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from benchmarks.record import records as record
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import OperatorRecord


class Use(Enum):
    """How a published step time is used."""

    CLEAN = "clean"
    """It is fitted on, and judged."""
    LAUNCH_BOUND = "launch-bound"
    """A small network that waits for the CPU and for copies: fitted on, judged apart."""
    DOUBTFUL = "doubtful"
    """What was measured is not known well enough: predicted, neither fitted on nor judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(record.Case):
    """One published step time; `tf32`: matrix products and convolutions in TF32 if the card can.

    `copied_bytes` are copied from pageable memory within the step. `doubt` is the reason of
    Use.DOUBTFUL, in the words of the file.
    """

    measured_s: float
    tf32: bool = False
    copied_bytes: int = 0
    use: Use = Use.CLEAN
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The operators of one step; `trouble` says why there are none.

    `counts` are all counts of the step; None where the operators come from elsewhere.
    """

    case: Case
    operators: tuple[OperatorRecord, ...] = ()
    trouble: str = ""
    counts: ModelCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(record.Source[Case]):
    """One published set of step times.

    `weight` is that of a row in the fit. `left_out`: it is also judged with constants from all
    others, and the part that only these then determine. `optimizer`:
    its times hold the optimizer step. `hosts` are speeds of a core by card, where the host is
    known.
    """

    weight: float = 1.0
    left_out: str = ""
    optimizer: bool = True
    hosts: Mapping[str, float] = field(default_factory=dict)
