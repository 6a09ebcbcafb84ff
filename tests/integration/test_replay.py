"""The replay against PyTorch's own allocator on the emulated device: 0 bytes of difference.

The same requests go to both: random ones on three streams and a card that is too small, and those
of real training steps, recorded under torch's defaults and replayed under every option.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.memory.allocator.allocator import CachingAllocator
from planner.memory.allocator.blocks import Block
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import ReplayResult, Request, replay
from planner.memory.allocator.settings import AllocatorSettings, TorchVersion
from planner.memory.budget import memory_budgets
from planner.process.environment import child_environment
from planner.units import KIB, MIB
from planner.wire.trace import EventKind

pytestmark = pytest.mark.slow

ROOT = Path(planner.__file__).parents[1]
TORCH_VERSION = find_torch().version
VERSION = TorchVersion.parse(TORCH_VERSION)
TOTAL_MEMORY_BYTES = 1500 * MIB

# Imports torch once, then forks for each run: a fresh allocator with the options of the run.
CHILD = f"""
import json, os, sys
sys.path.insert(0, {str(ROOT)!r})
given = json.load(sys.stdin)
from planner.worker.engines import emulation
emulation.load(given["libraries"])
emulation.configure(given["profile"])
import torch

def forked(one):
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        with open(read) as pipe:
            text = pipe.read()
        assert os.waitpid(child, 0)[1] == 0, one
        return json.loads(text)
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = one["conf"]
    profile = given["profile"] + one.get("profile", "")
    emulation.configure(emulation.settle_architecture(profile)[0])
    torch.cuda.init()
    with open(write, "w") as pipe:
        json.dump(run(one), pipe)
    os._exit(0)
"""

# Drives torch's allocator without tensors, and takes its figures after each request.
DRIVE = """
def figures():
    stats = torch._C._cuda_memoryStats(0)
    sums = [stats[f"{kind}_bytes"]["all"] for kind in ("allocated", "active", "reserved")]
    failed = stats["num_ooms"] + stats.get("num_oom_rejections", 0)
    return [
        *(sum["current"] for sum in sums),
        *(sum["peak"] for sum in sums),
        stats["num_alloc_retries"],
        failed,
    ]

def drive(case, streams):
    emulation.configure(given["profile"] + f"capacity_bytes={case['capacity_bytes']}\\n")
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()
    live, rows = {}, []
    for kind, block, size, stream in case["requests"]:
        if kind == "allocate":
            try:
                pointer = torch._C._cuda_cudaCachingAllocator_raw_alloc(size, streams[stream])
                live[block] = pointer
            except torch.OutOfMemoryError:
                pass
        elif kind == "free" and block in live:
            torch._C._cuda_cudaCachingAllocator_raw_delete(live.pop(block))
        elif kind == "empty-cache":
            torch.cuda.empty_cache()
        rows.append(figures())
    for pointer in live.values():
        torch._C._cuda_cudaCachingAllocator_raw_delete(pointer)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0
    return rows

def run(one):
    streams = [0, *(torch.cuda.Stream().cuda_stream for _ in range(2))]
    if one["fraction"] is not None:
        torch.cuda.set_per_process_memory_fraction(one["fraction"])
    cases = given["cases"] if one["case"] is None else [given["cases"][one["case"]]]
    return [drive(case, streams) for case in cases]
"""

# Trains a model file, with or without recording what it asks of the allocator.
TRAIN = """
from planner.config.parse import step_config
from planner.worker.target import contract
from planner.worker.drive.measure import measure
from planner.config.target import parse_target

source = contract.load(parse_target(given["path"]))

def run(one):
    if one["record"]:
        torch.cuda.memory._record_memory_history(context=None, max_entries=1_000_000)
    trace = measure(source, step_config(one["options"]), torch.device("cuda"))
    entries = torch.cuda.memory._snapshot()["device_traces"][0] if one["record"] else []
    return {
        "failure": trace.failure and trace.failure.message,
        "retries": trace.alloc_retries,
        "peaks": [
            trace.peak_allocated_bytes, trace.peak_active_bytes, trace.peak_reserved_bytes
        ],
        "entries": [[e["action"], e["addr"], e["size"], e["stream"]] for e in entries],
    }
"""

# Tensors that a second stream uses: the allocator waits for it.
STREAMS = """
def run(one):
    torch.cuda.memory._record_memory_history(context=None)
    other = torch.cuda.Stream()
    held = []
    for size in given["sizes"]:
        tensor = torch.empty(size, dtype=torch.uint8, device="cuda")
        tensor.record_stream(other)
        held.append(tensor)
        if len(held) > 3:
            del held[0]
        del tensor
    entries = torch.cuda.memory._snapshot()["device_traces"][0]
    stats = torch.cuda.memory_stats()
    return [
        [stats[f"{kind}_bytes.all.peak"] for kind in ("allocated", "active", "reserved")],
        [[e["action"], e["addr"], e["size"], e["stream"]] for e in entries],
    ]
"""


def in_child(script: str, given: dict[str, Any], *runs: dict[str, Any]) -> list[Any]:
    """What the script's run() gives for each run, in one child."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{CHILD}{script}\nprint(json.dumps([*map(forked, given['runs'])]))",
        ],
        input=json.dumps({**given, "runs": [{"conf": "", **run} for run in runs]}),
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends: list[Any] = json.loads(done.stdout)
    return ends


def card(device: EmulatedDevice) -> dict[str, Any]:
    """What a child needs to load the device as an A100 without a limit."""
    cards = ProfileFactory(torch=find_torch(), device=device)
    (budget,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    return {
        "libraries": [str(path) for path in device.libraries],
        "profile": cards.unlimited(budget),
    }


OPTIONS = [
    conf
    for conf in (
        "",
        "expandable_segments:True",
        "max_split_size_mb:32",
        "max_split_size_mb:64,max_non_split_rounding_mb:100",
        "roundup_power2_divisions:4",
        "roundup_power2_divisions:[2:1,8:2,32:0,>:8]",
        "large_segment_size_mb:64",
    )
    if VERSION.at_least(2, 11) or "large_segment" not in conf
]


# Random requests.


def random_requests(seed: int) -> list[list[Any]]:
    """300 requests; half of the lists draw from a few sizes, so that free blocks are equal."""
    rng = random.Random(seed)
    few = [300, 4 * KIB, 700 * KIB, 3 * MIB, 5 * MIB, 8 * MIB, 12 * MIB, 24 * MIB, 64 * MIB]
    growth = rng.uniform(0.5, 0.65)
    requests: list[list[Any]] = []
    live: list[int] = []
    for number in range(300):
        draw = rng.random()
        if draw < 0.01:
            requests.append(["empty-cache", 0, 0, 0])
        elif draw < growth or not live:
            exponent = rng.uniform(8, 28)
            size = rng.choice(few) if seed % 2 else int(2**exponent)
            requests.append(["allocate", number, size, rng.choice([0, 0, 0, 1, 2])])
            live.append(number)
        else:
            requests.append(["free", live.pop(rng.randrange(len(live))), 0, 0])
    return requests


CASES: list[dict[str, Any]] = [
    {"capacity_bytes": int(TOTAL_MEMORY_BYTES * share), "requests": random_requests(seed)}
    for seed, share in enumerate((0.2, 0.3, 0.4, 0.5, 0.8, 1, 0.25, 0.35))
]


def rows_of(case: dict[str, Any], settings: AllocatorSettings) -> list[list[int]]:
    """The figures after each request, as the child takes them."""
    allocator = CachingAllocator(
        settings,
        capacity_bytes=case["capacity_bytes"],
        total_memory_bytes=TOTAL_MEMORY_BYTES,
    )
    live: dict[int, Block] = {}
    failed = 0
    rows = []
    for kind, name, size, stream in case["requests"]:
        if kind == "allocate":
            block = allocator.allocate(size, stream)
            failed += block is None
            if block is not None:
                live[name] = block
        elif kind == "free" and name in live:
            allocator.free(live.pop(name))
        elif kind == "empty-cache":
            allocator.empty_cache()
        rows.append([
            allocator.allocated_bytes, allocator.active_bytes, allocator.reserved_bytes,
            allocator.peak_allocated_bytes, allocator.peak_active_bytes,
            allocator.peak_reserved_bytes, allocator.alloc_retries, failed,
        ])  # fmt: skip
    return rows


def assert_equal_rows(
    number: int, settings: AllocatorSettings, rows: list[list[int]], conf: str
) -> None:
    case = CASES[number]
    for index, (found, row) in enumerate(zip(rows_of(case, settings), rows, strict=True)):
        request = case["requests"][index]
        assert found == row, f"{conf!r}: case {number}, request {index}, {request}"


LIMITED = [
    ("", 0.3),
    ("garbage_collection_threshold:0.6", 0.4),
    ("garbage_collection_threshold:0.3", 1.0),
    ("expandable_segments:True,garbage_collection_threshold:0.6", 0.4),
]
REJECTING = [("throw_on_cudamalloc_oom:True", None)] if VERSION.at_least(2, 12) else []
TOGETHER = [
    ("expandable_segments:True,max_split_size_mb:32", None),
    ("expandable_segments:True,roundup_power2_divisions:4,max_split_size_mb:64", 0.5),
    ("max_split_size_mb:32,garbage_collection_threshold:0.5,roundup_power2_divisions:8", 0.4),
]


def test_random_requests(device: EmulatedDevice) -> None:
    given = card(device)
    given["profile"] += f"total_memory_bytes={TOTAL_MEMORY_BYTES}\n"
    ways = [*((conf, None) for conf in OPTIONS), *LIMITED, *REJECTING, *TOGETHER]
    runs = [{"conf": conf, "fraction": fraction, "case": None} for conf, fraction in ways]
    ends = in_child(DRIVE, {**given, "cases": CASES}, *runs)
    for (conf, fraction), real in zip(ways, ends, strict=True):
        settings = replace(parse_alloc_conf(conf, TORCH_VERSION), memory_fraction=fraction)
        for number, rows in enumerate(real):
            assert_equal_rows(number, settings, rows, conf)
        retries, failed = (sum(rows[-1][column] for rows in real) for column in (-2, -1))
        assert failed > 20
        assert retries > 20


@pytest.mark.skipif(not VERSION.at_least(2, 15), reason="torch 2.15 brought the option")
@pytest.mark.parametrize(
    "conf",
    [
        "expandable_segments:True,expandable_segments_reserve:0.1",
        "expandable_segments:True,expandable_segments_reserve:0.06G,max_split_size_mb:32",
        "expandable_segments:True,expandable_segments_reserve:0.004",
        "expandable_segments:True,expandable_segments_reserve:2G",
        "expandable_segments:True,expandable_segments_reserve_by_class:[a:0.001]",
        "expandable_segments_reserve:0.004",
    ],
)
def test_expandable_segments_that_may_not_grow_far(device: EmulatedDevice, conf: str) -> None:
    """Each case in a process of its own: torch keeps the addresses of a segment that got no memory.

    Where a segment can take everything, that shows nowhere.
    """
    given = card(device)
    given["profile"] += f"total_memory_bytes={TOTAL_MEMORY_BYTES}\n"
    runs = [{"conf": conf, "fraction": None, "case": number} for number in range(len(CASES))]
    ends = in_child(DRIVE, {**given, "cases": CASES}, *runs)
    settings = parse_alloc_conf(conf, TORCH_VERSION)
    for number, (rows,) in enumerate(ends):
        assert_equal_rows(number, settings, rows, conf)


# Requests of real programs.


def requests_from(entries: Iterable[list[Any]]) -> list[Request]:
    """The requests in an allocator history. Two live blocks never have one address."""
    kinds = {
        "alloc": EventKind.ALLOC,
        "free_requested": EventKind.FREE_REQUESTED,
        "free_completed": EventKind.FREE_COMPLETED,
    }
    return [
        Request(kinds[action], address, size, stream)
        for action, address, size, stream in entries
        if action in kinds
    ]


def peaks_of(result: ReplayResult) -> list[int]:
    assert result.out_of_memory is None
    return [result.peak_allocated_bytes, result.peak_active_bytes, result.peak_reserved_bytes]


RUNS: tuple[dict[str, Any], ...] = (
    {"batch_size": 2},
    {"batch_size": 8},
    {"batch_size": 5, "precision": "amp-bf16", "optimizer": "adamw"},
)


@pytest.mark.parametrize("model", ["resnet50", "gpt2"])
def test_training_steps(device: EmulatedDevice, model: str) -> None:
    """What was recorded under torch's defaults tells what every option would have needed."""
    given = {**card(device), "path": str(ROOT / "models" / f"{model}.py")}
    recorded = in_child(
        TRAIN,
        given,
        *({"options": options, "record": True} for options in RUNS),
        *({"conf": conf, "options": RUNS[-1], "record": False} for conf in OPTIONS[1:]),
    )
    requests = [requests_from(run["entries"]) for run in recorded[: len(RUNS)]]
    assert min(map(len, requests)) > 1000
    ways = [*(("", asked) for asked in requests), *((conf, requests[-1]) for conf in OPTIONS[1:])]
    for (conf, asked), real in zip(ways, recorded, strict=True):
        assert real["failure"] is None
        settings = parse_alloc_conf(conf, TORCH_VERSION)
        assert peaks_of(replay(asked, settings, capacity_bytes=1 << 44)) == real["peaks"], conf


def test_a_training_step_on_a_card_that_is_almost_full(device: EmulatedDevice) -> None:
    """Cached segments go back to the card, or memory runs out: at the same bytes in both.

    GPT-2, because a convolution that gets no workspace tries other algorithms before it fails.
    """
    given = {**card(device), "path": str(ROOT / "models" / "gpt2.py")}
    (recorded,) = in_child(TRAIN, given, {"options": RUNS[1], "record": True})
    requests = requests_from(recorded["entries"])
    settings = parse_alloc_conf("", TORCH_VERSION)
    allocated, _, reserved = recorded["peaks"]
    capacities = [reserved, reserved - 2 * MIB, allocated + 40 * MIB, allocated]
    ends = in_child(
        TRAIN,
        given,
        *(
            {"options": RUNS[1], "record": False, "profile": f"capacity_bytes={capacity}\n"}
            for capacity in capacities
        ),
    )
    seen = set()
    for capacity, real in zip(capacities, ends, strict=True):
        result = replay(requests, settings, capacity_bytes=capacity)
        assert (result.out_of_memory is not None) == ("out of memory" in (real["failure"] or ""))
        assert result.alloc_retries == real["retries"]
        assert [
            result.peak_allocated_bytes, result.peak_active_bytes, result.peak_reserved_bytes
        ] == real["peaks"]  # fmt: skip
        seen.add((result.out_of_memory is None, result.alloc_retries > 0))
    assert seen == {(True, False), (True, True), (False, True)}


def test_memory_that_another_stream_uses(device: EmulatedDevice) -> None:
    rng = random.Random(7)
    sizes = [rng.choice([1, 30]) * rng.randint(1, MIB) for _ in range(200)]
    ((peaks, entries),) = in_child(STREAMS, {**card(device), "sizes": sizes}, {})
    requests = requests_from(entries)
    # Back in the allocator only when it is asked again.
    kinds = [request.kind for request in requests]
    assert kinds[-1] is EventKind.FREE_REQUESTED
    assert kinds.count(EventKind.FREE_COMPLETED) > 100
    settings = parse_alloc_conf("", TORCH_VERSION)
    assert peaks_of(replay(requests, settings, capacity_bytes=1 << 44)) == peaks
    at_once = [
        Request(EventKind.FREE, request.block)
        if request.kind is EventKind.FREE_REQUESTED
        else request
        for request in requests
        if request.kind is not EventKind.FREE_COMPLETED
    ]
    assert peaks_of(replay(at_once, settings, capacity_bytes=1 << 44)) == peaks
