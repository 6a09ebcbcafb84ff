"""The exit codes of `planner`. They are API: docs/reference/exit-codes.md documents them.

In: an Estimate. Out: a code. Convention: 0 for several named cards: the step fits on each.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.results.estimate import Estimate


# Of a command that searches a plan, as its help prints them.
PLAN_CODES = """\b
Exit codes:
  0  done, and a plan fits
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  3  done, and nothing that was tried fits
"""


class ExitCode(IntEnum):
    """Exit codes of `planner`. A PlannerError has its own, 1 or 2 (errors.py)."""

    FITS = 0  # done, and the step fits on every requested card
    ERROR = 1  # the model's code, this machine or the build failed; stderr has the reason
    USAGE = 2  # the request is wrong: an option, a value, an unknown card
    DOES_NOT_FIT = 3  # done, but a requested card is too small for the step (see exit_code)
    NOT_CONFIRMED = 4  # verify: done, but the measurement does not confirm the prediction
    HUNG_UP = 129  # the terminal was closed: 128 + SIGHUP
    INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


def exit_code(estimate: Estimate) -> ExitCode:
    """Returns FITS if the step fits on every card: a user who names three plans with three.

    With all cards requested, or none, one card on which it fits is enough.
    """
    every = [entry.fits for entry in estimate.gpus]
    looks_for_one = estimate.is_survey or estimate.has_stand_ins
    return fits_or_not(any(every) if looks_for_one else all(every))


def fits_or_not(fits: bool) -> ExitCode:
    """Returns FITS or DOES_NOT_FIT."""
    return ExitCode.FITS if fits else ExitCode.DOES_NOT_FIT
