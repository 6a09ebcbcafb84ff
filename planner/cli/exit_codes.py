"""What the exit code of `planner` says. It is API: README.md documents it.

In: an Estimate. Out: a code. Convention: 0 means that the step fits wherever it was asked to.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.results.estimate import Estimate


class ExitCode(IntEnum):
    """Exit codes of `planner`. PlannerErrors carry theirs themselves, 1 or 2 (errors.py)."""

    FITS = 0  # done, and the step fits on every card asked for
    ERROR = 1  # the model's code, this machine or the build failed; stderr says how
    USAGE = 2  # the request itself: an option, a value, a card that is not known
    DOES_NOT_FIT = 3  # done, but on at least one card asked for the step does not fit (see below)
    NOT_CONFIRMED = 4  # verify: done, but what was predicted is not what was measured
    HUNG_UP = 129  # the terminal was closed: 128 + SIGHUP
    INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


def exit_code(estimate: Estimate) -> ExitCode:
    """FITS only when the step fits on every card: who asks for three cards plans with three.

    Who asks for all, or for none, looks for one.
    """
    every = [entry.fits for entry in estimate.gpus]
    looks_for_one = estimate.is_survey or estimate.has_stand_ins
    return fits_or_not(any(every) if looks_for_one else all(every))


def fits_or_not(fits: bool) -> ExitCode:
    """Done, and whether what was asked for fits."""
    return ExitCode.FITS if fits else ExitCode.DOES_NOT_FIT
