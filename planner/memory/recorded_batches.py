"""The requests of a step at a few batches, kept with a result: those at every batch follow.

In: ScaledRequests of a search, and further runs. Out: RecordedBatches, from which they are made
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.memory.allocator.requests import Request
from planner.memory.sample_parts import Sample
from planner.memory.scaling import ScaledRequests, fit
from planner.wire.trace import EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBatches:
    """Requests of a step at a few batches, as the search of the largest batch has recorded them."""

    degree: int
    """Degree of the polynomial that sizes follow: 1 is a line."""
    searched: int
    """Of the batches, how many the search has recorded; from them all others follow."""
    batches: tuple[int, ...]
    """The batches: first those of the search, then those that were run for a picture."""
    requests: tuple[tuple[tuple[EventKind, int, int, int], ...], ...]
    """At each batch, of each request: kind, number of the block, its size in bytes, stream."""
    workspaces: tuple[tuple[int, ...], ...]
    """At each batch, the blocks that a library has requested as its workspace."""

    @classmethod
    def of(cls, scaled: ScaledRequests, more: Sequence[Sample] = ()) -> RecordedBatches:
        """Returns what `scaled` was fitted to, and samples that it was not fitted to."""
        samples = (*scaled.samples, *more)
        return cls(
            degree=scaled.degree,
            searched=len(scaled.samples),
            batches=tuple(one.value for one in samples),
            requests=tuple(
                tuple((a.kind, a.block, a.size_bytes, a.stream) for a in one.requests)
                for one in samples
            ),
            workspaces=tuple(tuple(sorted(one.workspaces)) for one in samples),
        )

    def samples(self) -> tuple[Sample, ...]:
        """Returns the recorded runs, as `batches` names them."""
        return tuple(self._samples())

    def scaled(self) -> ScaledRequests | None:
        """Returns the requests at every batch; None where those recorded do not fit together."""
        if self.searched <= self.degree:
            return None
        found = fit(self.samples()[: self.searched], self.degree)
        return found if isinstance(found, ScaledRequests) else None

    def _samples(self) -> Iterable[Sample]:
        columns = zip(self.batches, self.requests, self.workspaces, strict=True)
        for value, requests, workspaces in columns:
            yield Sample(
                value=value,
                requests=tuple(Request(*one) for one in requests),
                workspaces=frozenset(workspaces),
            )
