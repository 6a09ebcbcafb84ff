"""The largest batch, searched by probes until memory really runs out.

In: a function that runs one probe, and the batch that was predicted. Out: Searched. Convention:
only running out of memory moves the search. What else ends a probe is tried once more where it may
have been chance, and else ends the search, because it says nothing about memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from planner.memory.gallop import Gallop
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


class _Search:
    """The probes of one search; `gallop` looks for the batch with them."""

    def __init__(self, run: Callable[[int, bool], ProbeRecord], plan: SearchPlan) -> None:
        self.run = run
        self.plan = plan
        self.probes: list[ProbeRecord] = []
        # A batch has failed the last look: from now on each look is as long as that one.
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

    def _distances(self, start: int) -> Iterator[int]:
        """Few and far: a probe may take minutes."""
        resolution = self.plan.resolution
        yield from [1, 2] if resolution == 1 else [resolution]
        step = max(_FACTOR * resolution, start // _GALLOP)
        yield from (step * _FACTOR**power for power in count())

    def climbed(self, low: int) -> int:
        """From a batch that fits to one whose upper neighbour does not, or to the bound."""
        if self.gallop.failing_above(low) is None:
            return self.gallop.climbed(low)
        return self.gallop.halved(low)


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
    return start if state.gallop.look(start) else state.gallop.descended(start)


def _settled(state: _Search, low: int) -> int:
    """From a batch that fits to the largest one, with its neighbours tried."""
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


def _decides(probe: ProbeRecord) -> bool:
    return probe.outcome in (ProbeOutcome.FITS, ProbeOutcome.OOM)
