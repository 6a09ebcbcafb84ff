"""Bytes of a job on its host, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from planner.input_pipeline.host_ram import (
    DOCKER_SHM_BYTES,
    HostRam,
    Room,
    host_ram,
    pinned_bytes,
    room_in_ram,
    room_in_shm,
)
from planner.input_pipeline.loader import Loader
from planner.units import MIB


def ram(workers: int, pin: bool = False, **options: Any) -> HostRam:
    loader = Loader(workers=workers, pin_memory=pin, prefetch_factor=options.pop("prefetch", 2))
    options = {"base_bytes": 1000, "worker_private_bytes": 100, **options}
    return host_ram(loader, (6, 3), **options)


def test_pinned_blocks_are_powers_of_two() -> None:
    assert pinned_bytes([154 * 10**6]) == 256 * MIB
    assert pinned_bytes([1, 2, 3, 4, 5]) == 1 + 2 + 4 + 4 + 8
    assert pinned_bytes([0]) == 0


@pytest.mark.parametrize(
    ("workers", "prefetch", "batches"), [(0, 2, 0), (1, 2, 3), (2, 2, 5), (4, 4, 17)]
)
def test_batches_in_shared_memory(workers: int, prefetch: int, batches: int) -> None:
    found = ram(workers, prefetch=prefetch)
    assert found.shm_peak_bytes == 9 * batches
    assert found.total_bytes == 1000 + 100 * workers + 9 * max(1, batches)


def test_what_waits_waits_pinned() -> None:
    found = ram(2, pin=True)
    assert found.pinned_bytes == 5 * (8 + 4)
    assert found.prefetch_bytes == 3 * 9  # one in each worker's hands, one being copied
    assert found.shm_peak_bytes == 5 * 9
    assert ram(0, pin=True).pinned_bytes == 8 + 4


def test_a_data_set_of_python_objects_is_copied() -> None:
    assert ram(3, dataset_bytes=50).dataset_bytes == 200
    assert ram(3, dataset_bytes=50, dataset_copied=False).dataset_bytes == 50
    assert ram(0, dataset_bytes=50, checkpoint_bytes=7).total_bytes == 1000 + 9 + 50 + 7


@pytest.mark.parametrize(
    ("there", "expected"), [(1009, Room.TIGHT), (1008, Room.DOES_NOT_FIT), (1262, Room.FITS)]
)
def test_room_in_ram(there: int, expected: Room) -> None:
    assert room_in_ram(ram(0), there) is expected


def test_room_in_shared_memory() -> None:
    loader = Loader(workers=2)
    large = host_ram(loader, (20 * MIB,), base_bytes=0)
    assert room_in_shm(large, DOCKER_SHM_BYTES) is Room.DOES_NOT_FIT
    assert room_in_shm(large, 110 * MIB) is Room.TIGHT
    assert room_in_shm(large, None) is Room.UNKNOWN
    assert room_in_shm(host_ram(Loader(workers=0), (1 << 40,), base_bytes=0), 1) is Room.FITS


def test_processes_of_a_machine_take_as_many_times_as_much() -> None:
    one = ram(2, dataset_bytes=50, checkpoint_bytes=7)
    assert one.of_processes(8).total_bytes == 8 * one.total_bytes
    assert one.of_processes(8).pinned_bytes == 8 * one.pinned_bytes
