"""Searches the largest value that fits: in growing steps away from a guess, then by halving.

In: a function that decides whether a value fits. Out: values, 0 where none fits. Convention: a
value is a whole number from 1 on, a batch or a number of tokens. Fitting need not be monotone: the
answer fits, and the next value, if it is not beyond the bound, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

Distances = Callable[[int], Iterable[int]]


def doubling_up(_: int) -> Iterator[int]:
    """Yields distances 1, 3, 7, 15 ...: each step is twice the last one."""
    return ((1 << power) - 1 for power in count(1))


def doubling_down(_: int) -> Iterator[int]:
    """Yields distances 1, 2, 4, 8 ... below a value that fails."""
    return (1 << power for power in count())


@dataclass(slots=True, kw_only=True)
class Gallop:
    """A search from 1 to `bound`, exact to `resolution`.

    `fits` decides; it is called again for a value where the search comes back to it. `up` and
    `down` give distances from the start of a gallop. `failing` are values known not to fit.
    """

    fits: Callable[[int], bool]
    bound: int
    resolution: int = 1
    up: Distances = doubling_up
    down: Distances = doubling_down
    failing: set[int] = field(default_factory=set)

    def look(self, value: int) -> bool:
        """Returns whether a value fits; adds it to `failing` where it does not."""
        if self.fits(value):
            return True
        self.failing.add(value)
        return False

    def failing_above(self, low: int) -> int | None:
        """Returns the smallest value above `low` known to fail; None where there is none."""
        return min((value for value in self.failing if value > low), default=None)

    def largest(self, guess: int) -> int:
        """Returns the largest value that fits, by few calls if the guess is near; 0: none fits."""
        start = max(1, min(guess, self.bound))
        low = start if self.look(start) else self.descended(start)
        return self.climbed(low) if low else 0

    def climbed(self, low: int) -> int:
        """Goes up from a value that fits to one whose upper neighbour fails, or to the bound."""
        start = low
        for distance in self.up(start):
            high = self.failing_above(low)
            candidate = min(start + distance, self.bound if high is None else high - 1)
            if candidate <= low:
                return low
            if not self.look(candidate):
                break
            low = candidate
        return self.halved(low)

    def descended(self, failing: int, floor: int = 0) -> int:
        """Returns a value that fits below `failing`, else `floor`, which fits or is 0.

        With a floor of 0, 1 is tried too: 0 means that not even 1 fits.
        """
        for distance in self.down(failing):
            candidate = failing - distance
            if candidate <= floor:
                break
            if self.look(candidate):
                return candidate
        return floor or int(failing > 1 and self.look(1))

    def halved(self, low: int) -> int:
        """Halves the gap from `low`, which fits, to the next failing value; returns its low end."""
        high = self.failing_above(low)
        while high is not None and high - low > self.resolution:
            middle = (low + high) // 2
            if self.look(middle):
                low = middle
            else:
                high = middle
        return low
