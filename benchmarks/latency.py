"""How long planner takes, as a ratio to `python -c "import torch"` on the same machine.

    python -m benchmarks.latency [--rounds 5]

The commands take turns, so that a drift of the machine's speed affects all of them; the ratio is
between medians. The emulated device must be built already (the first estimate builds it).
Also: time and memory with batch 8 against 8192, llama-70B with activation checkpointing, and how
long a replay of llama-8B takes for one batch.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planner.config.step import Precision, StepConfig
from planner.config.target import parse_target
from planner.emulator.build import emulated_device
from planner.emulator.cache import cache_folder
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.estimation.probes import sample_of
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.budget import memory_budgets
from planner.memory.forecast import Forecast
from planner.memory.scaling import ScaledRequests, fit
from planner.process.client import Runner
from planner.process.kept.store import OFF_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
PLANNER = [sys.executable, "-m", "planner"]
RESNET50 = [*PLANNER, "estimate", "models/resnet50.py", "--gpu"]
BASE = "python -c 'import torch'"
PEAK = "; now searching"  # of a line of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A command, and the ratio to `import torch` that it must stay below (None: for comparison).

    `until` is a text on stderr whose arrival is timed in place of the end. `kept`: with the answers
    of an a100 that `a repeat` before it has kept.
    """

    command: list[str]
    limit: float | None = None
    until: str | None = None
    kept: bool = False


COMMANDS: dict[str, Timed] = {
    BASE: Timed(command=[sys.executable, "-c", "import torch"]),
    "planner --help": Timed(command=[*PLANNER, "--help"], limit=0.35),
    "planner gpus": Timed(command=[*PLANNER, "gpus"], limit=0.35),
    "estimate resnet50, a100": Timed(command=[*RESNET50, "a100"], limit=1.8),
    "estimate resnet50, a100, peak on screen": Timed(
        command=[*RESNET50, "a100"], limit=1.5, until=PEAK
    ),
    "estimate resnet50, all cards": Timed(command=[*RESNET50, "all"], limit=2.0),
    "estimate resnet50, a100, no search": Timed(
        command=[*RESNET50, "a100", "--no-max-batch"], limit=1.8
    ),
    "estimate resnet50, four cards": Timed(
        command=[*RESNET50, "t4", "--gpu", "rtx3090", "--gpu", "a100-40gb", "--gpu", "h100"]
    ),
    "a repeat": Timed(command=[*RESNET50, "a100"], limit=0.2, kept=True),
    "kept runs on another card of 8.0": Timed(
        command=[*RESNET50, "a100-40gb"], limit=0.3, kept=True
    ),
    "kept runs, 10 % of the card left free": Timed(
        command=[*RESNET50, "a100", "--reserve", "10%"], limit=0.3, kept=True
    ),
}
ONE_STEP = [*RESNET50, "h100", "--no-max-batch", "--batch"]
LLAMA_70B = [
    *PLANNER, "estimate", "models/llama.py:llama_70b", "--gpu", "h100", "--batch", "1",
    "--precision", "bf16", "--checkpoint-activations", "--no-max-batch",
]  # fmt: skip
LLAMA_SECONDS, LLAMA_BYTES = 30.0, 1.5 * 2**30
BATCH_TOLERANCE = 0.10
REPLAY_SECONDS = 0.5


def main() -> int:
    """Prints the figures; exit code 1 if one is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    run([*RESNET50, "a100", "--no-max-batch"])  # builds the device, warms the file cache
    good = ratios(rounds)
    good &= batch_independence(rounds)
    good &= large_model()
    good &= replay_of_llama()
    return 0 if good else 1


def ratios(rounds: int) -> bool:
    """Compares the commands with `import torch`."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with kept_answers() as keeping:
        run([*RESNET50, "a100"], keeping)
        for _ in range(rounds):
            for name, one in COMMANDS.items():
                times[name].append(run(one.command, keeping if one.kept else None, one.until))
    base = statistics.median(times[BASE])
    good = True
    for name, one in COMMANDS.items():
        median = statistics.median(times[name])
        within = one.limit is None or median / base <= one.limit
        good &= within
        missed = "" if within else ", MISSED"
        wanted = "" if one.limit is None else f"  (limit {one.limit:.2f}{missed})"
        print(f"{name:40} {median:6.2f} s  {median / base:5.2f} x{wanted}")
    return good


@contextmanager
def kept_answers() -> Iterator[dict[str, str]]:
    """Yields the environment of commands that keep answers, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="planner-latency-") as folder:
        shutil.copytree(cache_folder(), Path(folder) / cache_folder().name)
        without = {name: text for name, text in os.environ.items() if name != OFF_VARIABLE}
        yield {**without, "VRAM_PLANNER_CACHE": folder}


def batch_independence(rounds: int) -> bool:
    """Compares batch 8192 with batch 8: medians of wall time and of the memory of all processes."""
    small, large = [], []
    for _ in range(rounds):
        small.append(watched([*ONE_STEP, "8"]))
        large.append(watched([*ONE_STEP, "8192"]))
    good = True
    for index, (name, unit) in enumerate((("time", 1.0), ("host memory, MiB", 2.0**20))):
        before = statistics.median(sample[index] for sample in small)
        after = statistics.median(sample[index] for sample in large)
        within = abs(after / before - 1) <= BATCH_TOLERANCE
        good &= within
        print(
            f"resnet50, {name}: batch 8 {before / unit:.2f}, batch 8192 {after / unit:.2f}, "
            f"ratio {after / before:.3f}{'' if within else '  MISSED'}"
        )
    return good


def large_model() -> bool:
    """Measures llama-70B, sequence 4096, with activation checkpointing."""
    seconds, memory_bytes = watched(LLAMA_70B)
    within = seconds <= LLAMA_SECONDS and memory_bytes <= LLAMA_BYTES
    print(
        f"llama-70B, sequence 4096, checkpointed: {seconds:.1f} s, "
        f"{memory_bytes / 2**30:.2f} GiB of host memory{'' if within else '  MISSED'}"
    )
    return within


def replay_of_llama() -> bool:
    """Times llama-8B (sequence 4096, bf16) from recorded requests to peaks at another batch."""
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets(["h100"], hardware_db=None, gpu_memory=None, reserve=0)
    profile = cards.unlimited(budget)
    target = parse_target(f"{ROOT}/models/llama.py:llama_8b")
    with Runner(target, device=cards.device, profile=profile, timeout_s=600) as runner:
        runner.wait_loaded()
        samples = []
        for batch_size in (2, 3):
            config = StepConfig(batch_size=batch_size, precision=Precision.BF16)
            _, log = runner.requests(profile, config)
            assert log is not None, "on the emulated card there is a log"
            samples.append(sample_of(batch_size, log))
    scaled = fit(samples)
    assert isinstance(scaled, ScaledRequests), scaled
    forecast = Forecast(scaled, parse_alloc_conf("", torch.version))
    times = []
    for batch_size in range(4, 9):
        started = time.perf_counter()
        forecast.on_card(batch_size, capacity_bytes=1 << 44, total_memory_bytes=1 << 44)
        times.append(time.perf_counter() - started)
    median, count = statistics.median(times), len(samples[0].requests)
    within = median <= REPLAY_SECONDS
    print(
        f"llama-8B, {count} requests: replayed in {median:.3f} s for one batch"
        f"  (limit {REPLAY_SECONDS}{'' if within else ', MISSED'})"
    )
    return within


def run(
    command: list[str], environment: dict[str, str] | None = None, until: str | None = None
) -> float:
    """Runs the command; returns its wall time in seconds, or that until stderr has `until`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    seen, lines = None, []
    for line in process.stderr:
        lines.append(line)
        if until is not None and until in line and seen is None:
            seen = time.perf_counter() - started
    code = process.wait()
    elapsed = time.perf_counter() - started
    check(command, code, "".join(lines))
    if until is None:
        return elapsed
    if seen is None:
        sys.exit(f"{' '.join(command)} never said {until!r}")
    return seen


def watched(command: list[str]) -> tuple[float, float]:
    """Returns wall time in seconds, and the most bytes of the process and all below it."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(process.pid))
        time.sleep(0.05)
    elapsed = time.perf_counter() - started
    assert process.stderr is not None
    check(command, process.returncode, process.stderr.read().decode())
    return elapsed, float(peak)


def check(command: list[str], code: int, errors: str) -> None:
    """Ends the benchmark if a command failed; exit code 3 (does not fit) is an answer."""
    if code not in (0, 3):
        sys.exit(f"{' '.join(command)} failed:\n{errors}")


def tree_bytes(pid: int) -> int:
    """Returns the PSS of a process and all below it; shared pages count once."""
    total = 0
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(rollup.partition("Pss:")[2].split()[0]) * 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += tree_bytes(int(child))
    except (OSError, IndexError):
        pass  # it ended while we looked
    return total


if __name__ == "__main__":
    sys.exit(main())
