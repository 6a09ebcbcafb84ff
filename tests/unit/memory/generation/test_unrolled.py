"""All tokens of a generation from the first and the last: equal to the run that writes them all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import ReplayResult, replay
from planner.memory.allocator.requests import Request
from planner.memory.generation.unrolled import (
    RECORDED,
    RecordedTokens,
    Unlike,
    Unrolled,
    unrolled,
)
from planner.units import MIB
from planner.wire.trace import EventKind
from tests.unit.generations_by_hand import LAYERS, STEPS, WEIGHT_BYTES, cache_bytes, generation

SETTINGS = parse_alloc_conf("", "2.14.1")


def told(tokens: int, most: int = 1000, **more: int) -> Unrolled | Unlike:
    first = generation(RECORDED, **more)
    last = generation(RECORDED, skipped=tokens - RECORDED, **more)
    return unrolled(first, last, tokens, most)


def in_order(requests: tuple[Request, ...]) -> list[tuple[EventKind, int, int]]:
    """Names the blocks by their order."""
    numbers: dict[int, int] = {}
    for kind, block, _, _ in requests:
        if kind is EventKind.ALLOC:
            numbers[block] = len(numbers)
    return [(kind, numbers[block], size_bytes) for kind, block, size_bytes, _ in requests]


def replayed(requests: tuple[Request, ...]) -> ReplayResult:
    return replay(requests, SETTINGS, capacity_bytes=1 << 40)


@pytest.mark.parametrize("tokens", [11, 12, 33, 64])
def test_the_lasting_requests_are_those_of_the_whole_run(tokens: int) -> None:
    found = told(tokens)
    assert isinstance(found, Unrolled)
    whole = generation(tokens)
    right = in_order(tuple(whole.requests))
    ours = in_order(found.requests)
    assert len(ours) == len(right)
    scratch = {2048, 8192}  # that of the nearer recording
    for (kind, block, size), (right_kind, right_block, right_size) in zip(ours, right, strict=True):
        assert (kind, block) == (right_kind, right_block)
        assert size == right_size or {size, right_size} <= scratch
    assert found.rounds == found.tokens == tokens


def test_the_peaks_are_those_of_the_whole_run() -> None:
    found = told(200)
    assert isinstance(found, Unrolled)
    ours, right = replayed(found.requests), replayed(tuple(generation(200).requests))
    assert ours.peak_allocated_bytes == right.peak_allocated_bytes
    assert ours.peak_reserved_bytes == right.peak_reserved_bytes


def test_the_peak_is_that_of_the_last_token_also_where_tokens_are_left_out() -> None:
    """By hand: weights, a full cache, its last layer before the copy, and small tensors.

    The allocator leaves the end of a block whole where it is below 1 MiB.
    """
    found = told(4000, most=40)
    assert isinstance(found, Unrolled)
    assert found.rounds == 40
    assert found.tokens == 4000
    caches = LAYERS * cache_bytes(4000) + cache_bytes(3999)
    peak = replayed(found.requests).peak_allocated_bytes
    assert WEIGHT_BYTES + caches < peak < WEIGHT_BYTES + caches + 200_000 + 3 * MIB
    right = replayed(tuple(generation(4000).requests)).peak_allocated_bytes
    assert peak == pytest.approx(right, abs=MIB)


def test_each_row_names_the_row_that_it_is_made_after() -> None:
    first, last = generation(RECORDED), generation(RECORDED, skipped=20)
    found = unrolled(first, last, 20 + RECORDED, 1000)
    assert isinstance(found, Unrolled)
    for row in found.rows:
        like = (last if row.is_of_last else first).requests[row.place]
        assert like.kind is row.request.kind
    assert sum(row.is_of_last for row in found.rows) > sum(
        not row.is_of_last for row in found.rows[-50:]
    )


def test_sizes_on_no_line_are_told_apart() -> None:
    found = told(33, jump=512)
    assert found == Unlike(reason="a tensor does not grow by the same size with each token")


def test_a_loop_that_was_not_seen_or_ended_early_is_told_apart() -> None:
    first = generation(RECORDED)
    without = replace(first, rounds=[])
    assert unrolled(without, without, 20, 100) == Unlike(
        reason="the loop that writes tokens was not seen"
    )
    short = generation(RECORDED - 1)
    assert unrolled(short, short, 20, 100) == Unlike(
        reason="the loop has written another number of tokens than it was asked for"
    )


def test_a_round_that_makes_more_requests_than_another_is_told_apart() -> None:
    first, last = generation(RECORDED), generation(RECORDED, skipped=20)
    begin = last.rounds[0][RECORDED - 1]
    kept = Request(EventKind.ALLOC, 999_999, 77)
    longer = RecordedTokens(
        requests=(*last.requests[:begin], kept, *last.requests[begin:]),
        rounds=[[at if at <= begin else at + 1 for at in one] for one in last.rounds],
    )
    found = unrolled(first, longer, 20 + RECORDED, 100)
    assert isinstance(found, Unlike)
    assert "requests in one round" in found.reason or "alloc" in found.reason


def test_a_tensor_that_is_steady_in_both_runs_has_the_larger_size() -> None:
    """As the indices of beams, which have a place for each token after the prompt of the run."""
    first = generation(RECORDED, steady=900)
    last = generation(RECORDED, skipped=20, steady=100)
    found = unrolled(first, last, 20 + RECORDED, 1000)
    assert isinstance(found, Unrolled)
    sizes = [row.request.size_bytes for row in found.rows]
    assert sizes.count(900) == STEPS * (20 + RECORDED - 1)
    assert 100 not in sizes


def test_every_step_is_there() -> None:
    found = told(40)
    assert isinstance(found, Unrolled)
    sizes = [row.request.size_bytes for row in found.rows if row.request.size_bytes]
    assert sizes.count(cache_bytes(40)) == STEPS * LAYERS
