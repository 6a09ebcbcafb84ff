"""Computes the clock of a card under a power limit, and how much longer its kernels take then.

In: a power limit in watts, the power that the step would draw without it. Out: a share of the full
clock; a share of the full rates. Convention: what was measured without a power limit ran at clock
1, even where the TDP holds it below the boost clock.
"""

from __future__ import annotations

from math import isfinite

from planner.errors import UsageError
from planner.hardware.specs import GpuSpec

# Power of the chip's logic goes with f V^2, and V with f, so with f^3; what memory, fans and
# leakage draw stays. Below some clock the voltage is at its least and power goes with f alone.
# Fitted to the times of ResNet-50 and BERT in float32 at 5 to 9 limits on V100, A40, P100 and
# Quadro RTX 6000 (https://github.com/ml-energy/zeus, zeus_nsdi23/trace at 75a8b93):
# tests/unit/timing/test_power_limit.py has the errors.
_STATIC_SHARE = 0.20  # of the TDP
_KNEE = 0.50  # of the rest of the drawn power: below it the voltage does not fall
_HELD_SHARE = 0.97  # of the limit that is drawn where it is the limit
# Memory keeps its clock, but L2, and what addresses and computes the elements, do not.
_BANDWIDTH_EXPONENT = 0.5
_LEAST_CLOCK = 0.1
# No known card takes a limit below 0.28 of its TDP; near it times grow several times.
_LEAST_SHARE = 0.25
# Standard deviation of the logarithm of measured over predicted times, by the limit over the TDP.
_SPREADS = ((1.0, 0.0), (0.8, 0.02), (0.6, 0.05), (0.5, 0.16), (0.0, 0.27))
BASIS = "errors at power limits of 8 jobs on four cards"


def check_power_limit(card: GpuSpec, limit_w: float) -> None:
    """Checks that a card takes a power limit.

    Raises:
        UsageError: it is below the least or above the greatest that the card takes.
    """
    known = card.power_limits_w
    least, greatest = known or (_LEAST_SHARE * card.tdp_w, card.tdp_w)
    if isfinite(limit_w) and least <= limit_w <= greatest:
        return
    end = (
        f"takes limits from {least:g} to {greatest:g} W"
        if known is not None
        else f"has {card.tdp_w} W as shipped; its limits are not known, and those from {least:g} "
        f"to {greatest:g} W have an estimate"
    )
    raise UsageError(f"power limit {limit_w:g} W: {card.id} {end}")


def clock_under_limit(*, drawn_w: float, limit_w: float, tdp_w: float) -> float:
    """Returns the clock under the limit, as a share of the clock at which `drawn_w` are drawn."""
    held_w, static_w = _HELD_SHARE * limit_w, _STATIC_SHARE * tdp_w
    if drawn_w <= held_w or limit_w >= tdp_w:
        return 1.0
    left = (held_w - static_w) / (drawn_w - static_w)
    if left >= _KNEE:
        return float(left ** (1 / 3))
    return max(_LEAST_CLOCK, float(_KNEE ** (1 / 3)) * left / _KNEE)


def bandwidth_at(clock: float) -> float:
    """Returns the share of the memory's rate that kernels reach with the cores at this clock."""
    return float(clock**_BANDWIDTH_EXPONENT)


def limit_spread(*, limit_w: float, tdp_w: float) -> float:
    """Returns the standard deviation of the logarithm of measured over predicted times."""
    share = limit_w / tdp_w
    return next(spread for least, spread in _SPREADS if share >= least)
