"""Finds the fewest cards that fit: powers of two within a machine, then whole machines.

In: StepFacts, the trials of the step. Out: SmallestJob. Convention: sharded by FSDP over all of
them, with every block checkpointed and one sample a micro-batch; what lasts through a step is
divided by the cards, so that a larger number never needs more. Numbers whose share of that alone is
too large are excluded by arithmetic, the others by runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.config.parallel import DataParallel
from planner.config.parallel_words import MOST_GPUS
from planner.estimation.advice.combine import merged
from planner.estimation.advice.trials import Trials
from planner.estimation.spread.arithmetic import expected_bytes, floor_bytes
from planner.estimation.spread.facts import StepFacts
from planner.estimation.spread.spreads import Spread, sizes_of_jobs
from planner.results.advice import TrialState
from planner.results.parallelization import SmallestJob
from planner.units import counted, format_bytes

_MOST_RUNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeTried:
    """A number of cards that was run: what one takes, and whether that fits."""

    total_bytes: int
    over_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The numbers of cards to look at, with their machines, and the memory of one."""

    per_host: int
    capacity_bytes: int

    def numbers(self) -> list[tuple[int, int]]:
        """Returns numbers of GPUs with their machines, rising."""
        return list(sizes_of_jobs(self.per_host, MOST_GPUS))


def spread_over(gpus: int, hosts: int) -> Spread:
    """Returns the spread that a number of cards is judged by."""
    if gpus == 1:
        return Spread(gpus=1, hosts=1)
    return Spread(gpus=gpus, hosts=hosts, data=DataParallel.FSDP, shard=gpus)


def smallest_job(
    facts: StepFacts, sizes: Sizes, run: Callable[[Spread], SizeTried | str]
) -> SmallestJob:
    """Returns the fewest cards that fit.

    `run` runs a spread with one sample a micro-batch; a text is the reason why it does not run.
    """
    levers = tuple(row.name for row in facts.rows)
    numbers = sizes.numbers()
    first = next(
        (
            index
            for index, size in enumerate(numbers)
            if floor_bytes(spread_over(*size), facts) <= sizes.capacity_bytes
        ),
        None,
    )
    if first is None:
        return _none(levers, f"not even {MOST_GPUS} cards hold what lasts through a step")
    tried: dict[int, SizeTried] = {}
    low = first  # below it nothing fits
    at = next(
        (
            index
            for index in range(first, len(numbers))
            if expected_bytes(spread_over(*numbers[index]), facts, 1) <= sizes.capacity_bytes
        ),
        first,
    )
    high: int | None = None  # the lowest known to fit
    while len(tried) < _MOST_RUNS and (high is None or low < high):
        found = run(spread_over(*numbers[at]))
        if isinstance(found, str):
            return _none(levers, found)
        tried[at] = found
        if found.fits:
            high = at
            at = max(low, at - 1)
        else:
            low = at + 1
            following = _next(facts, sizes, numbers, at, found)
            if following is None:
                return _none(levers, _beside(facts, numbers[at], found))
            at = min(max(low, following), len(numbers) - 1 if high is None else high - 1)
    if high is None:
        return _none(levers, "no number of cards that was looked at fits")
    gpus, hosts = numbers[high]
    return SmallestJob(
        levers=levers,
        gpus=gpus,
        hosts=hosts,
        device_total_bytes=tried[high].total_bytes,
        reason=_why_not_fewer(facts, numbers, high, tried),
    )


def _next(
    facts: StepFacts, sizes: Sizes, numbers: list[tuple[int, int]], at: int, found: SizeTried
) -> int | None:
    """Returns the first number that fits by a line through this run; None: none does.

    All but the share of what lasts is taken to stay the same.
    """
    gpus = numbers[at][0]
    whole_bytes = facts.held.total_bytes
    room_bytes = whole_bytes / gpus - found.over_bytes  # for the share of a card
    if room_bytes <= 0:
        return None
    return next(
        (index for index in range(at + 1, len(numbers)) if numbers[index][0] * room_bytes
         >= whole_bytes),
        None,
    )  # fmt: skip


def _none(levers: tuple[str, ...], reason: str) -> SmallestJob:
    return SmallestJob(levers=levers, gpus=None, hosts=None, device_total_bytes=None, reason=reason)


def _beside(facts: StepFacts, size: tuple[int, int], found: SizeTried) -> str:
    share_bytes = facts.held.total_bytes // size[0]
    return (
        f"on {counted(size[0], 'card')} one sample takes {format_bytes(found.over_bytes)} too "
        f"much, and the share of what lasts is only {format_bytes(share_bytes)}: more cards do not "
        "help, a shorter sequence or a smaller model does"
    )


def _why_not_fewer(
    facts: StepFacts, numbers: list[tuple[int, int]], high: int, tried: dict[int, SizeTried]
) -> str:
    if not high:
        return "one card is enough"
    fewer = numbers[high - 1]
    words = f"{counted(fewer[0], 'card')}"
    if high - 1 in tried:
        over_bytes = tried[high - 1].over_bytes
        return f"on {words} a run takes {format_bytes(over_bytes)} too much"
    least_bytes = floor_bytes(spread_over(*fewer), facts)
    return (
        f"on {words} weights, gradients and optimizer state alone are "
        f"{format_bytes(least_bytes)} a card"
    )


def sizes_tried(trials: Trials, facts: StepFacts, spread: Spread) -> SizeTried | str:
    """Runs one sample a micro-batch; two where a batch of one does not run."""
    reason = ""
    for batch_size in (1, 2):
        changes = {**merged(facts.rows), **facts.options, **spread.options}
        found = trials.run({**changes, "batch_size": batch_size, "accumulate": 1})
        if found.budget is not None and found.total_bytes is not None:
            over_bytes = found.total_bytes - found.budget.usable_memory_bytes
            return SizeTried(
                total_bytes=found.total_bytes,
                over_bytes=max(0, over_bytes + found.budget.reserve_bytes),
                fits=found.fits is True,
            )
        if found.state is TrialState.TRIED:
            return "it needs more than can be measured"
        reason = reason or found.reason
    return reason
