"""Gives the interval of a step time: past errors, wider under a power limit.

In: TimedStep, StepParts. Out: TimeSpread, the interval in seconds, its words. Convention: an error
is of the card's part of the step; ends are of one optimizer step.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, hypot, log

from planner.estimation.timed_step import TimedStep
from planner.timing.bottleneck import StepParts
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.power_limit import BASIS as POWER_LIMIT_BASIS
from planner.timing.power_limit import limit_spread
from planner.timing.spread import Distance, TimeSpread, spreads, step_precision
from planner.units import format_percent


def time_spread(step: TimedStep, parts: StepParts) -> TimeSpread | None:
    """Returns the errors of computed times; None where past runs have corrected the times."""
    if step.time_ratio != 1.0:
        return None
    found = _free_spread(step, parts)
    if step.kernels is not None:
        found = replace(found, basis=f"{found.basis}; {step.kernels.basis}")
    limit_w = step.request.power_limit_w
    if limit_w is None or step.clock == 1.0:
        return found
    return _widened(found, limit_spread(limit_w=limit_w, tdp_w=step.card.tdp_w))


def _free_spread(step: TimedStep, parts: StepParts) -> TimeSpread:
    """Returns the errors of times without a power limit."""
    card, known = step.card, spreads()
    precision = step_precision(step.counted.operators, card, tf32_matmul=step.counted.tf32_matmul)
    launches = parts.launch_s / (parts.launch_s + parts.card_s) if parts.launch_s else 0.0
    unknown = known.measured.unknown(card.id, card.compute_capability, precision, launches)
    sources = dict(parts.source_shares) or {TimeSource.FIT: 1.0}
    return known.of(Distance(unknown=unknown, sources=sources))


def _widened(found: TimeSpread, spread: float) -> TimeSpread:
    """Adds the errors of a power limit, which are independent of the others."""
    from statistics import NormalDist  # loads the modules of decimals and fractions

    ends = NormalDist().inv_cdf((1 + found.coverage) / 2) * spread
    return replace(
        found,
        low=exp(-hypot(log(found.low), ends)) if found.low < 1 else found.low,
        high=exp(hypot(log(found.high), ends)) if found.high > 1 else found.high,
        basis=f"{found.basis}; {POWER_LIMIT_BASIS}",
    )


def interval_s(parts: StepParts, spread: TimeSpread) -> tuple[float, float]:
    """Applies the errors to the card's part of the step; a slower input hides them.

    At the high end no message runs beside a kernel.
    """
    hidden_s = parts.messages.hidden_s
    card_s, bubble_s = parts.card_s, parts.bubble_s  # other stages are as wrong as this one
    return (
        parts.step_of(card_s * spread.low - bubble_s * (1 - spread.low)),
        parts.step_of(card_s * spread.high + bubble_s * (spread.high - 1) + hidden_s),
    )


def interval_basis(step: TimedStep, spread: TimeSpread) -> str:
    """Returns the past errors that the interval comes from."""
    if step.network is None:
        return spread.basis
    return (
        f"{spread.basis}; messages between GPUs beside the kernels, at the high end none of them; "
        "how often that holds is not known"
    )


def interval_words(step: TimedStep, spread: TimeSpread) -> tuple[str, ...]:
    """Returns the basis of the step time's interval as a sentence."""
    if step.network is not None:
        return (f"interval of the step time: by {interval_basis(step, spread)}",)
    covered = format_percent(spread.coverage, 1)
    return (f"interval of the step time: {covered} of such cases, by {spread.basis}",)
