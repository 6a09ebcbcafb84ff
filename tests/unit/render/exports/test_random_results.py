"""Exports of random runs: what adds up in a timeline adds up in each format."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.levels import replay_levels
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import requests_of
from planner.memory.timeline import recorded_timeline
from planner.render.exports.chrome_trace import StepTimes, chrome_trace
from planner.render.exports.memory_snapshot import snapshot
from planner.render.exports.speedscope import speedscope
from planner.render.exports.tables import COLUMNS, parquet
from planner.render.exports.tables import csv as as_csv
from planner.results.step_time import StepTime
from planner.results.timelines import BatchFigures
from planner.timing.bottleneck import Bottleneck, Bound
from planner.units import MIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

ORIGINS = (
    Origin(),
    Origin(module="a.b", operator="aten::mm", source="/x/net.py:7"),
    Origin(module="", tensor="w"),
    Origin(module='with "quotes", commas\nand lines', operator="aten::add"),
)
SIZES = st.one_of(st.integers(1, 4096), st.integers(1, 64 * MIB))
LEVELS = ("change_bytes", "allocated_bytes", "reserved_bytes")
PHASES = (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER_STEP)


@st.composite
def traces(draw: st.DrawFn) -> AllocationTrace:
    """Blocks that come and go, on two streams, in the phases of up to two steps."""
    events: list[AllocationEvent] = []
    live: dict[int, int] = {}
    places = [(0, Phase.BUILD), *((step, phase) for step in (1, 2) for phase in PHASES)]
    at = 0
    for block in range(draw(st.integers(1, 25))):
        at = min(at + draw(st.integers(0, 1)), len(places) - 1)
        step, phase = places[at]
        action = draw(st.sampled_from(("alloc", "alloc", "free", "empty")))
        common: dict[str, Any] = {"step": step, "phase": phase}
        if action == "alloc" or not live:
            live[block] = draw(SIZES)
            event = AllocationEvent(
                kind=EventKind.ALLOC,
                block=block,
                size_bytes=live[block],
                stream=draw(st.integers(0, 1)),
                category=draw(st.sampled_from(TensorCategory)),
                origin=draw(st.integers(0, len(ORIGINS) - 1)),
                **common,
            )
        elif action == "free":
            gone = draw(st.sampled_from(sorted(live)))
            size = live.pop(gone)
            event = AllocationEvent(kind=EventKind.FREE, block=gone, size_bytes=size, **common)
        else:
            event = AllocationEvent(kind=EventKind.EMPTY_CACHE, block=0, size_bytes=0, **common)
        events.append(event)
    return AllocationTrace(events=tuple(events), origins=ORIGINS)


def figures_of(trace: AllocationTrace, setting: str = "") -> BatchFigures:
    levels = replay_levels(
        tuple(requests_of(trace.events)),
        parse_alloc_conf(setting, "2.14.1"),
        capacity_bytes=WITHOUT_LIMIT_BYTES,
        total_memory_bytes=WITHOUT_LIMIT_BYTES,
        with_history=True,
    )
    return BatchFigures(
        batch_size=8,
        peak_allocated_bytes=levels.result.peak_allocated_bytes,
        peak_reserved_bytes=levels.result.peak_reserved_bytes,
        device_total_bytes=levels.result.peak_reserved_bytes,
        fits=True,
        is_recorded=True,
        timeline=recorded_timeline(trace, levels),
        history=levels.history,
    )


@settings(max_examples=40, deadline=None)
@given(traces(), st.sampled_from(("", "expandable_segments:True", "max_split_size_mb:21")))
def test_a_snapshot_has_the_levels_after_each_request(trace: AllocationTrace, setting: str) -> None:
    figures = figures_of(trace, setting)
    timeline, history = figures.timeline, figures.history
    assert history is not None
    found = snapshot(timeline, history)
    (events,) = found["device_traces"]
    changes = {
        "alloc": (1, 0), "free_requested": (-1, 0), "free_completed": (0, 0),
        "segment_alloc": (0, 1), "segment_map": (0, 1),
        "segment_free": (0, -1), "segment_unmap": (0, -1),
    }  # fmt: skip
    allocated, reserved = Counter[int](), Counter[int]()
    peak_allocated = peak_reserved = held = taken = 0
    for event in events:
        of_allocated, of_reserved = changes[event["action"]]
        allocated[event["time_us"]] += of_allocated * event["size"]
        reserved[event["time_us"]] += of_reserved * event["size"]
        taken += of_allocated * event["size"]
        held += of_reserved * event["size"]
        peak_allocated, peak_reserved = max(peak_allocated, taken), max(peak_reserved, held)
    assert (peak_allocated, peak_reserved) == (
        figures.peak_allocated_bytes,
        figures.peak_reserved_bytes,
    )
    levels = [0, *timeline.reserved_bytes]
    for index, change in enumerate(timeline.changes_bytes):
        assert allocated[index] == change
        assert reserved[index] == levels[index + 1] - levels[index]
    segments = found["segments"]
    assert sum(one["total_size"] for one in segments) == levels[-1]
    assert sum(one["allocated_size"] for one in segments) == timeline.allocated_bytes[-1]


@settings(max_examples=40, deadline=None)
@given(traces())
def test_a_table_has_the_levels_after_each_request(trace: AllocationTrace) -> None:
    figures = figures_of(trace)
    timeline = figures.timeline
    rows = list(csv.DictReader(io.StringIO(as_csv(timeline))))
    assert len(rows) == len(timeline.events)
    columns = {name: [int(row[name]) for row in rows] for name in LEVELS}
    assert tuple(columns["change_bytes"]) == timeline.changes_bytes
    assert tuple(columns["allocated_bytes"]) == timeline.allocated_bytes
    assert tuple(columns["reserved_bytes"]) == timeline.reserved_bytes
    assert max(columns["allocated_bytes"]) == figures.peak_allocated_bytes
    assert max(columns["reserved_bytes"]) == figures.peak_reserved_bytes


@settings(max_examples=40, deadline=None)
@given(traces())
def test_a_flame_graph_adds_up_to_the_peak(trace: AllocationTrace) -> None:
    figures = figures_of(trace)
    found = json.loads(json.dumps(speedscope(figures, "a run")))
    assert len(found["profiles"]) == 2
    for profile in found["profiles"]:
        assert sum(profile["weights"]) == profile["endValue"] == figures.peak_allocated_bytes
        assert len(profile["samples"]) == len(profile["weights"])
        frames = {at for sample in profile["samples"] for at in sample}
        assert frames <= set(range(len(found["shared"]["frames"])))


def time_of(seconds: tuple[float, float, float]) -> StepTime:
    bound = Bottleneck(bound=Bound.COMPUTE, shares=(), runner_up=None, takes_over_factor=None)
    return StepTime(
        step_s=sum(seconds),
        samples_per_s=1.0,
        gpu_s=sum(seconds),
        launch_s=0.0,
        phases_s=tuple(zip(PHASES, seconds, strict=True)),
        bottleneck=bound,
    )


@settings(max_examples=40, deadline=None)
@given(traces(), st.none() | st.tuples(*[st.floats(1e-6, 10.0)] * 3))
def test_a_trace_has_every_level_and_all_of_the_time(
    trace: AllocationTrace, seconds: tuple[float, float, float] | None
) -> None:
    figures = figures_of(trace)
    timeline = figures.timeline
    times = StepTimes() if seconds is None else StepTimes(time=time_of(seconds))
    events = chrome_trace(figures, times, {})["traceEvents"]
    counters: dict[str, list[int]] = {}
    for event in events:
        if event["ph"] == "C":
            counters.setdefault(event["name"], []).append(sum(event["args"].values()))
    changed = [
        level
        for level, change in zip(timeline.allocated_bytes, timeline.changes_bytes, strict=True)
        if change
    ]
    assert counters["allocated, bytes"] == changed
    assert counters["allocated by category, bytes"] == changed
    assert max(changed) == figures.peak_allocated_bytes
    assert max(counters["reserved, bytes"]) == figures.peak_reserved_bytes
    phases = [event for event in events if event["ph"] == "X" and event["tid"] == 1]
    assert all(
        after["ts"] == pytest.approx(one["ts"] + one["dur"]) for one, after in pairwise(phases)
    )
    if seconds is not None:
        steps = {event.step for event in timeline.events} - {0}
        lasts = sum(one["dur"] for one in phases if one["args"]["step"])
        assert lasts == pytest.approx(1e6 * sum(seconds) * len(steps))


@settings(max_examples=40, deadline=None)
@given(traces())
def test_parquet_has_the_rows_of_csv(trace: AllocationTrace) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet_of = pytest.importorskip("pyarrow.parquet")
    timeline = figures_of(trace).timeline
    table = parquet_of.read_table(pyarrow.BufferReader(parquet(timeline)))
    assert tuple(table.column_names) == COLUMNS
    texts = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    ]
    assert texts == list(csv.DictReader(io.StringIO(as_csv(timeline))))
