"""The requests of a step at a few batches, kept with a result: those at every batch follow.

In: ScaledRequests of a search. Out: RecordedBatches, from which they are made again.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.memory.sample_parts import Sample
from planner.memory.scaling import ScaledRequests, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBatches:
    """Samples of a step, as the search of the largest batch has made them."""

    degree: int
    """Degree of the polynomial that sizes follow; one sample more is needed."""
    samples: tuple[Sample, ...]
    """The requests of a run each, by batch."""

    @classmethod
    def of(cls, scaled: ScaledRequests) -> RecordedBatches:
        """Returns what `scaled` was fitted to."""
        return cls(degree=scaled.degree, samples=scaled.samples)

    def scaled(self) -> ScaledRequests | None:
        """Returns the requests at every batch; None where the samples do not fit together."""
        if len(self.samples) <= self.degree:
            return None
        found = fit(self.samples, self.degree)
        return found if isinstance(found, ScaledRequests) else None
