"""The allocator against lists worked out by hand from the rules of torch's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.errors import UsageError
from planner.memory.allocator.allocator import CachingAllocator
from planner.memory.allocator.blocks import Block
from planner.memory.allocator.options import parse_alloc_conf
from planner.units import GIB, KIB, MIB

TORCH = "2.14.1"


def allocator(
    conf: str = "", capacity_bytes: int = GIB, torch: str = TORCH, fraction: float | None = None
) -> CachingAllocator:
    settings = parse_alloc_conf(conf, torch)
    if fraction is not None:
        settings = replace(settings, memory_fraction=fraction)
    return CachingAllocator(settings, capacity_bytes=capacity_bytes)


def served(block: Block | None) -> Block:
    assert block is not None, "out of memory"
    return block


def allocate(target: CachingAllocator, *sizes: int, stream: int = 0) -> list[Block]:
    return [served(target.allocate(size, stream)) for size in sizes]


@pytest.mark.parametrize(
    ("size", "block", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        # From 10 MiB on the segment is made for the request, in steps of 2 MiB.
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (33 * MIB, 34 * MIB, 34 * MIB),  # 1 MiB is too little to split off
    ],
)
def test_a_request_is_rounded_and_gets_a_segment(size: int, block: int, segment: int) -> None:
    empty = allocator()
    (found,) = allocate(empty, size)
    assert (found.size_bytes, empty.allocated_bytes) == (block, block)
    assert empty.reserved_bytes == segment


def test_the_rest_of_a_small_segment_is_used_to_the_last_512_bytes() -> None:
    small = allocator()
    blocks = allocate(small, *[512] * 4096)
    assert small.reserved_bytes == small.allocated_bytes == 2 * MIB
    assert [b.address - blocks[0].address for b in blocks] == [512 * i for i in range(4096)]
    allocate(small, 1)
    assert small.reserved_bytes == 4 * MIB


def test_the_rest_of_a_large_block_is_split_off_above_1_mib_only() -> None:
    large = allocator()
    for whole, request, taken in ((24, 23 * MIB, 24 * MIB), (24, 23 * MIB - 512, 23 * MIB - 512)):
        (block,) = allocate(large, whole * MIB)
        large.free(block)
        (block,) = allocate(large, request)
        assert block.size_bytes == taken
        large.free(block)
    assert large.reserved_bytes == 24 * MIB


def test_the_smallest_block_that_fits_is_taken() -> None:
    target = allocator()
    blocks = allocate(target, 40 * MIB, 20 * MIB, 30 * MIB)
    addresses = [block.address for block in blocks]
    for block in blocks:
        target.free(block)
    (found,) = allocate(target, 21 * MIB)
    assert found.address == addresses[2]


@pytest.mark.parametrize(
    ("torch", "reused"),
    [("2.6.0", 2), ("2.11.0", 2), ("2.12.0", 0), ("2.14.1", 0)],
)
def test_equal_blocks_go_by_the_rule_of_the_version(torch: str, reused: int) -> None:
    # A new segment lies below the ones before it: the last is the lowest, the first the oldest.
    target = allocator(torch=torch)
    blocks = allocate(target, 64 * MIB, 64 * MIB, 64 * MIB)
    addresses = [block.address for block in blocks]
    assert addresses == sorted(addresses, reverse=True)
    for block in blocks[1], blocks[2], blocks[0]:
        target.free(block)
    (found,) = allocate(target, 64 * MIB)
    assert found.address == addresses[reused]


@pytest.mark.parametrize(("torch", "reused"), [("2.6.0", 1), ("2.12.0", 0), ("2.14.1", 1)])
def test_only_torch_2_12_numbers_the_blocks_within_a_segment(torch: str, reused: int) -> None:
    target = allocator(torch=torch)
    # Of one 20 MiB segment: what is cut off is new, so the lowest block is not the oldest.
    low, hole, high, *_ = allocate(target, 4 * MIB, 4 * MIB, 4 * MIB, 8 * MIB)
    target.free(low)
    target.free(hole)
    low, hole = allocate(target, 2 * MIB, 6 * MIB)  # cut from 8 MiB: low is now the youngest
    low_bytes, high_bytes = low.address, high.address
    target.free(high)
    high, rest = allocate(target, 2 * MIB, 2 * MIB)  # rest is the oldest part of the segment
    assert rest.address == high_bytes + 2 * MIB
    target.free(low)
    target.free(rest)
    (found,) = allocate(target, 2 * MIB)
    assert found.address == (rest.address if not reused else low_bytes)


def test_free_neighbours_join() -> None:
    target = allocator()
    first, second, third, fourth = allocate(target, *[5 * MIB] * 4)
    assert target.reserved_bytes == 20 * MIB
    for block in (first, third, second):
        target.free(block)
    (joined,) = allocate(target, 15 * MIB)
    assert (joined.address, target.reserved_bytes) == (first.address, 20 * MIB)
    target.free(joined)
    target.free(fourth)
    target.empty_cache()
    assert target.reserved_bytes == 0


def test_streams_and_pools_do_not_share() -> None:
    for size in (MIB, 5 * MIB):
        target = allocator()
        (block,) = allocate(target, size, stream=1)
        target.free(block)
        before = target.reserved_bytes
        allocate(target, size, stream=2)
        assert target.reserved_bytes == 2 * before
        allocate(target, size, stream=1)
        assert target.reserved_bytes == 2 * before
    # A small request does not take a large free block.
    target = allocator()
    (block,) = allocate(target, 20 * MIB)
    target.free(block)
    allocate(target, MIB)
    assert target.reserved_bytes == 22 * MIB


def test_cached_segments_are_given_back_when_the_card_is_full() -> None:
    target = allocator(capacity_bytes=100 * MIB)
    first, second = allocate(target, 40 * MIB, 40 * MIB)
    target.free(first)
    (third,) = allocate(target, 60 * MIB)
    assert target.alloc_retries == 1
    assert (target.reserved_bytes, target.peak_reserved_bytes) == (100 * MIB, 100 * MIB)
    target.free(second)
    target.free(third)
    assert target.allocate(102 * MIB) is None
    assert target.alloc_retries == 2
    assert (target.allocated_bytes, target.reserved_bytes) == (0, 0)
    assert target.peak_allocated_bytes == 100 * MIB


def test_a_segment_with_one_live_block_stays() -> None:
    target = allocator(capacity_bytes=30 * MIB)
    live, dead = allocate(target, 2 * MIB, 8 * MIB)
    target.free(dead)
    assert target.allocate(12 * MIB) is not None  # the rest of the 20 MiB segment
    assert target.allocate(12 * MIB) is None
    assert target.reserved_bytes == 20 * MIB
    target.free(live)


def test_a_card_gives_whole_pages() -> None:
    target = allocator("large_segment_size_mb:11", capacity_bytes=24 * MIB - 1)
    allocate(target, 2 * MIB)
    assert target.reserved_bytes == 11 * MIB  # of which the card has given 12
    assert target.allocate(10 * MIB + 512) is None
    assert target.allocate(9 * MIB, stream=1) is None


def test_blocks_above_max_split_are_neither_split_nor_given_to_small_requests() -> None:
    target = allocator("max_split_size_mb:100")
    (large,) = allocate(target, 200 * MIB)
    target.free(large)
    (small,) = allocate(target, 50 * MIB)
    assert target.reserved_bytes == 250 * MIB
    (again,) = allocate(target, 181 * MIB)  # within 20 MiB: taken whole
    assert (again.address, again.size_bytes) == (large.address, 200 * MIB)
    target.free(again)
    allocate(target, 180 * MIB)
    assert target.reserved_bytes == 430 * MIB
    target.free(small)


def test_a_block_of_just_max_split_is_oversize() -> None:
    target = allocator("max_split_size_mb:100")
    target.free(allocate(target, 100 * MIB)[0])
    allocate(target, 50 * MIB)
    assert target.reserved_bytes == 150 * MIB


def test_max_split_gives_back_one_oversize_block_that_is_large_enough() -> None:
    target = allocator("max_split_size_mb:100", capacity_bytes=1000 * MIB)
    blocks = allocate(target, 150 * MIB, 300 * MIB, 500 * MIB)
    for block in blocks:
        target.free(block)
    allocate(target, 220 * MIB)
    assert target.reserved_bytes == (150 + 500 + 220) * MIB
    assert target.alloc_retries == 0


def test_max_split_gives_back_several_oversize_blocks_largest_first() -> None:
    target = allocator("max_split_size_mb:100", capacity_bytes=1000 * MIB)
    for block in allocate(target, 60 * MIB, 200 * MIB, 300 * MIB, 400 * MIB):
        target.free(block)
    allocate(target, 650 * MIB)
    assert target.reserved_bytes == (60 + 200 + 650) * MIB
    assert target.alloc_retries == 0


def test_garbage_collection_gives_back_the_oldest() -> None:
    target = allocator("garbage_collection_threshold:0.5", capacity_bytes=1000 * MIB, fraction=0.8)
    old, young = allocate(target, 150 * MIB, 160 * MIB)
    target.free(old)
    for _ in range(3):  # searches of the large pool are the clock
        target.free(allocate(target, 20 * MIB, stream=1)[0])
    target.free(young)
    allocate(target, 200 * MIB)
    assert target.reserved_bytes == (150 + 160 + 20 + 200) * MIB  # 330 were below 0.5 * 800
    allocate(target, 100 * MIB, stream=2)
    # 530 are 130 above: the oldest goes, 150 MiB, and the rest stays.
    assert target.reserved_bytes == (160 + 20 + 200 + 100) * MIB


def test_small_requests_do_not_age_large_blocks() -> None:
    conf = "garbage_collection_threshold:0.501"
    target = allocator(conf, capacity_bytes=1000 * MIB, fraction=1 - 2**-20)
    first, second = allocate(target, 150 * MIB, 350 * MIB)
    target.free(first)
    allocate(target, *[512] * 10)  # 502 MiB are reserved now, above 501
    target.free(second)
    allocate(target, 100 * MIB, stream=1)
    assert target.reserved_bytes == (2 + 100) * MIB  # of one age, both go


@pytest.mark.parametrize(("torch", "reserved"), [("2.6.0", 80), ("2.14.1", 180)])
def test_garbage_collection_needs_a_fraction(torch: str, reserved: int) -> None:
    """In new versions a fraction of 1 is no fraction."""
    for fraction, expected in ((None, 180), (1.0, reserved)):
        target = allocator(
            "garbage_collection_threshold:0.01",
            capacity_bytes=1000 * MIB,
            torch=torch,
            fraction=fraction,
        )
        target.free(allocate(target, 100 * MIB)[0])
        allocate(target, 80 * MIB, stream=1)
        assert target.reserved_bytes == expected * MIB


def test_a_fraction_is_a_limit_like_the_card() -> None:
    target = allocator(capacity_bytes=1000 * MIB, fraction=0.5)
    (first,) = allocate(target, 300 * MIB)
    target.free(first)
    allocate(target, 400 * MIB)
    assert (target.reserved_bytes, target.alloc_retries) == (400 * MIB, 1)
    assert target.allocate(102 * MIB) is None
    # Of a small request it is the segment that must be allowed.
    assert allocator(capacity_bytes=1000 * MIB, fraction=0.02).allocate(2 * MIB) is not None
    assert allocator(capacity_bytes=1000 * MIB, fraction=0.019).allocate(2 * MIB) is None


def test_a_rejection_gives_nothing_back() -> None:
    target = allocator("throw_on_cudamalloc_oom:True", capacity_bytes=100 * MIB)
    (first,) = allocate(target, 60 * MIB)
    target.free(first)
    assert target.allocate(80 * MIB) is None
    assert (target.reserved_bytes, target.alloc_retries) == (60 * MIB, 0)


def test_expandable_segments_grow_page_by_page() -> None:
    target = allocator("expandable_segments:True")
    first, second = allocate(target, 12 * MIB, 33 * MIB)
    assert second.address == first.address + 12 * MIB
    assert target.reserved_bytes == 60 * MIB
    (third,) = allocate(target, 16 * MIB)
    assert third.address == second.address + 33 * MIB
    assert target.reserved_bytes == 80 * MIB
    (small,) = allocate(target, 700 * KIB)
    assert target.reserved_bytes == 82 * MIB
    target.free(small)


def test_expandable_segments_give_back_whole_pages_and_fill_the_gap() -> None:
    target = allocator("expandable_segments:True", capacity_bytes=100 * MIB)
    first, second, third = allocate(target, 30 * MIB, 30 * MIB, 20 * MIB)
    assert target.reserved_bytes == 80 * MIB
    begin = first.address
    target.free(second)
    target.empty_cache()  # 30..60 MiB was free: the one page within, 40..60
    assert target.reserved_bytes == 60 * MIB
    (again,) = allocate(target, 28 * MIB)
    assert (again.address, target.reserved_bytes) == (begin + 30 * MIB, 80 * MIB)
    for block in (first, third, again):
        target.free(block)
    (whole,) = allocate(target, 100 * MIB)
    assert (whole.address, target.reserved_bytes) == (begin, 100 * MIB)
    assert target.allocate(2 * MIB) is None
    target.free(whole)
    target.empty_cache()
    assert target.reserved_bytes == 0


def test_a_block_that_can_grow_is_taken_last() -> None:
    target = allocator("expandable_segments:True")
    first, _ = allocate(target, 12 * MIB, 18 * MIB)  # 10 MiB are left at the end
    begin = first.address
    target.free(first)
    (found,) = allocate(target, 8 * MIB)
    assert (found.address, target.reserved_bytes) == (begin, 40 * MIB)


def test_an_expandable_segment_has_addresses_for_nine_eighths_of_the_card() -> None:
    settings = parse_alloc_conf("expandable_segments:True", TORCH)
    target = CachingAllocator(settings, capacity_bytes=GIB, total_memory_bytes=100 * MIB)
    first, second, third = allocate(target, 60 * MIB, 60 * MIB, 20 * MIB)  # 112.5, in whole pages
    assert second.address == first.address + 60 * MIB
    assert third.address == first.address - 120 * MIB


def test_a_block_lies_in_one_expandable_segment() -> None:
    conf = "expandable_segments:True,expandable_segments_reserve:0.1"
    target = allocator(conf, capacity_bytes=500 * MIB, torch="2.15.0")  # 50 MiB: three pages of 20
    first, second = allocate(target, 45 * MIB, 60 * MIB)
    assert second.address == first.address - 60 * MIB
    assert target.reserved_bytes == 120 * MIB
    target.free(second)
    assert target.allocate(61 * MIB) is None
    assert target.alloc_retries == 1  # as after any other failure, cached memory went back first
    assert target.reserved_bytes == 60 * MIB


def test_a_full_card_keeps_what_an_expandable_segment_has_mapped() -> None:
    target = allocator("expandable_segments:True", capacity_bytes=50 * MIB)
    (first,) = allocate(target, 30 * MIB)
    assert target.allocate(30 * MIB) is None
    assert (target.reserved_bytes, target.alloc_retries) == (40 * MIB, 1)
    assert allocate(target, 10 * MIB)[0].address == first.address + 30 * MIB


def test_memory_in_use_on_another_stream_is_active_until_that_is_done() -> None:
    target = allocator(capacity_bytes=100 * MIB)
    (block,) = allocate(target, 60 * MIB)
    pending = target.request_free(block)
    assert (target.allocated_bytes, target.active_bytes) == (0, 60 * MIB)
    allocate(target, 30 * MIB)
    assert (target.reserved_bytes, target.peak_active_bytes) == (90 * MIB, 90 * MIB)
    assert target.peak_allocated_bytes == 60 * MIB
    target.complete_free(pending)
    assert (target.active_bytes, target.reserved_bytes) == (30 * MIB, 90 * MIB)


def test_when_memory_is_short_the_allocator_waits_for_other_streams() -> None:
    target = allocator(capacity_bytes=100 * MIB)
    (block,) = allocate(target, 60 * MIB)
    pending = target.request_free(block)
    allocate(target, 70 * MIB)
    assert (target.active_bytes, target.alloc_retries) == (70 * MIB, 1)
    target.complete_free(pending)  # is over already
    assert (target.active_bytes, target.reserved_bytes) == (70 * MIB, 70 * MIB)


def test_a_late_completion_does_not_free_what_came_after() -> None:
    target = allocator()
    first, second = allocate(target, 512, 512)
    late = target.request_free(first)
    target.empty_cache()
    (again,) = allocate(target, 512)  # in the place of the first
    assert again.address == second.address - 512
    target.request_free(again)
    target.complete_free(late)
    assert (target.allocated_bytes, target.active_bytes) == (512, 1024)


def test_peaks_can_begin_anew() -> None:
    target = allocator()
    (block,) = allocate(target, 64 * MIB)
    target.free(block)
    target.reset_peaks()
    assert (target.peak_allocated_bytes, target.peak_active_bytes) == (0, 0)
    assert target.peak_reserved_bytes == 64 * MIB


def test_the_drivers_pools_cannot_be_replayed() -> None:
    with pytest.raises(UsageError, match="cudaMallocAsync"):
        allocator("backend:cudaMallocAsync")
