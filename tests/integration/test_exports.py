"""Exports of real results: the same peaks in each format, to the byte, at several batches."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle
import re
import subprocess
import sys
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.emulator.cache import VARIABLE
from planner.render.exports.result_file import result_file
from planner.render.exports.result_formats import ResultFormat
from planner.results.estimate import Estimate
from planner.results.timelines import timelines_of

ROOT = Path(__file__).parents[2]
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("models/mlp.py", {"gpu": "t4"}),
    "resnet50": ("models/resnet50.py", {"gpu": "a100"}),
    "expandable": ("models/mlp.py", {"gpu": "t4", "alloc_conf": "expandable_segments:True"}),
}
VIEWER = """
import pickle, sys
from torch.cuda import _memory_viz as viewer
with open(sys.argv[1], "rb") as file:
    snapshot = pickle.load(file)
for kind in ("trace_plot", "segment_plot"):
    with open(f"{sys.argv[2]}/{kind}.html", "w") as file:
        file.write(getattr(viewer, kind)(snapshot))
print(viewer.segsum(snapshot))
print(viewer.trace(snapshot))
"""


@pytest.fixture(scope="module", params=JOBS)
def made(
    request: pytest.FixtureRequest, device_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Estimate:
    """A result that went through a file, as that of a user."""
    target, options = JOBS[request.param]
    file = tmp_path_factory.mktemp("exports") / "run.planner"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(device_cache))
        planner.estimate(str(ROOT / target), keep_batches=3, **options).save(file)
    found = planner.load(file)
    assert isinstance(found, Estimate)
    return found


@pytest.fixture(params=["of the run", "the largest", "replayed"])
def batch(request: pytest.FixtureRequest, made: Estimate) -> int:
    """The batch of the run, the largest that fits and can be exported, and one that was not run."""
    if request.param == "of the run":
        return made.config.batch_size
    timelines = timelines_of(made)
    if request.param == "the largest":
        return max(one for one in timelines.batches() if timelines.at(one).fits)
    replayed = [one for one in timelines.batches() if not timelines.at(one).is_recorded]
    if not replayed:
        pytest.skip("every batch that can be exported was run")
    return replayed[0]


@dataclass
class Viewed:
    """Reads the events of a snapshot, as a viewer does, and holds what may not be."""

    allocated: int = 0
    reserved: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    blocks: dict[int, int] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    memory: dict[int, int] = field(default_factory=dict)

    def read(self, event: dict[str, Any]) -> None:
        kind, address, size = event["action"], event["addr"], event["size"]
        if kind in ("segment_alloc", "segment_map"):
            self.memory[address] = size
            self.reserved += size
        elif kind in ("segment_free", "segment_unmap"):
            self.reserved -= size
            self._give_back(address, address + size)
        elif kind == "alloc":
            self._take(address, size)
        elif kind == "free_requested":
            assert self.blocks[address] == size
            self.allocated -= size
        elif kind == "free_completed":
            assert self.blocks.pop(address) == size
            self.starts.remove(address)
        else:
            pytest.fail(f"no action of a snapshot: {kind}")
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    def _take(self, address: int, size: int) -> None:
        at = bisect_left(self.starts, address)
        if at:
            before = self.starts[at - 1]
            assert before + self.blocks[before] <= address
        assert at == len(self.starts) or address + size <= self.starts[at]
        held = sum(
            max(0, min(address + size, begin + length) - max(address, begin))
            for begin, length in self.memory.items()
        )
        assert held == size, "a block lies outside of all segments"
        insort(self.starts, address)
        self.blocks[address] = size
        self.allocated += size

    def _give_back(self, begin: int, end: int) -> None:
        """Takes a range out of the memory that the driver gave, which may have been in parts."""
        for start, size in list(self.memory.items()):
            if start < end and begin < start + size:
                del self.memory[start]
                if start < begin:
                    self.memory[start] = begin - start
                if end < start + size:
                    self.memory[end] = start + size - end
        assert all(one + size <= begin or end <= one for one, size in self.blocks.items())


def peaks(made: Estimate, batch: int) -> tuple[int, int]:
    """Returns the peaks of the result: of the run from its figures, else from its replay."""
    if batch == made.config.batch_size:
        return made.gpus[0].peak_allocated_bytes, made.gpus[0].peak_reserved_bytes
    found = timelines_of(made).at(batch)
    assert found.peak_allocated_bytes > made.gpus[0].peak_allocated_bytes
    return found.peak_allocated_bytes, found.peak_reserved_bytes


def document(made: Estimate, form: ResultFormat, batch: int) -> Any:
    return json.loads(result_file(made, form, batch_size=batch))


@pytest.mark.slow
def test_a_snapshot_replays_to_the_peaks(made: Estimate, batch: int) -> None:
    snapshot = pickle.loads(result_file(made, ResultFormat.MEMORY_SNAPSHOT, batch_size=batch))
    (events,) = snapshot["device_traces"]
    viewed = Viewed()
    for event in events:
        viewed.read(event)
    assert (viewed.peak_allocated, viewed.peak_reserved) == peaks(made, batch)
    segments = snapshot["segments"]
    assert sum(one["total_size"] for one in segments) == viewed.reserved
    assert sum(one["allocated_size"] for one in segments) == viewed.allocated
    left = {
        block["address"]: block["size"]
        for one in segments
        for block in one["blocks"]
        if block["state"] != "inactive"
    }
    assert left == viewed.blocks
    kinds = {event["action"] for event in events}
    is_expandable = made.config.alloc_conf == "expandable_segments:True"
    assert ("segment_map" in kinds, "segment_alloc" in kinds) == (is_expandable, not is_expandable)
    assert {one["is_expandable"] for one in segments} == {is_expandable}


@pytest.mark.slow
def test_the_viewer_of_torch_reads_the_snapshot(made: Estimate, tmp_path: Path) -> None:
    content = result_file(made, ResultFormat.MEMORY_SNAPSHOT)
    (tmp_path / "run.pickle").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", VIEWER, str(tmp_path / "run.pickle"), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for kind, title in (
        ("trace_plot", "Active Memory Timeline"),
        ("segment_plot", "Allocator State History"),
    ):
        page = (tmp_path / f"{kind}.html").read_text()
        assert repr(title) in page
        embedded = re.search(r'"base64": "([^"]+)"', page)
        assert embedded
        assert pickle.loads(base64.b64decode(embedded[1])) == pickle.loads(content)
    assert "total_reserved" in done.stdout


@pytest.mark.slow
def test_the_other_formats_have_the_same_peaks(made: Estimate, batch: int) -> None:
    allocated, reserved = peaks(made, batch)
    table = result_file(made, ResultFormat.CSV, batch_size=batch).decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert max(int(row["allocated_bytes"]) for row in rows) == allocated
    assert max(int(row["reserved_bytes"]) for row in rows) == reserved
    trace = document(made, ResultFormat.CHROME_TRACE, batch)["traceEvents"]
    counters: dict[str, list[int]] = {}
    for event in trace:
        if event["ph"] == "C":
            counters.setdefault(event["name"], []).append(sum(event["args"].values()))
    assert {name: max(levels) for name, levels in counters.items()} == {
        "allocated by category, bytes": allocated,
        "allocated, bytes": allocated,
        "reserved, bytes": reserved,
    }
    for profile in document(made, ResultFormat.SPEEDSCOPE, batch)["profiles"]:
        assert sum(profile["weights"]) == profile["endValue"] == allocated


@pytest.mark.slow
def test_operators_fill_the_time_of_each_step(made: Estimate) -> None:
    events = document(made, ResultFormat.CHROME_TRACE, made.config.batch_size)["traceEvents"]
    names = {
        event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"
    }
    slices = [event for event in events if event["ph"] == "X"]
    phases = [
        one
        for one in slices
        if one["pid"] == names["memory of the card"] and one["tid"] == 1 and one["args"]["step"]
    ]
    steps = max(one["args"]["step"] for one in phases)
    time = made.gpus[0].time
    assert time
    operators = [one for one in slices if one["pid"] == names["time of the step"]]
    assert sum(one["dur"] for one in operators) == pytest.approx(1e6 * time.gpu_s * steps)
    for phase, seconds in time.phases_s:
        of_phase = [one["dur"] for one in phases if one["name"] == phase.value]
        assert sum(of_phase) == pytest.approx(1e6 * seconds * steps)
    for one in operators:  # each is within a phase
        assert any(
            part["ts"] - 1e-3 <= one["ts"]
            and one["ts"] + one["dur"] <= part["ts"] + part["dur"] + 1e-3
            for part in phases
        )


@pytest.mark.slow
def test_another_batch_has_no_times(made: Estimate) -> None:
    largest = max(timelines_of(made).batches())
    found = document(made, ResultFormat.CHROME_TRACE, largest)
    assert "order of requests" in found["otherData"]["notes"][0]
    assert {event["pid"] for event in found["traceEvents"]} == {1}
