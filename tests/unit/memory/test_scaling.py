"""Requests at every batch from those at a few, by hand-written lists; and what is not alike."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.memory.allocator.replay import Request
from planner.memory.scaling import Mismatch, Sample, ScaledRequests, fit
from planner.wire.trace import EventKind

ALLOC, FREE = EventKind.ALLOC, EventKind.FREE


def step(batch: int) -> list[Request]:
    """A parameter; an activation of 400 bytes per sample and 8 more; another after it."""
    return [
        Request(ALLOC, 0, 1000),
        Request(ALLOC, 1, 8 + 400 * batch, stream=1),
        Request(ALLOC, 2, 16 * batch),
        Request(FREE, 1, stream=1),
        Request(ALLOC, 3, 24),
        Request(FREE, 2),
        Request(FREE, 0),
    ]


def sample(value: int, requests: Sequence[Request], workspaces: Sequence[int] = ()) -> Sample:
    return Sample(value=value, requests=tuple(requests), workspaces=frozenset(workspaces))


def fitted(*samples: Sample, degree: int = 1) -> ScaledRequests:
    found = fit(samples, degree)
    assert isinstance(found, ScaledRequests), found
    return found


def sizes(found: ScaledRequests, value: int) -> dict[int, int]:
    return {r.block: r.size_bytes for r in found.at(value).requests if r.kind is ALLOC}


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 1000, 1 << 20])
def test_two_runs_give_every_batch(batch: int) -> None:
    found = fitted(sample(2, step(2)), sample(3, step(3)))
    assert list(found.at(batch).requests) == step(batch)
    assert not found.has_scratch_of_its_own
    assert not found.is_constant


def test_the_order_of_the_samples_does_not_count() -> None:
    found = fitted(sample(16, step(16)), sample(4, step(4)))
    assert list(found.at(64).requests) == step(64)


def test_a_size_that_shrinks_stays_a_size() -> None:
    one, other = [Request(ALLOC, 0, 1000)], [Request(ALLOC, 0, 600)]
    found = fitted(sample(2, one), sample(3, other))
    assert sizes(found, 100) == {0: 0}


def test_parts_of_a_byte_are_rounded_up() -> None:
    """A mask of one bit per sample: 100 bytes at 800, 101 at 808; 101 at 801 too."""
    found = fitted(sample(800, [Request(ALLOC, 0, 100)]), sample(808, [Request(ALLOC, 0, 101)]))
    assert [sizes(found, n)[0] for n in (800, 801, 808, 809)] == [100, 101, 101, 102]


@given(
    st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), min_size=1, max_size=8),
    st.integers(1, 5000),
)
def test_three_runs_give_every_parabola(parts: list[tuple[int, int, int]], value: int) -> None:
    def requests(n: int) -> list[Request]:
        return [Request(ALLOC, i, a + b * n + c * n * n) for i, (a, b, c) in enumerate(parts)]

    found = fitted(*(sample(n, requests(n)) for n in (4, 8, 12)), degree=2)
    assert list(found.at(value).requests) == requests(value)


def test_of_many_samples_the_nearest_decide() -> None:
    """From 100 on, a kernel takes a buffer of its own."""

    def requests(n: int) -> list[Request]:
        return [Request(ALLOC, 0, 10 * n if n < 100 else 50 * n)]

    found = fitted(*(sample(n, requests(n)) for n in (2, 50, 100, 200)))
    assert [sizes(found, n)[0] for n in (20, 150, 400)] == [200, 7500, 20000]


def test_another_order_is_told() -> None:
    changed = step(3)
    changed[3] = Request(FREE, 0)
    changed[-1] = Request(FREE, 1, stream=1)
    found = fit([sample(2, step(2)), sample(3, changed)])
    assert isinstance(found, Mismatch)
    assert found.reason == "free of block 1 on stream 1 at 2, free of block 0 at 3"


def test_scratch_is_no_part_of_the_comparison() -> None:
    longer = [*step(3), Request(ALLOC, 9, 8), Request(FREE, 9)]
    assert isinstance(fit([sample(2, step(2)), sample(3, longer)]), ScaledRequests)


def test_another_stream_is_told() -> None:
    changed = [request._replace(stream=0) for request in step(3)]
    found = fit([sample(2, step(2)), sample(3, changed)])
    assert isinstance(found, Mismatch)
    assert found.reason == "alloc of block 1 on stream 1 at 2, alloc of block 1 at 3"


def test_more_requests_are_told() -> None:
    more = [*step(3), Request(ALLOC, 4, 8), Request(ALLOC, 5, 8)]
    found = fit([sample(2, step(2)), sample(3, more)])
    assert isinstance(found, Mismatch)
    assert found.reason == "7 requests at 2, 9 at 3"


def test_frees_in_another_order_are_alike() -> None:
    """Autocast drops its casts in the order of a hash."""

    def requests(order: Sequence[int]) -> list[Request]:
        return [
            *(Request(ALLOC, block, 512) for block in range(5)),
            *(Request(FREE, block, 512) for block in order),
            Request(ALLOC, 5, 512),
        ]

    found = fitted(sample(2, requests([0, 1, 2, 3])), sample(3, requests([2, 0, 3, 1])))
    assert found.is_constant


def with_scratch(batch: int, scratch_bytes: int | None) -> list[Request]:
    """A convolution: its output, and a workspace where the engine of this batch wants one."""
    workspace = [] if scratch_bytes is None else [
        Request(ALLOC, 1, scratch_bytes), Request(FREE, 1, scratch_bytes)
    ]  # fmt: skip
    return [Request(ALLOC, 0, 100 * batch), *workspace, Request(ALLOC, 2, 50 * batch)]


def test_scratch_that_one_run_lacks_is_that_of_the_nearest() -> None:
    found = fitted(sample(8, with_scratch(8, None)), sample(80, with_scratch(80, 4096)))
    assert sizes(found, 10) == {0: 1000, 2: 500}
    assert sizes(found, 70) == {0: 7000, 1: 4096, 2: 3500}
    assert found.at(70).optional == frozenset()
    assert found.has_scratch_of_its_own


def test_scratch_of_another_engine_keeps_its_size() -> None:
    """It fell, or grew faster than the batch: no line goes through both."""
    for small, large in ((9000, 4096), (10, 4096)):
        found = fitted(sample(8, with_scratch(8, small)), sample(80, with_scratch(80, large)))
        assert sizes(found, 1000)[1] == large
        assert found.has_scratch_of_its_own


def test_scratch_that_grows_with_the_batch_follows_it() -> None:
    found = fitted(sample(8, with_scratch(8, 180)), sample(80, with_scratch(80, 900)))
    assert sizes(found, 1000)[1] == 100 + 10 * 1000
    assert not found.has_scratch_of_its_own


def test_a_workspace_can_be_done_without_where_one_run_knows_it() -> None:
    samples = (sample(8, with_scratch(8, 180), [1]), sample(80, with_scratch(80, 90)))
    assert fitted(*samples).at(8).optional == {1}
    assert fitted(*samples).at(80).optional == {1}


def test_scratch_within_scratch_is_scratch() -> None:
    """A reduction of two stages at large batches, with the free of something else between."""
    plain = [
        Request(ALLOC, 0, 80), Request(ALLOC, 1, 8), Request(FREE, 0, 80), Request(ALLOC, 2, 8)
    ]  # fmt: skip
    staged = [
        Request(ALLOC, 0, 800), Request(ALLOC, 1, 8), Request(ALLOC, 7, 64),
        Request(ALLOC, 8, 32), Request(FREE, 0, 800), Request(FREE, 8, 32),
        Request(FREE, 7, 64), Request(ALLOC, 2, 8),
    ]  # fmt: skip
    found = fitted(sample(8, plain), sample(80, staged))
    assert sizes(found, 80) == {0: 800, 1: 8, 7: 64, 8: 32, 2: 8}
    assert sizes(found, 8) == {0: 80, 1: 8, 2: 8}


@pytest.mark.parametrize("values", [(3, 3), (4,)])
def test_samples_that_cannot_be_compared(values: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        fit([sample(value, step(value)) for value in values])
