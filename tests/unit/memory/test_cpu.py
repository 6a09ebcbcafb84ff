"""RAM of a step on the CPU, by hand arithmetic."""

from __future__ import annotations

from planner.memory.allocator.replay import Request
from planner.memory.cpu import (
    KEPT_FREE_BYTES,
    CpuForecast,
    CpuSample,
    live_bytes_of,
    mapped_bytes,
    peak_live_bytes,
)
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.units import MIB
from planner.wire.trace import CpuReading, EventKind

ALLOC, FREE = EventKind.ALLOC, EventKind.FREE
PAGE = 4096


def program(batch: int) -> list[Request]:
    """10 MiB of weights for good; 1 MiB a sample, then as much again, one after the other gone."""
    return [
        Request(ALLOC, 0, 10 * MIB),
        Request(ALLOC, 1, batch * MIB),
        Request(ALLOC, 2, batch * MIB),
        Request(FREE, 1),
        Request(FREE, 2),
        Request(ALLOC, 3, 4 * MIB),
        Request(FREE, 3),
    ]


def scaled() -> ScaledRequests:
    found = fit([Sample(value=batch, requests=tuple(program(batch))) for batch in (2, 3)])
    assert isinstance(found, ScaledRequests)
    return found


def sample(batch: int, around_bytes: int) -> CpuSample:
    live_bytes = peak_live_bytes(program(batch))
    return CpuSample(
        batch_size=batch,
        reading=CpuReading(
            base_bytes=300 * MIB,
            peak_bytes=live_bytes + around_bytes,
            file_bytes=30 * MIB,
            data_bytes=800 * MIB,
            end_data_bytes=850 * MIB,
        ),
    )


def test_a_large_block_is_a_whole_number_of_pages_and_a_small_one_is_not() -> None:
    assert mapped_bytes(1000) == 1000
    assert mapped_bytes(128 * 1024 - 1) == 128 * 1024 - 1
    assert mapped_bytes(128 * 1024) == 128 * 1024 + PAGE
    assert mapped_bytes(MIB + 1) == MIB + PAGE


def test_the_peak_of_live_blocks() -> None:
    assert peak_live_bytes(program(5)) == 20 * MIB + 3 * PAGE
    assert peak_live_bytes([Request(FREE, 9), Request(ALLOC, 1, 100)]) == 100


def test_what_lies_around_stays_and_the_rest_grows() -> None:
    forecast = CpuForecast(scaled=scaled(), samples=(sample(8, 320 * MIB), sample(64, 324 * MIB)))
    assert forecast.resident_bytes(100) == 210 * MIB + 3 * PAGE + 324 * MIB


def test_what_was_seen_to_grow_grows_on() -> None:
    forecast = CpuForecast(scaled=scaled(), samples=(sample(10, 300 * MIB), sample(20, 330 * MIB)))
    assert forecast.around_bytes(20) == 330 * MIB
    assert forecast.around_bytes(40) == 390 * MIB
    assert forecast.around_bytes(12) == 330 * MIB


def test_the_largest_batch_is_the_last_that_stays_within() -> None:
    forecast = CpuForecast(scaled=scaled(), samples=(sample(8, 300 * MIB),))
    answer = forecast.largest(1000 * MIB)
    within = 1000 * MIB - KEPT_FREE_BYTES
    assert forecast.resident_bytes(answer) <= within < forecast.resident_bytes(answer + 1)
    assert answer == (1000 - 4 - 300 - 10) // 2 - 1  # three pages are missing for 343
    assert forecast.largest(1000 * MIB, bound=100) == 100
    assert forecast.largest(300 * MIB) == 0


def test_what_lives_after_the_last_request() -> None:
    assert live_bytes_of(program(5)) == (20 * MIB + 3 * PAGE, 10 * MIB + PAGE)


def test_the_limit_counts_what_is_mapped_at_the_peak() -> None:
    """850 MiB are mapped at the end of the step; where tensors peak there are two of 8 MiB more.

    326 MiB were resident at that time.
    """
    forecast = CpuForecast(scaled=scaled(), samples=(sample(8, 300 * MIB),))
    mapped_bytes_at_peak = (850 + 8 + 8) * MIB + 2 * PAGE
    resident_bytes = (10 + 8 + 8 + 300) * MIB + 3 * PAGE
    limit_bytes = forecast.data_limit_bytes(1000 * MIB)
    assert limit_bytes == 1000 * MIB + mapped_bytes_at_peak - resident_bytes
