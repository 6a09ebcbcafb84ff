"""Cards from nearly nothing to the most that can be emulated, under every kind of setting."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.emulator.profile import UNLIMITED_BYTES
from planner.errors import UsageError
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES, DeviceMemory
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request, replay
from planner.memory.allocator.settings import AllocatorSettings
from planner.memory.budget import MOST_MEMORY_BYTES, memory_budgets
from planner.memory.forecast import Forecast
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.memory.search import BOUND
from planner.units import GIB, KIB, MIB, TIB
from planner.wire.trace import EventKind

ALLOC, FREE = EventKind.ALLOC, EventKind.FREE
CONFS = (
    "",
    "expandable_segments:True",
    "max_split_size_mb:32",
    "garbage_collection_threshold:0.6",
    "expandable_segments:True,max_split_size_mb:32",
    "per_process_memory_fraction:0.5",
)
SIZES = (
    1 << 20, 64 * MIB, 700 * MIB, GIB, 24 * GIB, 80 * GIB, TIB, 4 * TIB - 1, 8 * TIB,
    MOST_MEMORY_BYTES - 1, MOST_MEMORY_BYTES,
)  # fmt: skip
RESERVES = (
    0, 1, "0%", "99.999%", "50%", "1EiB", 1 << 62, MOST_MEMORY_BYTES, MOST_MEMORY_BYTES - GIB,
)  # fmt: skip


def setting(conf: str) -> AllocatorSettings:
    return parse_alloc_conf(conf, "2.14.1")


def step(batch: int, kib: int = 300) -> list[Request]:
    """Weights, activations and small scratch on two streams, a request as large as all of them."""
    return [
        Request(ALLOC, 0, 3 * MIB),
        Request(ALLOC, 1, 100 + kib * KIB * batch),
        Request(ALLOC, 2, 700, 1),
        Request(ALLOC, 3, kib * KIB * batch, 1),
        Request(FREE, 1),
        Request(ALLOC, 4, 2 * kib * KIB * batch),
        Request(FREE, 3),
        Request(FREE, 2),
        Request(FREE, 4),
    ]


def scaled(kib: int = 300) -> ScaledRequests:
    found = fit([Sample(value=batch, requests=tuple(step(batch, kib))) for batch in (2, 5)])
    assert isinstance(found, ScaledRequests)
    return found


def largest(capacity_bytes: int, total_bytes: int, conf: str) -> int:
    forecast = Forecast(scaled(), setting(conf))
    found = forecast.largest(capacity_bytes=capacity_bytes, total_memory_bytes=total_bytes)
    assert 0 <= found.largest <= BOUND
    return found.largest


@pytest.mark.parametrize("conf", CONFS)
def test_a_larger_card_takes_as_large_a_batch(conf: str) -> None:
    answers = [largest(size, size, conf) for size in SIZES]
    assert answers[0] == 0
    assert answers[-1] > (1 << 12)
    assert all(small <= large for small, large in pairwise(answers))


@given(
    st.sampled_from(SIZES) | st.integers(2 * MIB, MOST_MEMORY_BYTES),
    st.sampled_from(RESERVES) | st.integers(0, MOST_MEMORY_BYTES),
    st.sampled_from(CONFS),
)
@settings(max_examples=150, deadline=None)
def test_a_card_is_refused_or_answered(size: int, reserve: int | str, conf: str) -> None:
    """No size and no reserve raises anything but a UsageError, and what is left is kept to."""
    try:
        (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=size, reserve=reserve)
    except UsageError:
        return
    total = budget.usable_memory_bytes
    batch = largest(budget.capacity_bytes, total, conf)
    if batch:
        found = replay(
            step(batch), setting(conf), capacity_bytes=budget.capacity_bytes,
            total_memory_bytes=total,
        )  # fmt: skip
        assert found.out_of_memory is None
        assert found.peak_reserved_bytes <= budget.capacity_bytes <= total - budget.reserve_bytes


@pytest.mark.parametrize("conf", CONFS)
def test_without_a_limit_any_batch_has_its_place(conf: str) -> None:
    """Also the largest that is searched, of a step that takes a TiB for a sample."""
    requests = step(BOUND, kib=TIB // KIB)
    found = replay(requests, setting(conf), capacity_bytes=WITHOUT_LIMIT_BYTES)
    assert found.out_of_memory is None
    assert found.peak_allocated_bytes > BOUND * 3 * TIB


def test_a_request_beyond_all_addresses_of_a_pebibyte() -> None:
    request = [Request(ALLOC, 1, 1024 * TIB + 2 * MIB)]
    found = replay(request, setting(""), capacity_bytes=1 << 60)
    assert found.peak_reserved_bytes == 1024 * TIB + 2 * MIB


def test_addresses_go_down_and_are_used_again() -> None:
    memory = DeviceMemory(WITHOUT_LIMIT_BYTES)
    first, second, third = (memory.take_addresses(size) for size in (8, 4, 2))
    assert (first, second, third) == (-8, -12, -14)
    memory.give_addresses(first, 8)
    assert memory.take_addresses(2) == -2  # the high end of what is free
    memory.give_addresses(third, 2)
    memory.give_addresses(second, 4)
    assert memory.take_addresses(6) == -8
    assert memory.take_addresses(100) == -108  # as if nothing had been below -8


@pytest.mark.parametrize(
    "asked", [MOST_MEMORY_BYTES + 1, "16.1TiB", "1 EiB", "2EiB", 1 << 70, "9" * 40]
)
def test_more_than_can_be_emulated_is_refused(asked: int | str) -> None:
    with pytest.raises(UsageError, match=r"16\.0 TiB") as caught:
        memory_budgets(["t4"], hardware_db=None, gpu_memory=asked, reserve=0)
    assert repr(asked) in str(caught.value)


def test_the_largest_card_is_one_that_can_be_measured() -> None:
    assert MOST_MEMORY_BYTES <= UNLIMITED_BYTES
