"""Requests affine in the batch, by hand-written lists; and what must not be taken for affine."""

from __future__ import annotations

import pytest

from planner.memory.replay import Request
from planner.memory.scaling import AffineRequests, Mismatch, fit
from planner.trace import EventKind


def step(batch: int) -> list[Request]:
    """A parameter, an activation of 400 bytes per sample and 8 more, both freed."""
    return [
        Request(EventKind.ALLOC, 0, 1000),
        Request(EventKind.ALLOC, 1, 8 + 400 * batch, stream=1),
        Request(EventKind.FREE, 1, stream=1),
        Request(EventKind.FREE, 0),
    ]


@pytest.mark.parametrize("batch", [2, 3, 4, 1000, 1 << 20])
def test_two_runs_give_every_batch(batch: int) -> None:
    found = fit(step(2), 2, step(3), 3)
    assert isinstance(found, AffineRequests)
    assert found.at(batch) == step(batch)


def test_runs_further_apart() -> None:
    found = fit(step(4), 4, step(16), 16)
    assert isinstance(found, AffineRequests)
    assert found.at(64) == step(64)


def test_a_size_that_shrinks_stays_a_size() -> None:
    one = [Request(EventKind.ALLOC, 0, 1000)]
    other = [Request(EventKind.ALLOC, 0, 600)]
    found = fit(one, 2, other, 3)
    assert isinstance(found, AffineRequests)
    assert found.at(100)[0].size_bytes == 0


def with_another_block(requests: list[Request]) -> list[Request]:
    return [*requests[:2], requests[2]._replace(block=0), requests[3]]


def with_another_stream(requests: list[Request]) -> list[Request]:
    return [requests[0], requests[1]._replace(stream=0), *requests[2:]]


def test_another_order_is_told() -> None:
    found = fit(step(2), 2, with_another_block(step(3)), 3)
    assert found == Mismatch(
        request_index=2, reason="free of block 1 at batch 2, free of block 0 at batch 3"
    )


def test_another_stream_is_told() -> None:
    found = fit(step(2), 2, with_another_stream(step(3)), 3)
    assert isinstance(found, Mismatch)
    assert found.request_index == 1


def test_more_requests_are_told() -> None:
    found = fit(step(2), 2, [*step(3), Request(EventKind.ALLOC, 2, 8)], 3)
    assert isinstance(found, Mismatch)
    assert found.request_index == 4
    assert "4 requests at batch 2, 5 at batch 3" in found.reason


def test_a_fraction_of_a_byte_per_sample_is_told() -> None:
    one = [Request(EventKind.ALLOC, 0, 100)]
    other = [Request(EventKind.ALLOC, 0, 101)]
    found = fit(one, 2, other, 4)
    assert isinstance(found, Mismatch)
    assert "not a whole number of bytes per sample" in found.reason


@pytest.mark.parametrize(("smaller", "larger"), [(1, 2), (3, 3), (4, 2)])
def test_batches_that_cannot_be_compared(smaller: int, larger: int) -> None:
    with pytest.raises(AssertionError):
        fit(step(smaller), smaller, step(larger), larger)
