"""Searches the largest batch that fits by trying batches: few tries when the first guess is good.

In: a function that tries one value, a batch or a sequence length. Out: Capacity. Convention: 0
means that 1 does not fit. Memory is nearly affine in the batch, so the first tries extrapolate; the
last ones gallop away from the guess and bisect. Reserved memory is not monotone in the batch: some
values below the answer are tried too, because users expect smaller batches to fit as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from planner.memory.gallop import Gallop
from planner.memory.probe import Probe, ProbeOutcome, is_about_memory

_MAX_EXTRAPOLATIONS = 8
_CLOSE_ENOUGH = 64  # a guess within 1/64 of a fitting value is left to the climb
# No larger value is useful in training; so small a model is bound by its data.
BOUND = 1 << 24
_FIRST_FACTOR = 4  # second try, when only one figure is known to extrapolate from
_LARGEST_FACTOR = 64  # never extrapolate further than this from a value that fitted


def _nothing_below(_: int) -> tuple[int, ...]:
    return ()


def _two_below(value: int) -> tuple[int, ...]:
    return (value - 1, value - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The answer and the tries that led to it, in order."""

    largest: int
    is_bound: bool
    probes: tuple[Probe, ...]

    @property
    def error(self) -> Probe | None:
        """Returns the try of answer + 1, where it failed for another reason than memory."""
        above = [p for p in self.probes if p.value == self.largest + 1]
        return above[0] if above and not is_about_memory(above[0].outcome) else None


class _Search:
    """Makes and keeps the tries of one search; `gallop` searches the value with them."""

    def __init__(
        self, try_value: Callable[[int], Probe], bound: int, known: Iterable[Probe]
    ) -> None:
        self._try_value = try_value
        self.probes = list(known)
        failing = {probe.value for probe in self.probes if probe.outcome is not ProbeOutcome.FITS}
        self.gallop = Gallop(fits=self._fits, bound=bound, failing=failing)
        self.bound = bound
        self.fits = self.gallop.look

    def _fits(self, value: int) -> bool:
        for probe in self.probes:
            if probe.value == value:
                return probe.outcome is ProbeOutcome.FITS
        probe = self._try_value(value)
        self.probes.append(probe)
        return probe.outcome is ProbeOutcome.FITS

    def failed_otherwise(self, value: int) -> bool:
        """Returns whether the try of `value` failed for another reason than memory."""
        return any(p.value == value and not is_about_memory(p.outcome) for p in self.probes)

    @property
    def fitting(self) -> int:
        """Returns the largest value that fits so far, 0 where none does."""
        return max((p.value for p in self.probes if p.outcome is ProbeOutcome.FITS), default=0)

    @property
    def fitting_tries(self) -> int:
        """Counts the tries that fitted."""
        return sum(p.outcome is ProbeOutcome.FITS for p in self.probes)

    def extrapolated(self, limit_bytes: int) -> int:
        """Extrapolates the two largest fitting tries, by a line, to the value at the limit."""
        known = sorted(
            {(p.value, p.total_bytes) for p in self.probes if p.outcome is ProbeOutcome.FITS}
        )[-2:]
        largest, total = known[-1]
        if len(known) == 1:
            return largest * _FIRST_FACTOR
        slope = (total - known[0][1]) / (largest - known[0][0])
        if slope <= 0:
            return largest * _LARGEST_FACTOR
        reached = largest + int((limit_bytes - total) / slope)
        return min(reached, largest * _LARGEST_FACTOR)


def largest_fitting(
    try_value: Callable[[int], Probe],
    *,
    limit_bytes: int,
    known: tuple[Probe, ...] = (),
    start: int = 1,
    bound: int = BOUND,
) -> Capacity:
    """Returns the largest batch up to `bound` that fits, with its upper neighbour failing.

    `known` are tries already made; `limit_bytes` is the limit of `total_bytes`, used only to
    guess: `try_value` decides.
    """
    search = _Search(try_value, bound, known)
    return _settled(search, _approach(search, start, limit_bytes), _two_below)


def confirmed(
    try_value: Callable[[int], Probe],
    *,
    answer: int,
    known: tuple[Probe, ...] = (),
    bound: int = BOUND,
    below: Callable[[int], Iterable[int]] = _nothing_below,
) -> Capacity:
    """Returns the largest batch, where `answer` comes from elsewhere: two tries if it is right.

    From a wrong answer the search goes up or down, in steps that double. `below(value)` are
    smaller values that must fit as well.
    """
    search = _Search(try_value, bound, known)
    low = max(1, min(answer, bound))
    if not search.fits(low):
        low = search.gallop.descended(low, search.fitting) or _least(search)
    return _settled(search, low, below)


def _settled(search: _Search, low: int, below: Callable[[int], Iterable[int]]) -> Capacity:
    """Goes from a fitting batch (0: none) to one whose next fails and whose `below` fit."""
    gallop = search.gallop
    answer = gallop.climbed(low) if low else 0
    # Without 1: it makes other requests than 2 and may take more.
    while pits := [value for value in below(answer) if value > 1 and not _passes(search, value)]:
        low = gallop.descended(min(pits), 1)
        low = low if low > 1 else _least(search)
        if not 0 < low < min(pits):
            break  # nothing below them fits
        answer = gallop.climbed(low)
    is_bound = 0 < search.bound <= answer
    return Capacity(largest=answer, is_bound=is_bound, probes=tuple(search.probes))


def _least(search: _Search) -> int:
    """Returns 1, or 2 where batch norm refuses a batch of 1; 0 where that does not fit."""
    if search.fits(1):
        return 1
    return 2 if search.failed_otherwise(1) and search.fits(2) else 0


def _passes(search: _Search, value: int) -> bool:
    """Returns whether a value fits or fails for another reason, as batch norm refuses batch 1."""
    return search.fits(value) or search.failed_otherwise(value)


def _approach(search: _Search, start: int, limit_bytes: int) -> int:
    """Returns a fitting batch near the limit; 0 where not even the smallest batch fits."""
    batch = max(1, min(start, search.bound))
    while not search.fits(batch):
        if batch == 1:
            break
        batch //= 2
    if search.fitting == 0 and not _least(search):
        return 0
    for _ in range(_MAX_EXTRAPOLATIONS):
        failing = search.gallop.failing_above(search.fitting) or search.bound + 1
        if failing <= search.bound and search.fitting > 1 and search.fitting_tries == 1:
            search.fits(search.fitting // 2)  # a second point, for a line towards the limit
        guess = min(search.extrapolated(limit_bytes), search.bound, failing - 1)
        if guess - search.fitting <= search.fitting // _CLOSE_ENOUGH:
            break
        if not search.fits(guess):
            return search.gallop.descended(guess, search.fitting)
    return search.fitting
