"""The largest batch, searched by probes until memory really runs out.

In: a function that runs one probe, and the batch that was predicted. Out: Searched. Convention:
only running out of memory moves the search. What else ends a probe is tried once more where it may
have been chance, and else ends the search, because it says nothing about memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from planner.results.verification import ProbeOutcome, ProbeRecord

# The first steps away from a wrong prediction are 1 and 2, the next ones 1/64 of it, 1/16, 1/4 ...
_GALLOP, _FACTOR = 64, 4
_BY_CHANCE = (ProbeOutcome.CUDA_ERROR, ProbeOutcome.KILLED, ProbeOutcome.TIME_OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Where a search begins and how far it goes.

    `bound` is the largest batch that may be tried, `bound_reason` why. The answer is exact to
    `resolution` batches. With `retest` it is run once more at the end, and with `neighbours` the
    batch below it must fit too.
    """

    predicted: int
    bound: int
    bound_reason: str
    resolution: int = 1
    retest: bool = False
    neighbours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The largest batch, None where the search had to stop; the reason is in `stopped`.

    `fitted` is the largest that has fitted in each of its probes, 0 where none has. `bound` is the
    reason that ended the search where memory did not; "" where memory did.
    """

    largest: int | None
    probes: tuple[ProbeRecord, ...]
    stopped: str = ""
    bound: str = ""

    @property
    def fitted(self) -> int:
        """See above."""
        fitting = {p.batch_size for p in self.probes if p.outcome is ProbeOutcome.FITS}
        failing = {p.batch_size for p in self.probes if p.outcome is not ProbeOutcome.FITS}
        return max(fitting - failing, default=0)


class _StoppedError(Exception):
    """A probe ended for a reason that says nothing about memory."""


@dataclass(slots=True)
class _Search:
    run: Callable[[int, bool], ProbeRecord]
    plan: SearchPlan
    probes: list[ProbeRecord] = field(default_factory=list)
    # A batch has failed the last look: from now on each look is as long as that one.
    looks_long: bool = False
    looked_at_long: set[int] = field(default_factory=set)

    def fits(self, batch_size: int, *, again: bool = False) -> bool:
        """Whether it fits; a batch that has been tried is not tried again unless `again`."""
        known = [p.outcome for p in self.probes if p.batch_size == batch_size and _decides(p)]
        if ProbeOutcome.OOM in known:
            return False
        if known and not again and (not self.looks_long or batch_size in self.looked_at_long):
            return True
        again = again or self.looks_long
        probe = self._run(batch_size, again)
        if not _decides(probe) and probe.outcome in _BY_CHANCE:
            probe = self._run(batch_size, again)
        if not _decides(probe):
            raise _StoppedError(f"batch {batch_size}: {probe.outcome.value}, {probe.detail}")
        return probe.outcome is ProbeOutcome.FITS

    def _run(self, batch_size: int, again: bool) -> ProbeRecord:
        probe = self.run(batch_size, again)
        self.probes.append(probe)
        if again:
            self.looked_at_long.add(batch_size)
        return probe

    def failing_above(self, low: int) -> int | None:
        """The smallest batch above `low` that has run out of memory."""
        failing = (
            p.batch_size
            for p in self.probes
            if p.outcome is ProbeOutcome.OOM and p.batch_size > low
        )
        return min(failing, default=None)


def search(run: Callable[[int, bool], ProbeRecord], plan: SearchPlan) -> Searched:
    """The largest batch that fits; 0 where not even 1 does.

    `run(batch_size, again)` runs a probe; `again` says that the batch has been found to fit, and
    that this is the last look at it.
    """
    state = _Search(run, plan)
    try:
        low = _settled(state, _beginning(state))
    except _StoppedError as error:
        return Searched(largest=None, probes=tuple(state.probes), stopped=str(error))
    bound = plan.bound_reason if low >= plan.bound else ""
    return Searched(largest=low, probes=tuple(state.probes), bound=bound)


def _beginning(state: _Search) -> int:
    """A batch that fits, near the prediction; 0 where not even 1 does."""
    start = max(1, min(state.plan.predicted, state.plan.bound))
    if state.fits(start):
        return start
    return _descended(state, start)


def _settled(state: _Search, low: int) -> int:
    """From a batch that fits to the largest one, with its neighbours tried."""
    while low:
        low = _climbed(state, low)
        exact = state.plan.resolution == 1
        if state.plan.neighbours and exact and low > 1 and not state.fits(low - 1):
            low = _descended(state, low - 1)
            continue
        if not state.plan.retest or low in state.looked_at_long or state.fits(low, again=True):
            break
        state.looks_long = True  # it fitted once, and not the second time
        low = _descended(state, low)
    return low


def _steps(start: int, resolution: int) -> list[int]:
    """Distances of a gallop from `start`."""
    near = [1, 2] if resolution == 1 else [resolution]
    step = max(_FACTOR * resolution, start // _GALLOP)
    return [*near, *(step * _FACTOR**index for index in range(32))]


def _descended(state: _Search, failing: int) -> int:
    """A batch that fits, below one that does not; 0 where there is none."""
    for step in _steps(failing, state.plan.resolution):
        candidate = max(1, failing - step)
        if candidate >= failing:
            return 0
        if state.fits(candidate):
            return candidate
        if candidate == 1:
            return 0
    return 0


def _climbed(state: _Search, low: int) -> int:
    """From a batch that fits up to one whose upper neighbour does not, or to the bound."""
    start, bound = low, state.plan.bound
    for step in _steps(start, state.plan.resolution):
        candidate = min(start + step, bound)
        if state.failing_above(low) is not None or candidate <= low:
            break
        if state.fits(candidate):
            low = candidate
    return _bisected(state, low)


def _bisected(state: _Search, low: int) -> int:
    high = state.failing_above(low)
    while high is not None and high - low > state.plan.resolution:
        middle = (low + high) // 2
        if state.fits(middle):
            low = middle
        else:
            high = middle
    return low


def _decides(probe: ProbeRecord) -> bool:
    return probe.outcome in (ProbeOutcome.FITS, ProbeOutcome.OOM)
