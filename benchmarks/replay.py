"""How fast the replay of the allocator is: requests per second, for each allocator option.

    python -m benchmarks.replay [--rounds 5] [--batch 1]

The requests are those of four training steps of a transformer with the sizes of Llama-3 8B
(https://huggingface.co/meta-llama/Meta-Llama-3-8B/blob/main/config.json), sequence 4096, bf16,
AdamW: about 15 thousand, in the order of forward, backward and optimizer. They are packed once, as
a search does. Exit code 1 when a replay takes 3 ms or more, or is not done in native code.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from planner.emulator.replay_library import library
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request, replay
from planner.memory.allocator.requests import packed
from planner.units import format_bytes
from planner.wire.trace import EventKind

LIMIT_S = 0.003
CAPACITY_BYTES = 1 << 44
OPTIONS = (
    "",
    "expandable_segments:True",
    "max_split_size_mb:256",
    "roundup_power2_divisions:4",
    "large_segment_size_mb:64",
    "garbage_collection_threshold:0.8,per_process_memory_fraction:0.9",
)
VERSIONS = ("2.6.0", "2.15.0")

LAYERS, HIDDEN, FEED_FORWARD, KEY_VALUE, VOCABULARY = 32, 4096, 14336, 1024, 128256
SEQUENCE, BYTES = 4096, 2


class Program:
    """Collects the requests of a program; a block is named by a number."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._last = 0

    def allocate(self, size_bytes: int) -> int:
        """Requests memory."""
        self._last += 1
        self.requests.append(Request(EventKind.ALLOC, self._last, size_bytes))
        return self._last

    def free(self, *blocks: int) -> None:
        """Frees memory."""
        self.requests.extend(Request(EventKind.FREE, block) for block in blocks)


def training(batch_size: int, steps: int) -> list[Request]:
    """Returns the requests of `steps` training steps; the first makes the optimizer's state."""
    program = Program()
    tokens = batch_size * SEQUENCE * BYTES
    layer = [HIDDEN * HIDDEN, HIDDEN * KEY_VALUE, HIDDEN * KEY_VALUE, HIDDEN * HIDDEN, HIDDEN,
             *[HIDDEN * FEED_FORWARD] * 3, HIDDEN]  # fmt: skip
    sizes = [size * BYTES for size in [VOCABULARY * HIDDEN, *layer * LAYERS, HIDDEN]]
    for size in sizes:
        program.allocate(size)
    # Widths of the tensors that a layer makes in forward, and whether backward needs them.
    made = [(HIDDEN, True), (HIDDEN, False), (1, True), (HIDDEN, True), (HIDDEN, True),
            (KEY_VALUE, True), (KEY_VALUE, True), (HIDDEN, False), (HIDDEN, True),
            (KEY_VALUE, True), (HIDDEN, True), (32, True), (HIDDEN, False), (HIDDEN, True),
            (HIDDEN, False), (1, True), (HIDDEN, True), (FEED_FORWARD, True),
            (FEED_FORWARD, True), (FEED_FORWARD, True), (FEED_FORWARD, True),
            (HIDDEN, False)]  # fmt: skip
    for step in range(steps):
        saved: list[list[int]] = []
        for _ in range(LAYERS):
            kept = []
            for width, needed in made:
                block = program.allocate(width * tokens)
                if needed:
                    kept.append(block)
                else:
                    program.free(block)
            saved.append(kept)
        logits = program.allocate(VOCABULARY * tokens)
        flowing = program.allocate(VOCABULARY * tokens)
        program.free(logits)
        gradients = []
        while saved:
            for number, block in enumerate(reversed(saved.pop())):
                made_here = program.allocate(made[number][0] * tokens)
                program.free(flowing, block)
                flowing = made_here
                if number < len(layer):
                    gradients.append(program.allocate(layer[-1 - number] * BYTES))
        program.free(flowing)
        for size in sizes if step == 0 else []:
            program.allocate(size)
            program.allocate(size)
        roots = [program.allocate(size) for size in sizes]
        program.free(*roots, *gradients)
    return program.requests


def main() -> int:
    """Prints a line for each option and version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    requests = training(arguments.batch, steps=4)
    columns = packed(requests)
    print(f"{len(requests)} requests, median of {arguments.rounds}")
    slowest = 0.0
    for conf, version in [("", VERSIONS[0]), *((conf, VERSIONS[1]) for conf in OPTIONS)]:
        settings = parse_alloc_conf(conf, version)
        took = []
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            result = replay(columns, settings, capacity_bytes=CAPACITY_BYTES)
            took.append(time.perf_counter() - began)
        median = statistics.median(took)
        slowest = max(slowest, median)
        print(
            f"torch {version:7} {conf or 'defaults':66} {median * 1000:6.1f} ms "
            f"{len(requests) / median / 1e6:5.2f} M/s  {format_bytes(result.peak_reserved_bytes)}"
        )
    return 0 if library() is not None and slowest < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
