"""The requests of a step at a few batches, kept with a result: those at every batch follow.

In: ScaledRequests of a search. Out: RecordedBatches, from which they are made again.
"""

from __future__ import annotations

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
    batches: tuple[int, ...]
    """The batches, at least one more than the degree."""
    requests: tuple[tuple[tuple[EventKind, int, int, int], ...], ...]
    """At each batch, of each request: kind, number of the block, its size in bytes, stream."""
    workspaces: tuple[tuple[int, ...], ...]
    """At each batch, the blocks that a library has requested as its workspace."""

    @classmethod
    def of(cls, scaled: ScaledRequests) -> RecordedBatches:
        """Returns what `scaled` was fitted to."""
        return cls(
            degree=scaled.degree,
            batches=tuple(one.value for one in scaled.samples),
            requests=tuple(
                tuple((a.kind, a.block, a.size_bytes, a.stream) for a in one.requests)
                for one in scaled.samples
            ),
            workspaces=tuple(tuple(sorted(one.workspaces)) for one in scaled.samples),
        )

    def scaled(self) -> ScaledRequests | None:
        """Returns the requests at every batch; None where those recorded do not fit together."""
        if len(self.batches) <= self.degree:
            return None
        columns = zip(self.batches, self.requests, self.workspaces, strict=True)
        samples = [
            Sample(
                value=value,
                requests=tuple(Request(*one) for one in requests),
                workspaces=frozenset(workspaces),
            )
            for value, requests, workspaces in columns
        ]
        found = fit(samples, self.degree)
        return found if isinstance(found, ScaledRequests) else None
