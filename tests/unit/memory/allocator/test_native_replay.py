"""The replay in native code gives what the replay in Python gives, to the byte."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.replay import training
from planner.emulator import replay_library
from planner.emulator.cache import VARIABLE
from planner.emulator.replay_library import NATIVE
from planner.errors import UsageError
from planner.memory.allocator import native
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import ReplayResult, Request, replay, replay_in_python
from planner.memory.allocator.requests import PackedRequests, packed
from planner.memory.allocator.settings import AllocatorSettings, TorchVersion
from planner.units import GIB, KIB, MIB
from planner.wire.trace import EventKind

DEFAULTS = parse_alloc_conf("", "2.14.1")
SIZES = st.one_of(
    st.integers(0, 2 * MIB),
    st.integers(MIB, 60 * MIB),
    st.sampled_from([512, 100 * KIB, MIB, 3 * MIB, 8 * MIB, 10 * MIB, 12 * MIB, 24 * MIB]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), SIZES, st.integers(0, 2)),
        st.tuples(
            st.sampled_from(["free", "free", "request", "complete", "empty"]),
            st.integers(0, 1 << 30),
            st.just(0),
        ),
    ),
    max_size=150,
)
MIBS = st.integers(1, 64)


def as_torch_takes_it(found: AllocatorSettings) -> AllocatorSettings:
    """torch refuses a max_split_size_mb below the size of large segments, and so do we."""
    if found.max_split_bytes is None:
        return found
    return replace(found, max_split_bytes=max(found.max_split_bytes, found.large_segment_bytes))


SETTINGS = st.builds(
    AllocatorSettings,
    version=st.sampled_from(["2.6.0", "2.9.0", "2.12.0", "2.14.1"]).map(TorchVersion.parse),
    expandable_segments=st.booleans(),
    addresses_fraction=st.none() | st.floats(0.05, 1.5),
    addresses_bytes=st.none() | MIBS.map(lambda size: size * 8 * MIB),
    large_segment_bytes=st.sampled_from([2, 20, 20, 21, 32, 64]).map(lambda size: size * MIB),
    max_split_bytes=st.none() | MIBS.map(lambda size: size * MIB),
    max_non_split_rounding_bytes=MIBS.map(lambda size: size * MIB),
    roundup_divisions=st.lists(st.sampled_from([0, 1, 2, 4, 8, 16]), min_size=16, max_size=16).map(
        tuple
    )
    | st.just((0,) * 16),
    garbage_collection_threshold=st.just(0.0) | st.floats(0.01, 0.99),
    memory_fraction=st.none() | st.floats(0.0, 1.0),
    reject_above_fraction=st.booleans(),
).map(as_torch_takes_it)
CAPACITIES = st.sampled_from([WITHOUT_LIMIT_BYTES, 0, -MIB]) | st.integers(MIB, 700 * MIB)
TOTALS = st.none() | st.integers(MIB, 900 * MIB)


@dataclass
class Program:
    """Turns steps into requests that a program could make."""

    requests: list[Request] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    names: int = 0

    def step(self, kind: str, number: int, stream: int) -> None:
        if kind == "allocate":
            self.names += 1
            self.live.append(self.names * 7)
            self.requests.append(Request(EventKind.ALLOC, self.live[-1], number, stream))
        elif kind == "empty":
            self.requests.append(Request(EventKind.EMPTY_CACHE))
        elif kind == "complete" and self.pending:
            name = self.pending.pop(number % len(self.pending))
            self.requests.append(Request(EventKind.FREE_COMPLETED, name))
        elif kind == "free" and self.live:
            name = self.live.pop(number % len(self.live))
            self.requests.append(Request(EventKind.FREE, name, 99, 5))
        elif kind == "request" and self.live:
            self.pending.append(self.live.pop(number % len(self.live)))
            self.requests.append(Request(EventKind.FREE_REQUESTED, self.pending[-1]))


def requests_of(steps: list[tuple[str, int, int]]) -> list[Request]:
    program = Program()
    for step in steps:
        program.step(*step)
    return program.requests


@dataclass(frozen=True, kw_only=True)
class Case:
    """A replay, done in both ways."""

    requests: list[Request]
    settings: AllocatorSettings
    capacity_bytes: int
    total_memory_bytes: int | None = None
    optional: frozenset[int] = frozenset()

    def in_python(self) -> ReplayResult | str:
        try:
            return replay_in_python(
                self.requests,
                self.settings,
                capacity_bytes=self.capacity_bytes,
                total_memory_bytes=self.total_memory_bytes,
                optional=self.optional,
            )
        except ValueError as error:
            return str(error)

    def natively(self) -> ReplayResult | str:
        try:
            return replay(
                packed(self.requests, self.optional),
                self.settings,
                capacity_bytes=self.capacity_bytes,
                total_memory_bytes=self.total_memory_bytes,
            )
        except ValueError as error:
            return str(error)

    def is_native(self) -> bool:
        """Returns whether native code does not leave it to Python."""
        columns = packed(self.requests, self.optional)
        assert isinstance(columns, PackedRequests)
        total = self.total_memory_bytes
        found = native.replayed(
            columns,
            self.settings,
            capacity_bytes=self.capacity_bytes,
            total_memory_bytes=self.capacity_bytes if total is None else total,
        )
        return found is not None


@pytest.fixture(scope="module", autouse=True)
def _library(device_cache: Path) -> None:
    """The library is built once, in the cache of the tests' devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(device_cache))
        assert replay_library.library() is not None, "the tests need a C++ compiler"


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS,
    allocator=SETTINGS,
    capacity_bytes=CAPACITIES,
    total_memory_bytes=TOTALS,
    optional=st.frozensets(st.integers(1, 60).map(lambda name: name * 7), max_size=8),
)
def test_both_give_the_same_figures(
    steps: list[tuple[str, int, int]],
    allocator: AllocatorSettings,
    capacity_bytes: int,
    total_memory_bytes: int | None,
    optional: frozenset[int],
) -> None:
    case = Case(
        requests=requests_of(steps),
        settings=allocator,
        capacity_bytes=capacity_bytes,
        total_memory_bytes=total_memory_bytes,
        optional=optional,
    )
    assert case.natively() == case.in_python()
    has_a_card = total_memory_bytes is not None or capacity_bytes != WITHOUT_LIMIT_BYTES
    assert case.is_native() or not has_a_card


def long_program(seed: int) -> list[Request]:
    """Many requests of few sizes, so that free blocks of one size are often chosen between."""
    draw = random.Random(seed)
    sizes = [512, 4 * KIB, 600 * KIB, 3 * MIB, 5 * MIB, 12 * MIB, 30 * MIB, draw.randrange(9 * MIB)]
    program = Program()
    for _ in range(1500):
        kind = draw.choices(["allocate", "free", "request", "complete", "empty"],
                            [50, 44, 3, 3, 0.1])[0]  # fmt: skip
        number = draw.choice(sizes) if kind == "allocate" else draw.randrange(1 << 30)
        program.step(kind, number, draw.choice([0, 0, 0, 1]))
    return program.requests


@pytest.mark.parametrize("version", ["2.9.0", "2.12.0", "2.14.1"])
@pytest.mark.parametrize(
    "conf",
    ["", "expandable_segments:True", "max_split_size_mb:20", "roundup_power2_divisions:4",
     "garbage_collection_threshold:0.3,per_process_memory_fraction:0.9"],
)  # fmt: skip
def test_long_programs(conf: str, version: str) -> None:
    allocator = replace(parse_alloc_conf(conf, "2.14.1"), version=TorchVersion.parse(version))
    for seed in range(6):
        requests = long_program(seed)
        peak_bytes = replay_in_python(
            requests, allocator, capacity_bytes=1 << 44
        ).peak_reserved_bytes
        for capacity_bytes in (1 << 44, peak_bytes, peak_bytes * 9 // 10, peak_bytes * 4 // 5):
            case = Case(requests=requests, settings=allocator, capacity_bytes=capacity_bytes)
            assert case.natively() == case.in_python()


@settings(max_examples=200, deadline=None)
@given(
    requests=st.lists(
        st.builds(
            Request,
            st.sampled_from(list(EventKind)),
            st.integers(0, 3),
            st.sampled_from([0, 512, 3 * MIB, 30 * MIB]),
            st.integers(0, 1),
        ),
        max_size=40,
    ),
    capacity_bytes=st.sampled_from([GIB, 50 * MIB]),
    optional=st.frozensets(st.integers(0, 3)),
    expandable=st.booleans(),
)
def test_both_refuse_the_same_lists(
    requests: list[Request], capacity_bytes: int, optional: frozenset[int], expandable: bool
) -> None:
    case = Case(
        requests=requests,
        settings=replace(DEFAULTS, expandable_segments=expandable),
        capacity_bytes=capacity_bytes,
        optional=optional,
    )
    assert case.natively() == case.in_python()
    assert case.is_native()


@pytest.mark.parametrize(
    "conf",
    [
        "",
        "expandable_segments:True",
        "max_split_size_mb:256",
        "roundup_power2_divisions:4",
        "large_segment_size_mb:64",
        "garbage_collection_threshold:0.8,per_process_memory_fraction:0.9",
    ],
)
@pytest.mark.parametrize("capacity_gib", [30, 90, 1 << 14])
def test_steps_of_a_transformer(conf: str, capacity_gib: int) -> None:
    case = Case(
        requests=training(1, steps=2),
        settings=parse_alloc_conf(conf, "2.14.1"),
        capacity_bytes=capacity_gib * GIB,
    )
    assert case.natively() == case.in_python()
    assert case.is_native()


@pytest.mark.parametrize(
    ("size_bytes", "is_native"),
    [(1 << 40, True), (1 << 51, False), (1 << 70, False), (-1, False)],
)
def test_numbers_beyond_machine_words_are_left_to_python(size_bytes: int, is_native: bool) -> None:
    requests = [Request(EventKind.ALLOC, 1, size_bytes), Request(EventKind.FREE, 1)]
    case = Case(requests=requests, settings=DEFAULTS, capacity_bytes=WITHOUT_LIMIT_BYTES)
    assert case.natively() == case.in_python()
    if isinstance(packed(requests), PackedRequests):
        assert case.is_native() == is_native
    else:
        assert not is_native


def test_another_backend_is_refused_as_in_python() -> None:
    pools = parse_alloc_conf("backend:cudaMallocAsync", "2.14.1")
    with pytest.raises(UsageError, match="backend:native"):
        replay([Request(EventKind.ALLOC, 1, MIB)], pools, capacity_bytes=GIB)


@given(steps=STEPS, optional=st.frozensets(st.integers(1, 60), max_size=5))
def test_packed_requests_are_the_same_requests(
    steps: list[tuple[str, int, int]], optional: frozenset[int]
) -> None:
    requests = requests_of(steps)
    columns = packed(requests, optional)
    assert isinstance(columns, PackedRequests)
    assert columns.requests() == requests
    assert columns.optional_blocks() == optional & {request.block for request in requests}
    assert [columns.block(at) for at in range(len(requests))] == [r.block for r in requests]


def in_a_process(tmp_path: Path, **variables: str) -> dict[str, object]:
    """Replays in a process of its own; returns the figures, and whether a library was loaded."""
    code = (
        "import json\n"
        "from benchmarks.replay import training\n"
        "from planner.emulator import replay_library\n"
        "from planner.memory.allocator.options import parse_alloc_conf\n"
        "from planner.memory.allocator.replay import replay\n"
        "found = replay(training(1, 1), parse_alloc_conf('', '2.14.1'), capacity_bytes=1 << 44)\n"
        "print(json.dumps([found.peak_reserved_bytes, replay_library.library() is not None]))\n"
    )
    environment = {**os.environ, VARIABLE: str(tmp_path / "cache"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[4],
    )  # fmt: skip
    peak_bytes, is_native = json.loads(done.stdout)
    return {"peak_bytes": peak_bytes, "is_native": is_native}


@pytest.mark.slow
def test_without_a_compiler_and_with_a_damaged_library(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    bare = tmp_path / "bin"
    bare.mkdir()
    without = in_a_process(tmp_path, PATH=str(bare), CXX="")
    assert not without["is_native"]
    assert in_a_process(tmp_path) == {**without, "is_native": True}
    (built,) = (tmp_path / "cache" / "device").glob("replay-*/libplanner_replay.so")
    content = built.read_bytes()
    built.write_bytes(content[:-100])
    assert in_a_process(tmp_path) == {**without, "is_native": True}
    assert built.read_bytes() != content[:-100]


@pytest.mark.slow
def test_no_source_gives_a_warning() -> None:
    sources = sorted(str(path) for path in NATIVE.glob("*.cpp"))
    compiler = shutil.which("g++") or shutil.which("clang++")
    assert compiler is not None
    for source in sources:
        command = [compiler, "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == ""
