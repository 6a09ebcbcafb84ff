"""Searches the largest batch by probes, until memory really runs out.

In: a function that runs one probe, and the batch that was predicted. Out: Searched. Convention:
only running out of memory moves the search. A probe that ends for another reason is run once more
if that may have been chance; else it ends the search, because it says nothing about memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from planner.memory.gallop import Gallop
from planner.memory.probe import ProbeOutcome, is_about_memory
from planner.results.verification import ProbeRecord

# The first steps away from a wrong prediction are 1 and 2, then 1/64 of it, 1/16, 1/4 ...
_GALLOP, _FACTOR = 64, 4
_BY_CHANCE = (ProbeOutcome.CUDA_ERROR, ProbeOutcome.KILLED, ProbeOutcome.TIME_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """The start and the limits of a search.

    `bound` is the largest batch that may be tried, `bound_reason` says why. The answer is exact to
    `resolution` batches. With `retest` the answer is run once more at the end; with `neighbours`
    the batch below it must fit too.
    """

    predicted: int
    bound: int
    bound_reason: str
    resolution: int = 1
    retest: bool = False
    neighbours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The result of a search. `largest` is None where it had to stop, for the reason in `stopped`.

    `bound` is the reason that ended the search where it was not memory; "" where it was.
    """

    largest: int | None
    probes: tuple[ProbeRecord, ...]
    stopped: str = ""
    bound: str = ""

    @property
    def fitted(self) -> int:
        """Returns the largest batch that fitted in each of its probes; 0 where there is none."""
        fitting = {p.batch_size for p in self.probes if p.outcome is ProbeOutcome.FITS}
        failing = {p.batch_size for p in self.probes if p.outcome is not ProbeOutcome.FITS}
        return max(fitting - failing, default=0)


class _StoppedError(Exception):
    """A probe ended for a reason that says nothing about memory."""


class _Search:
    """Runs and keeps the probes of one search; `gallop` searches the batch with them."""

    def __init__(self, run: Callable[[int, bool], ProbeRecord], plan: SearchPlan) -> None:
        self.run = run
        self.plan = plan
        self.probes: list[ProbeRecord] = []
        # True once a batch has failed its last probe: from then on each probe is that long.
        self.looks_long = False
        self.looked_at_long: set[int] = set()
        self.gallop = Gallop(
            fits=self.fits,
            bound=plan.bound,
            resolution=plan.resolution,
            up=self._distances,
            down=self._distances,
        )

    def fits(self, batch_size: int, *, again: bool = False) -> bool:
        """Returns whether a batch fits; a batch that was tried is tried again only with `again`."""
        known = [
            p.outcome
            for p in self.probes
            if p.batch_size == batch_size and is_about_memory(p.outcome)
        ]
        if ProbeOutcome.OOM in known:
            return False
        if known and not again and (not self.looks_long or batch_size in self.looked_at_long):
            return True
        again = again or self.looks_long
        probe = self._run(batch_size, again)
        if not is_about_memory(probe.outcome) and probe.outcome in _BY_CHANCE:
            probe = self._run(batch_size, again)
        if not is_about_memory(probe.outcome):
            raise _StoppedError(f"batch {batch_size}: {probe.outcome.value}, {probe.detail}")
        return probe.outcome is ProbeOutcome.FITS

    def _run(self, batch_size: int, again: bool) -> ProbeRecord:
        probe = self.run(batch_size, again)
        self.probes.append(probe)
        if again:
            self.looked_at_long.add(batch_size)
        return probe

    def _distances(self, start: int) -> Iterator[int]:
        """Yields few distances that grow fast, because a probe may take minutes."""
        resolution = self.plan.resolution
        yield from [1, 2] if resolution == 1 else [resolution]
        step = max(_FACTOR * resolution, start // _GALLOP)
        yield from (step * _FACTOR**power for power in count())

    def climbed(self, low: int) -> int:
        """Goes up from a batch that fits to one whose upper neighbour does not, or to the bound."""
        if self.gallop.failing_above(low) is None:
            return self.gallop.climbed(low)
        return self.gallop.halved(low)


def search(run: Callable[[int, bool], ProbeRecord], plan: SearchPlan) -> Searched:
    """Searches the largest batch that fits; 0 where not even 1 does.

    `run(batch_size, again)` runs a probe; `again` means that the batch fitted before, and that this
    is its last probe.
    """
    state = _Search(run, plan)
    try:
        low = _settled(state, _beginning(state))
    except _StoppedError as error:
        return Searched(largest=None, probes=tuple(state.probes), stopped=str(error))
    bound = plan.bound_reason if low >= plan.bound else ""
    return Searched(largest=low, probes=tuple(state.probes), bound=bound)


def _beginning(state: _Search) -> int:
    """Returns a batch that fits, near the prediction; 0 where not even 1 does."""
    start = max(1, min(state.plan.predicted, state.plan.bound))
    return start if state.gallop.look(start) else state.gallop.descended(start)


def _settled(state: _Search, low: int) -> int:
    """Goes from a batch that fits to the largest one, and tries its neighbours."""
    look, descended = state.gallop.look, state.gallop.descended
    while low:
        low = state.climbed(low)
        exact = state.plan.resolution == 1
        if state.plan.neighbours and exact and low > 1 and not look(low - 1):
            low = descended(low - 1)
            continue
        if not state.plan.retest or low in state.looked_at_long or state.fits(low, again=True):
            break
        state.looks_long = True  # it fitted once, and not the second time
        state.gallop.failing.add(low)
        low = descended(low)
    return low
