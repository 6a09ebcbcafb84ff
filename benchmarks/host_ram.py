"""RAM and /dev/shm of real training processes with loaders, against what the model says.

    python -m benchmarks.host_ram [--batch 64]

Each setting is a process of its own that holds a batch and lets its workers fill every queue. Its
memory and that of its workers is read from /proc, shared pages once (Pss), and files in /dev/shm by
their blocks. The memory before the first batch is measured in another process that imports the
same. Exit code 1 when a setting is beyond the tolerance.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.input_pipeline import Pictures, cpu_s, write_pictures
from planner.input_pipeline.host_ram import host_ram
from planner.input_pipeline.loader import Loader
from planner.units import MIB

SETTINGS = (
    Loader(workers=0, pin_memory=False),
    Loader(workers=2, pin_memory=False),
    Loader(workers=4, prefetch_factor=4, pin_memory=False),
)
TOLERANCE = 0.10
_SETTLED_S = 2.0
_IDLE_CPU_S = 0.05  # less CPU time than this means that every queue is full
_LONGEST_S = 240.0
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system


def main() -> int:
    """Prints predicted and measured MiB of each setting; exit code 1 beyond the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--job", help="the setting of one process, as JSON")
    given = parser.parse_args()
    if given.job is not None:
        print(json.dumps(job(given.batch, **json.loads(given.job))))
        return 0
    base_bytes = measured(given.batch, None)["ram_bytes"]
    print(f"base process: {base_bytes / MIB:.0f} MiB")
    print(
        "workers  prefetch  /dev/shm predicted  measured  ratio  total predicted  measured  ratio"
    )
    good = True
    for loader in SETTINGS:
        found = measured(given.batch, loader)
        sizes = found["tensor_sizes_bytes"]
        expected = host_ram(loader, sizes, base_bytes=base_bytes)
        shm, total = found["shm_bytes"], found["ram_bytes"] + found["shm_bytes"]
        shm_ratio = expected.shm_peak_bytes / shm if shm else 1.0
        ratio = expected.total_bytes / total
        good &= abs(shm_ratio - 1) <= TOLERANCE and abs(ratio - 1) <= TOLERANCE
        print(
            f"{loader.workers:7} {loader.prefetch_factor:9} {expected.shm_peak_bytes / MIB:19.0f} "
            f"{shm / MIB:9.0f} {shm_ratio:6.2f} {expected.total_bytes / MIB:16.0f} "
            f"{total / MIB:9.0f} {ratio:6.2f}   each worker {found['worker_bytes'] / MIB:.0f} MiB"
        )
    return 0 if good else 1


def measured(batch_size: int, loader: Loader | None) -> dict[str, Any]:
    """Runs a job in its own process, returns its report; None: a job that loads no batch."""
    setting = (
        {"workers": None, "prefetch": 2}
        if loader is None
        else {"workers": loader.workers, "prefetch": loader.prefetch_factor}
    )
    command = [sys.executable, "-m", "benchmarks.host_ram", "--batch", str(batch_size)]
    done = subprocess.run(
        [*command, "--job", json.dumps(setting)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def job(batch_size: int, workers: int | None, prefetch: int) -> dict[str, Any]:
    """Runs in a process of its own: loads, waits until all queues are full, reads /proc."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(write_pictures(Path(folder)), length=1 << 16)
        if workers is None:
            pictures[0]
            return {"ram_bytes": sum(private_bytes([os.getpid()]))}
        more: dict[str, Any] = {"prefetch_factor": prefetch} if workers else {}
        if workers:
            more["worker_init_fn"] = collect
        running: Any = iter(DataLoader(pictures, batch_size, num_workers=workers, **more))
        batch = next(running)
        batch = next(running)
        pids = [worker.pid for worker in running._workers] if workers else []
        settle([os.getpid(), *pids])
        own, *others = private_bytes([os.getpid(), *pids])
        return {
            "ram_bytes": own + sum(others),
            "worker_bytes": sum(others) // max(1, len(others)),
            "shm_bytes": shm_bytes([os.getpid(), *pids]),
            "tensor_sizes_bytes": [tensor.nbytes for tensor in batch],
        }


def collect(_worker: int) -> None:
    """Runs a full collection, as in a long epoch of a worker: it writes to every Python object."""
    gc.collect()


def private_bytes(pids: Sequence[int]) -> list[int]:
    """Returns the memory of each process, shared pages in parts, without /dev/shm."""
    found = []
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split()[0]: line.split()[1] for line in lines[1:]}
        found.append((int(sizes["Pss:"]) - int(sizes["Pss_Shmem:"])) * 1024)
    return found


def shm_bytes(pids: Sequence[int]) -> int:
    """Counts the bytes of all files in /dev/shm that the processes have open, each once."""
    device = os.stat("/dev/shm").st_dev
    blocks = {}
    for pid in pids:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                status = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue  # closed while we looked
            if status.st_dev == device:
                blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * _BLOCK_BYTES


def settle(pids: Sequence[int]) -> None:
    """Waits until no process works any more: then the workers wait for room in their queues."""
    began, before = time.monotonic(), cpu_s(pids)
    while time.monotonic() - began < _LONGEST_S:
        time.sleep(_SETTLED_S)
        now = cpu_s(pids)
        if now - before < _IDLE_CPU_S:
            return
        before = now


if __name__ == "__main__":
    sys.exit(main())
