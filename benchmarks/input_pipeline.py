"""Batches of a real DataLoader against the input model: Pillow decodes JPEGs, 1, 2 and 4 workers.

    python -m benchmarks.input_pipeline [--rounds 5] [--batch 64]

Each round times items and their collation in this process, as `measure_data` does, then lets the
loader run with each number of workers; the main process only iterates, for there is no GPU. Other
processes of a shared machine take cores: /proc/stat shows how many in each window, and the model
gets the rest. Exit code 1 when the median of a setting is beyond the tolerance.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from planner.hardware.cpu_specs import REFERENCE_DECODE_ITEMS_PER_S
from planner.input_pipeline.data_item import DataItem
from planner.input_pipeline.host_budget import HostBudget, PcieLink
from planner.input_pipeline.loader import Loader
from planner.input_pipeline.rates import InputTimes, input_times
from planner.worker.drive.data_cost import measure_data
from planner.worker.target.source import ModelSource

WORKERS = (1, 2, 4)
BATCHES = 8  # of a window, whole turns of all workers
TOLERANCE = 0.20
ITEM_S = 1.0  # of timing items
WIDTH, HEIGHT, QUALITY = 500, 375, 90  # the usual size of an ImageNet picture: about 118 kB
CROP = 224
_MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32).reshape(3, 1, 1)
_DEVIATION = np.array((0.229, 0.224, 0.225), dtype=np.float32).reshape(3, 1, 1)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """JPEG files; each is decoded, cropped at random, flipped and normalised at its request.

    An item is a float32 tensor of 3 x 224 x 224 and a label.
    """

    def __init__(self, paths: Sequence[Path], length: int) -> None:
        self.paths = tuple(paths)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        draw = np.random.default_rng(index)
        with Image.open(self.paths[index % len(self.paths)]) as opened:
            picture = opened.convert("RGB")
        area = picture.width * picture.height * draw.uniform(0.08, 1.0)
        ratio = float(np.exp(draw.uniform(np.log(3 / 4), np.log(4 / 3))))
        width = min(picture.width, max(1, round((area * ratio) ** 0.5)))
        height = min(picture.height, max(1, round((area / ratio) ** 0.5)))
        left = int(draw.integers(0, picture.width - width + 1))
        top = int(draw.integers(0, picture.height - height + 1))
        picture = picture.resize(
            (CROP, CROP), Image.Resampling.BILINEAR, (left, top, left + width, top + height)
        )
        if draw.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255.0
        return torch.from_numpy((values - _MEAN) / _DEVIATION), index % 1000


def write_pictures(folder: Path, count: int = 64) -> tuple[Path, ...]:
    """Writes JPEG files of noise over a smooth ground, which compress like photographs."""
    draw = np.random.default_rng(1)
    paths = []
    for number in range(count):
        coarse = draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        ground = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = draw.normal(0, 11, (HEIGHT, WIDTH, 3))
        values = np.clip(np.asarray(ground, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(values).save(paths[-1], quality=QUALITY)
    return tuple(paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some batches of a running loader. `left_cores`: cores that other processes left free."""

    samples_per_s: float
    left_cores: float


def main() -> int:
    """Prints predicted and measured samples per second; exit code 1 beyond the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)  # as in a worker
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    ratios: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    print("workers  cores left  predicted/s  measured/s  ratio  limit")
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(write_pictures(Path(folder)), length=1 << 20)
        measure_item(pictures)  # warms caches
        for _ in range(given.rounds):
            for workers in WORKERS:
                item, speed = measure_item(pictures)
                window = measure_loader(pictures, given.batch, workers)
                times = predict(item, speed, given.batch, workers, window)
                ratio = times.samples_per_s / window.samples_per_s
                ratios[workers].append(ratio)
                print(
                    f"{workers:7} {window.left_cores:11.2f} {times.samples_per_s:12.0f} "
                    f"{window.samples_per_s:11.0f} {ratio:6.2f}  {times.limit.value}",
                    flush=True,
                )
    medians = {workers: statistics.median(found) for workers, found in ratios.items()}
    for workers, median in medians.items():
        print(f"{workers} workers: predicted / measured {median:.2f} (median of {given.rounds})")
    return 0 if all(abs(median - 1) <= TOLERANCE for median in medians.values()) else 1


def measure_item(pictures: Pictures) -> tuple[DataItem, float]:
    """Measures the cost of an item on the reference core, and this core's speed relative to it."""
    source = ModelSource(build_model=torch.nn.Identity, build_dataset=lambda: pictures)
    cost = measure_data(source, ITEM_S)
    assert cost.item_bytes is not None
    assert cost.collate_s is not None
    decode_s = []
    for path in pictures.paths:
        started = time.thread_time()
        with Image.open(path) as opened:
            opened.load()
        decode_s.append(time.thread_time() - started)
    speed = 1 / statistics.median(decode_s) / REFERENCE_DECODE_ITEMS_PER_S
    item = DataItem(
        name="pictures",
        prepare_s=cost.cpu_mean_s * speed,
        item_bytes=cost.item_bytes,
        stored_bytes=0,  # they are in the page cache
        basis="measured",
        collate_s=cost.collate_s * speed,
    )
    return item, speed


def predict(
    item: DataItem, speed: float, batch_size: int, workers: int, window: Window
) -> InputTimes:
    """Predicts the times with the model, for the free cores of the window."""
    host = HostBudget(
        requested="this machine",
        cores=window.left_cores,
        threads=math.ceil(window.left_cores),
        core_speed=speed,
        ram_bytes=0,
        shm_bytes=None,
        storage_bytes_per_s=None,
        pcie_generation=None,
        pcie_lanes=None,
    )
    loader = Loader(workers=workers, pin_memory=False)
    return input_times(item, batch_size, loader, host, PcieLink(generation=None, lanes=None))


def measure_loader(pictures: Pictures, batch_size: int, workers: int) -> Window:
    """Measures batches in the steady state; the main process takes each as it comes."""
    loader = DataLoader(pictures, batch_size, num_workers=workers)
    running: Any = iter(loader)
    for _ in range(3 * workers):
        next(running)
    pids = (os.getpid(), *(worker.pid for worker in running._workers))
    own_s, all_s, started = cpu_s(pids), machine_busy_s(), time.perf_counter()
    for _ in range(BATCHES):
        next(running)
    elapsed_s = time.perf_counter() - started
    others_s = max(0.0, machine_busy_s() - all_s - (cpu_s(pids) - own_s))
    cores = len(os.sched_getaffinity(0))
    return Window(
        samples_per_s=BATCHES * batch_size / elapsed_s, left_cores=cores - others_s / elapsed_s
    )


def cpu_s(pids: Sequence[int]) -> float:
    """Returns the CPU seconds of processes so far, by the clock that Linux keeps for each."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)  # CPUCLOCK_SCHED of the process


def machine_busy_s() -> float:
    """Returns the CPU seconds of this whole machine, with those that its own host took."""
    user, nice, system, _idle, _wait, irq, softirq, steal = (
        int(word) for word in Path("/proc/stat").read_text().split()[1:9]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
