"""Exports of a small step, by hand: sums, peaks and addresses of each format; refusals."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli.root import root
from planner.errors import UsageError
from planner.memory.allocator.levels import replay_levels
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request, requests_of
from planner.render.exports.result_file import result_file
from planner.render.exports.result_formats import ResultFormat
from planner.results.estimate import Estimate
from planner.units import MIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

PEAK, RESERVED = 232 * MIB, 250 * MIB  # 200 + 30 + 2; the last is in a segment of 20 MiB
ORIGINS = (
    Origin(),
    Origin(module="a.b", operator="aten::mm", source="/x/net.py:7"),
    Origin(module="a", tensor="a.w"),
)


def request(kind: EventKind, block: int, mib: int, phase: Phase, **rest: Any) -> AllocationEvent:
    return AllocationEvent(
        kind=kind, block=block, size_bytes=mib * MIB, step=1, phase=phase, **rest
    )


def trace() -> AllocationTrace:
    alloc, free = EventKind.ALLOC, EventKind.FREE
    saved, gradient = TensorCategory.SAVED_ACTIVATION, TensorCategory.GRADIENT
    parameter = TensorCategory.PARAMETER
    return AllocationTrace(
        events=(
            request(alloc, 0, 200, Phase.FORWARD, category=parameter, origin=2),
            request(alloc, 1, 30, Phase.FORWARD, category=saved, origin=1),
            request(alloc, 2, 2, Phase.BACKWARD, category=gradient, origin=1),
            request(free, 1, 30, Phase.BACKWARD),
        ),
        origins=ORIGINS,
    )


@pytest.fixture
def kept(estimate: Estimate) -> Estimate:
    entry = replace(
        estimate.gpus[0],
        peak_allocated_bytes=PEAK,
        peak_reserved_bytes=RESERVED,
        time=None,
        fits=True,
    )
    return replace(
        estimate,
        gpus=(entry, *estimate.gpus[1:]),
        allocations=(trace(), *(None for _ in estimate.gpus[1:])),
        allocator_setting="",
    )


def document(kept: Estimate, form: ResultFormat) -> Any:
    return json.loads(result_file(kept, form))


def test_a_snapshot_gives_the_peaks_and_has_no_overlaps(kept: Estimate) -> None:
    found = pickle.loads(result_file(kept, ResultFormat.MEMORY_SNAPSHOT))
    (events,) = found["device_traces"]
    allocated = reserved = highest = held = 0
    live: dict[int, int] = {}
    for event in events:
        kind, size, address = event["action"], event["size"], event["addr"]
        if kind == "segment_alloc":
            reserved += size
            held = max(held, reserved)
        elif kind == "alloc":
            assert all(address + size <= a or address >= a + s for a, s in live.items())
            live[address] = size
            allocated += size
            highest = max(highest, allocated)
        elif kind == "free_requested":
            allocated -= live.pop(address)
    assert (highest, held) == (PEAK, RESERVED)
    assert sum(one["total_size"] for one in found["segments"]) == RESERVED
    assert sum(one["allocated_size"] for one in found["segments"]) == allocated == 202 * MIB
    for segment in found["segments"]:
        assert sum(one["size"] for one in segment["blocks"]) == segment["total_size"]
    assert [one["action"] for one in events].count("free_completed") == 1
    mm = next(one for one in events if one["action"] == "alloc" and one["size"] == 30 * MIB)
    assert mm["frames"][0] == {"filename": "/x/net.py", "line": 7, "name": "a.b"}
    assert [one["name"] for one in mm["frames"][1:4]] == ["aten::mm", "a.b", "a"]


@pytest.mark.parametrize("setting", ["", "expandable_segments:True"])
def test_a_history_adds_up_after_every_request(setting: str) -> None:
    settings = parse_alloc_conf(setting, "2.14.1")
    requests = [*requests_of(trace().events), Request(EventKind.EMPTY_CACHE)]
    levels = replay_levels(requests, settings, capacity_bytes=1 << 33, with_history=True)
    assert levels.history is not None
    reserved = 0
    after = [0] * len(requests)
    signs = {"segment_alloc": 1, "segment_map": 1, "segment_free": -1, "segment_unmap": -1}
    for one in levels.history.actions:
        reserved += signs.get(one.kind.value, 0) * one.size_bytes
        after[one.request] = reserved
    assert tuple(after[at] for at in (0, 1, 4)) == tuple(
        levels.reserved_bytes[at] for at in (0, 1, 4)
    )
    assert sum(one.size_bytes for one in levels.history.segments) == levels.reserved_bytes[-1]


def test_the_table_has_a_row_for_each_request(kept: Estimate) -> None:
    rows = list(csv.DictReader(io.StringIO(result_file(kept, ResultFormat.CSV).decode())))
    assert [int(row["change_bytes"]) // MIB for row in rows] == [200, 30, 2, -30]
    assert [int(row["allocated_bytes"]) // MIB for row in rows] == [200, 230, 232, 202]
    assert rows[3]["category"] == "saved activation"
    assert (rows[3]["module"], rows[3]["operator"]) == ("a.b", "aten::mm")


def test_the_flame_graph_adds_up_to_the_peak(kept: Estimate) -> None:
    found = document(kept, ResultFormat.SPEEDSCOPE)
    names = [one["name"] for one in found["shared"]["frames"]]
    by_module, by_category = found["profiles"]
    assert by_module["unit"] == "bytes"
    assert sum(by_module["weights"]) == sum(by_category["weights"]) == PEAK
    assert by_module["endValue"] == PEAK
    assert [[names[at] for at in row] for row in by_module["samples"]][:2] == [
        ["a", "a.w"],
        ["a", "a.b", "aten::mm", "net.py:7"],
    ]


def test_a_trace_without_times_says_so(kept: Estimate) -> None:
    found = document(kept, ResultFormat.CHROME_TRACE)
    levels = [
        one["args"]["allocated"]
        for one in found["traceEvents"]
        if one["name"] == "allocated, bytes"
    ]
    assert [one // MIB for one in levels] == [200, 230, 232, 202]
    for one in found["traceEvents"]:
        if one["name"] == "allocated by category, bytes":
            assert sum(one["args"].values()) in levels
    assert "order of requests" in found["otherData"]["notes"][0]


def test_a_trace_with_times_gives_each_phase_its_own(kept: Estimate) -> None:
    from planner.results.step_time import StepTime
    from planner.timing.bottleneck import Bottleneck, Bound

    bound = Bottleneck(bound=Bound.COMPUTE, shares=(), runner_up=None, takes_over_factor=None)
    phases = ((Phase.FORWARD, 0.002), (Phase.LOSS, 0.001), (Phase.BACKWARD, 0.004))
    time = StepTime(
        step_s=0.007,
        samples_per_s=1.0,
        gpu_s=0.007,
        launch_s=0.0,
        phases_s=phases,
        bottleneck=bound,
    )
    timed = replace(kept, gpus=(replace(kept.gpus[0], time=time), *kept.gpus[1:]))
    events = document(timed, ResultFormat.CHROME_TRACE)["traceEvents"]
    slices = [
        (one["name"], round(one["ts"]), round(one["dur"]))
        for one in events
        if one["ph"] == "X" and one["tid"] == 1
    ]
    assert slices == [("forward", 0, 2000), ("loss", 2000, 1000), ("backward", 3000, 4000)]


def test_what_is_not_in_the_result_is_refused(kept: Estimate) -> None:
    with pytest.raises(UsageError, match="no recorded allocations"):
        result_file(replace(kept, allocations=()), ResultFormat.CSV)
    with pytest.raises(UsageError, match="estimate it with --batch 4096"):
        result_file(kept, ResultFormat.CSV, batch_size=4096)
    with pytest.raises(UsageError, match="is not in this estimate"):
        result_file(kept, ResultFormat.CSV, gpu="nothing")
    with pytest.raises(UsageError, match="needs addresses"):
        result_file(replace(kept, allocator_setting=None), ResultFormat.MEMORY_SNAPSHOT)


def test_the_command_writes_whole_files(kept: Estimate, tmp_path: Path) -> None:
    saved, file = tmp_path / "run.planner", tmp_path / "run.csv"
    kept.save(saved)
    words = ["export", str(saved), "--format"]
    printed = CliRunner().invoke(root, [*words, "csv"])
    assert printed.exit_code == 0
    done = CliRunner().invoke(root, [*words, "csv", "-o", str(file)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert file.read_text() == printed.stdout
    refused = CliRunner().invoke(root, [*words, "memory-snapshot"])
    assert refused.exit_code == 2
    assert "-o run.pickle" in refused.stderr
    nowhere = CliRunner().invoke(root, [*words, "csv", "-o", str(tmp_path / "no" / "x.csv")])
    assert nowhere.exit_code == 2


def exported(kept: Estimate, folder: Path, *words: str) -> tuple[int, str]:
    saved = folder / "run.planner"
    kept.save(saved)
    done = CliRunner().invoke(root, ["export", str(saved), *words])
    assert done.stdout == ""
    return done.exit_code, done.stderr


def test_a_place_that_may_not_be_written_is_refused_first(
    kept: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "no" / "x.csv", tmp_path):
        code, said = exported(kept, tmp_path, "--format", "csv", "-o", str(place))
        assert code == 2
        assert ("there is no folder" if place != tmp_path else "directory") in said
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)  # also for root
    code, said = exported(kept, tmp_path, "--format", "csv", "-o", str(locked / "x.csv"))
    assert code == 2
    assert f"the folder {locked} may not be written" in said


def test_a_disk_that_fails_leaves_the_old_file(
    kept: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.csv"
    file.write_text("before")
    kept.save(tmp_path / "run.planner")

    def full(_: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", full)
    words = ["export", str(tmp_path / "run.planner"), "--format", "csv", "-o", str(file)]
    done = CliRunner().invoke(root, words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "could not be written: Read-only file system" in done.stderr
    assert file.read_text() == "before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["run.csv", "run.planner"]


def test_parquet_without_its_package_says_what_to_install(
    kept: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "run.parquet"
    code, said = exported(kept, tmp_path, "--format", "parquet", "-o", str(file))
    assert code == 1
    assert "pip install 'vram-planner[parquet]'" in said
    assert "--format csv has the same columns" in said
    assert not file.exists()
