"""Predicts the memory of a step at any batch on any card, by replays of its scaled requests.

In: ScaledRequests and allocator settings. Out: peaks at a value, the largest value that fits. A
replay takes milliseconds; the peaks without a limit are kept, to be used for all cards.
"""

from __future__ import annotations

from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.replay import ReplayResult, replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.packed_scaling import PackedLayout, packed_at
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.scaling import ScaledRequests
from planner.memory.search import BOUND, Capacity, confirmed

# Below an answer all neighbours are replayed down to 1/64, and some down to 1/32. With fewer, the
# path of the search would decide on which side of a gap the answer is.
_NEAR, _LEAST_NEAR, _MOST_NEAR = 64, 4, 64
_FAR, _FAR_STEPS = 32, 8
_MAX_EXTRAPOLATIONS = 6


def below(value: int) -> tuple[int, ...]:
    """Returns smaller values that must fit too for `value` to be the answer."""
    far = value // _FAR
    steps = (far * index // _FAR_STEPS for index in range(1, _FAR_STEPS + 1))
    near = min(max(value // _NEAR, _LEAST_NEAR), _MOST_NEAR)
    return tuple(dict.fromkeys(value - less for less in (*range(1, near + 1), *steps) if less))


def _nothing_below(value: int) -> tuple[int, ...]:
    return ()


class Forecast:
    """Replays one step under one setting of the allocator."""

    def __init__(self, scaled: ScaledRequests, settings: AllocatorSettings) -> None:
        self.scaled = scaled
        self._settings = settings
        self._packed: dict[int, PackedLayout | None] = {}
        self._free: dict[int, int] = {}
        self._tried: dict[tuple[int, int, int], Probe] = {}

    def on_card(self, value: int, *, capacity_bytes: int, total_memory_bytes: int) -> ReplayResult:
        """Replays the step at `value` on a card with `capacity_bytes` for the allocator."""
        packed = packed_at(self.scaled, value, self._packed)
        if packed is not None:
            return replay(
                packed,
                self._settings,
                capacity_bytes=capacity_bytes,
                total_memory_bytes=total_memory_bytes,
            )
        predicted = self.scaled.at(value)
        return replay(
            predicted.requests,
            self._settings,
            capacity_bytes=capacity_bytes,
            total_memory_bytes=total_memory_bytes,
            optional=predicted.optional,
        )

    def largest(
        self,
        *,
        capacity_bytes: int,
        total_memory_bytes: int,
        guess: int | None = None,
        look_below: bool = True,
    ) -> Capacity:
        """Returns the largest value that fits, with the next one replayed and failing.

        With `look_below` some smaller values are replayed too, and must fit. The nearer the guess,
        the fewer replays.
        """

        def try_value(value: int) -> Probe:
            key = (value, capacity_bytes, total_memory_bytes)
            if key not in self._tried:
                self._tried[key] = self._try(*key)
            return self._tried[key]

        if guess is None:
            guess = self._guess(capacity_bytes, total_memory_bytes)
        smaller = below if look_below else _nothing_below
        return confirmed(try_value, answer=guess, below=smaller)

    def _try(self, value: int, capacity_bytes: int, total_memory_bytes: int) -> Probe:
        found = self.on_card(
            value, capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
        )
        if found.out_of_memory is not None:
            return Probe(value=value, outcome=ProbeOutcome.OOM)
        return Probe(value=value, outcome=ProbeOutcome.FITS, total_bytes=found.peak_allocated_bytes)

    def _guess(self, capacity_bytes: int, total_memory_bytes: int) -> int:
        """Returns the value at which peak allocated, linear in pieces, reaches the capacity.

        Peak reserved is not used: near its limit the allocator gives idle memory back.
        """
        values = self.scaled.values
        (one, two), seen = (values[0], values[-1]), set(values)
        for _ in range(_MAX_EXTRAPOLATIONS):
            low, high = (self._allocated(value, total_memory_bytes) for value in (one, two))
            slope = (high - low) / (two - one)
            if slope <= 0:
                return BOUND
            guess = max(1, min(two + int((capacity_bytes - high) / slope), BOUND))
            if guess in seen:
                return guess
            seen.add(guess)
            one, two = two, guess
        return two

    def _allocated(self, value: int, total_memory_bytes: int) -> int:
        """Returns peak allocated without a limit; keeps it, as all cards use the same values."""
        if value not in self._free:
            found = self.on_card(
                value, capacity_bytes=WITHOUT_LIMIT_BYTES, total_memory_bytes=total_memory_bytes
            )
            self._free[value] = found.peak_allocated_bytes
        return self._free[value]
