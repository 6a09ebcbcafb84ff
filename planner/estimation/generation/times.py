"""When the tokens of a generation come.

In: TimedStep. Out: TokenTimes. Convention: the CPU waits for each token, as generate() does.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.estimation.timed_step import TimedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTimes:
    """Seconds until the first token, and of each later one on average."""

    first_s: float
    later_s: float
    tokens: int


def token_times(step: TimedStep) -> TokenTimes | None:
    """Returns the times of the tokens; None where the step is not counted as a generation."""
    parts = step.counted.serial_parts
    if len(parts) != 2:
        return None
    first_s, later_s = step.serial_s()
    return TokenTimes(
        first_s=first_s, later_s=later_s / parts[1].passes, tokens=1 + parts[1].passes
    )
