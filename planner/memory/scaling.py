"""From two recorded runs to every batch: requests whose sizes are affine in the batch.

In: the requests of the same step at two batch sizes. Out: AffineRequests, or why there are none.
From batch 2 on a model makes the same requests at every batch, and each size grows by the same
number of bytes per sample; what breaks the rule (padding, a workspace chosen by size, code that
looks at the batch) shows as a difference between the two runs, or between a prediction and a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.memory.replay import Request

# Batch 1 gives tensors other strides, hence other requests.
SMALLEST_BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """The first request in which two runs differ by more than sizes; counted from 0."""

    request_index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineRequests:
    """Requests of one step for any batch: `size = fixed + per_sample * batch`.

    `requests` are those at `batch_size`; `per_sample_bytes` has one entry for each of them.
    """

    batch_size: int
    requests: tuple[Request, ...]
    per_sample_bytes: tuple[int, ...]

    def at(self, batch_size: int) -> list[Request]:
        """The requests at a batch of SMALLEST_BATCH or more; a size never falls below 0."""
        assert batch_size >= SMALLEST_BATCH, "batch 1 makes other requests"
        more = batch_size - self.batch_size
        return [
            request._replace(size_bytes=max(0, request.size_bytes + more * slope))
            if slope
            else request
            for request, slope in zip(self.requests, self.per_sample_bytes, strict=True)
        ]


def fit(
    smaller: Sequence[Request], smaller_batch: int, larger: Sequence[Request], larger_batch: int
) -> AffineRequests | Mismatch:
    """The affine requests through two runs; a Mismatch where their sequences are not the same."""
    assert SMALLEST_BATCH <= smaller_batch < larger_batch, "two different batches of 2 or more"
    step = larger_batch - smaller_batch
    slopes = []
    for index, (one, other) in enumerate(zip(smaller, larger, strict=False)):
        if (one.kind, one.block, one.stream) != (other.kind, other.block, other.stream):
            return Mismatch(
                request_index=index,
                reason=f"{one.kind.value} of block {one.block} at batch {smaller_batch}, "
                f"{other.kind.value} of block {other.block} at batch {larger_batch}",
            )
        slope, rest = divmod(other.size_bytes - one.size_bytes, step)
        if rest:
            return Mismatch(
                request_index=index,
                reason=f"{one.size_bytes} bytes at batch {smaller_batch} and {other.size_bytes} at "
                f"batch {larger_batch} are not a whole number of bytes per sample",
            )
        slopes.append(slope)
    if len(smaller) != len(larger):
        return Mismatch(
            request_index=min(len(smaller), len(larger)),
            reason=f"{len(smaller)} requests at batch {smaller_batch}, "
            f"{len(larger)} at batch {larger_batch}",
        )
    return AffineRequests(
        batch_size=smaller_batch, requests=tuple(smaller), per_sample_bytes=tuple(slopes)
    )
