"""What holds after every request, whatever the requests and the options are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.allocator.allocator import CachingAllocator, PendingFree
from planner.memory.allocator.blocks import Block
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.settings import AllocatorSettings, TorchVersion
from planner.units import KIB, MIB

CAPACITY_BYTES = 400 * MIB
SIZES = st.one_of(
    st.integers(1, 2 * MIB),
    st.integers(MIB, 60 * MIB),
    st.sampled_from([512, 100 * KIB, 3 * MIB, 8 * MIB, 12 * MIB, 24 * MIB, 64 * MIB]),
)
# What is asked, a size or the number of a block, and a stream.
REQUESTS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), SIZES, st.integers(0, 1)),
        st.tuples(
            st.sampled_from(["free", "request", "complete", "empty"]),
            st.integers(0, 1 << 30),
            st.just(0),
        ),
    ),
    max_size=80,
)
CONFS = st.sampled_from(
    [
        "",
        "expandable_segments:True",
        "max_split_size_mb:20",
        "roundup_power2_divisions:4",
        "large_segment_size_mb:32",
        "garbage_collection_threshold:0.3,per_process_memory_fraction:0.9",
        "expandable_segments:True,max_split_size_mb:20",
    ]
)
VERSIONS = st.sampled_from(["2.6.0", "2.12.0", "2.14.1"])  # one for each way to break ties


@dataclass
class Driven:
    """An allocator and what it has given out."""

    allocator: CachingAllocator
    live: list[Block] = field(default_factory=list)
    pending: list[PendingFree] = field(default_factory=list)
    tops: list[int] = field(default_factory=lambda: [0, 0, 0])

    def request(self, kind: str, number: int, stream: int) -> None:
        if kind == "allocate":
            block = self.allocator.allocate(number, stream)
            if block is not None:
                assert block.size_bytes >= number
                self.live.append(block)
        elif kind == "empty":
            self.allocator.empty_cache()
        elif kind == "complete" and self.pending:
            self.allocator.complete_free(self.pending.pop(number % len(self.pending)))
        elif kind == "free" and self.live:
            self.allocator.free(self.live.pop(number % len(self.live)))
        elif kind == "request" and self.live:
            block = self.live.pop(number % len(self.live))
            self.pending.append(self.allocator.request_free(block))
        self.tops = [max(pair) for pair in zip(self.tops, self.figures(), strict=True)]

    def figures(self) -> tuple[int, int, int]:
        found = self.allocator
        return found.allocated_bytes, found.active_bytes, found.reserved_bytes


def segments_of(allocator: CachingAllocator, live: list[Block]) -> list[list[Block]]:
    """The blocks of each segment, from its begin to its end."""
    free = [block for home in allocator._homes.values() for block in [*home.blocks, *home.unmapped]]
    heads = {id(block): block for block in [*free, *live] if block.previous is None}
    segments = []
    for block in heads.values():
        segment: list[Block] = []
        following: Block | None = block
        while following is not None:
            segment.append(following)
            following = following.next
        segments.append(segment)
    reached = {id(block) for segment in segments for block in segment}
    assert reached == {id(block) for block in [*free, *live]}
    return segments


def check(driven: Driven) -> None:
    allocator = driven.allocator
    held = [*driven.live, *(pending.block for pending in allocator._pending)]
    segments = segments_of(allocator, held)
    for segment in segments:
        for before, after in pairwise(segment):
            assert after.previous is before
            assert before.address + before.size_bytes == after.address
            # Free neighbours have joined, unless memory lies behind one of them alone.
            assert before.in_use or after.in_use or before.mapped is not after.mapped
    blocks = sorted(
        (block for segment in segments for block in segment), key=lambda block: block.address
    )
    for before, after in pairwise(blocks):
        assert before.address + before.size_bytes <= after.address
    assert all(block.in_use and block.mapped for block in held)
    allocated, active, reserved = driven.figures()
    assert allocated == sum(block.size_bytes for block in driven.live)
    assert active == sum(block.size_bytes for block in held)
    assert reserved == sum(block.size_bytes for block in blocks if block.mapped)
    assert allocated <= active <= reserved <= allocator._device.charged_bytes <= CAPACITY_BYTES
    for home in allocator._homes.values():
        keys = [entry[:3] for entry in home.entries]
        assert keys == sorted(set(keys))
        assert keys == [(b.size_bytes, b.order, b.address) for b in home.blocks]
        assert not any(block.in_use for block in [*home.blocks, *home.unmapped])


def settings_of(conf: str, version: str) -> AllocatorSettings:
    """The options of new versions with the rules of `version`."""
    return replace(parse_alloc_conf(conf, "2.14.1"), version=TorchVersion.parse(version))


@settings(max_examples=150, deadline=None)
@given(requests=REQUESTS, conf=CONFS, version=VERSIONS)
def test_the_books_are_right_after_every_request(
    requests: list[tuple[str, int, int]], conf: str, version: str
) -> None:
    driven = Driven(CachingAllocator(settings_of(conf, version), capacity_bytes=CAPACITY_BYTES))
    for request in requests:
        driven.request(*request)
        check(driven)
    allocator = driven.allocator
    # A peak can lie within a request: reserved is highest before cached memory goes back.
    peaks = [allocator.peak_allocated_bytes, allocator.peak_active_bytes]
    assert peaks == driven.tops[:2]
    assert driven.tops[2] <= allocator.peak_reserved_bytes <= CAPACITY_BYTES
    for block in driven.live:
        allocator.free(block)
    allocator.empty_cache()
    assert driven.figures() == (0, 0, 0)
    assert allocator._device.charged_bytes == 0
    assert (allocator._device._lowest, allocator._device._begins) == (0, [])  # all are free


@settings(max_examples=50, deadline=None)
@given(requests=REQUESTS, conf=CONFS)
def test_the_same_requests_give_the_same_figures(
    requests: list[tuple[str, int, int]], conf: str
) -> None:
    both = [
        Driven(CachingAllocator(settings_of(conf, "2.14.1"), capacity_bytes=CAPACITY_BYTES))
        for _ in range(2)
    ]
    for request in requests:
        for driven in both:
            driven.request(*request)
        assert both[0].figures() == both[1].figures()
