"""Requests at a value, computed in native code: those of ScaledRequests.at()."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.emulator import replay_library
from planner.emulator.cache import VARIABLE
from planner.memory.allocator.replay import Request
from planner.memory.packed_scaling import PackedLayout, packed_at
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.wire.trace import EventKind

ROWS = st.lists(
    st.tuples(st.integers(0, 1 << 34), st.integers(0, 1 << 20), st.integers(0, 1000)), min_size=1
)


@pytest.fixture(scope="module", autouse=True)
def _library(device_cache: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(device_cache))
        assert replay_library.library() is not None, "the tests need a C++ compiler"


def sample(value: int, rows: list[tuple[int, int, int]]) -> Sample:
    """Blocks whose sizes are parabolas of the value; every third is a library's scratch."""
    requests = []
    for block, (fixed, slope, square) in enumerate(rows):
        size_bytes = fixed + slope * value + square * value * value
        requests.append(Request(EventKind.ALLOC, block, size_bytes, block % 2))
        if block % 3 == 2:
            requests.append(Request(EventKind.FREE, block, size_bytes))
    libraries = frozenset(range(2, len(rows), 3))
    return Sample(value=value, requests=tuple(requests), workspaces=libraries)


@settings(max_examples=200, deadline=None)
@example(rows=[(0, 0, 0)], values=[1, 2, 5000], degree=2, wanted=[15189022])
@given(
    rows=ROWS,
    values=st.lists(st.integers(1, 5000), min_size=3, max_size=5, unique=True),
    degree=st.sampled_from([1, 2]),
    wanted=st.lists(st.integers(1, 1 << 24), min_size=1, max_size=4),
)
def test_both_give_the_same_requests(
    rows: list[tuple[int, int, int]], values: list[int], degree: int, wanted: list[int]
) -> None:
    scaled = fit([sample(value, rows) for value in values], degree)
    assert isinstance(scaled, ScaledRequests)
    known: dict[int, PackedLayout | None] = {}
    for value in (*wanted, *values):
        predicted = scaled.at(value)
        columns = packed_at(scaled, value, known)
        if columns is None:
            rule = scaled.rule_at(value)
            sizes_bytes = [request.size_bytes for request in predicted.requests]
            # A sum of weights times sizes may have more than 63 bits though the size has not.
            assert (
                max(sizes_bytes) > 1 << 50 or max(map(abs, (*rule.weights, rule.whole))) > 1 << 50
            )
        else:
            assert tuple(columns.requests()) == predicted.requests
            assert columns.optional_blocks() == predicted.optional


def test_a_size_of_many_digits_is_left_to_python() -> None:
    scaled = fit([sample(value, [(1 << 70, 1, 0)]) for value in (2, 3)])
    assert isinstance(scaled, ScaledRequests)
    assert packed_at(scaled, 5, {}) is None
    assert scaled.at(5).requests[0].size_bytes == (1 << 70) + 5
