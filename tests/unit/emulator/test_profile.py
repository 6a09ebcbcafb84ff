"""A card's profile as text, and what the built device makes of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import find_torch
from planner.hardware.database import load_gpus
from planner.memory.budget import memory_budgets

pytestmark = pytest.mark.slow

# In a process of its own: the device is loaded once per process, without torch.
PROGRAM = """
import ctypes, json, sys
libraries, profile, attributes = json.load(sys.stdin)
handles = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in libraries]
device = handles[0]
line = device.planner_device_configure(profile.encode())
values = {}
for name, number in attributes.items():
    value = ctypes.c_int()
    device.cudaDeviceGetAttribute(ctypes.byref(value), number, 0)
    values[name] = value.value
free, total = ctypes.c_size_t(), ctypes.c_size_t()
device.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
text = ctypes.create_string_buffer(256)
device.cuDeviceGetName(text, 256, 0)
json.dump([line, values, free.value, total.value, text.value.decode()], sys.stdout)
"""
# cudaDeviceAttr of driver_types.h
ATTRIBUTES = {"multiprocessors": 16, "threads_per_sm": 39, "l2": 38, "major": 75, "minor": 76,
              "shared_optin": 97, "blocks_per_sm": 106}  # fmt: skip


def configure(device: EmulatedDevice, profile: str) -> list[object]:
    given = json.dumps([[str(path) for path in device.libraries], profile, ATTRIBUTES])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def profile_of(device: EmulatedDevice, name: str, capacity_bytes: int) -> str:
    (budget,) = memory_budgets([name], hardware_db=None, gpu_memory=None, reserve=0)
    return device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=budget.usable_memory_bytes,
        capacity_bytes=capacity_bytes,
    )


@pytest.mark.parametrize("name", ["t4", "h100"])
def test_round_trip_through_the_device(device: EmulatedDevice, name: str) -> None:
    card = load_gpus(None).find(name).spec.profile
    line, values, free, total, shown = configure(device, profile_of(device, name, 1 << 30))
    assert line == 0
    assert values == {
        "multiprocessors": card.streaming_multiprocessors,
        "threads_per_sm": card.limits.threads_per_sm,
        "l2": card.l2_bytes,
        "major": card.compute_capability[0],
        "minor": card.compute_capability[1],
        "shared_optin": card.limits.shared_memory_per_block_optin_bytes,
        "blocks_per_sm": card.limits.blocks_per_sm,
    }
    assert (free, total) == (1 << 30, card.total_memory_bytes)
    assert shown == f"{card.name} (emulated)"


def test_a_card_without_limit_shows_its_own_memory(device: EmulatedDevice) -> None:
    _, _, free, total, _ = configure(device, profile_of(device, "t4", UNLIMITED_BYTES))
    assert free == total


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("major=8\nminor=0\ncolour=green\n", 3),
        ("major=eight\n", 1),
        ("minor=0\n\nno equals sign\n", 3),
        ("multiprocessors=99999999999999999999\n", 1),
        ("device_count=0\n", -1),
        ("", 0),
        ("name=a=b\n", 0),
    ],
    ids=[
        "unknown key",
        "no number",
        "no pair",
        "too large",
        "no device",
        "empty",
        "equals in value",
    ],
)
def test_what_the_device_does_not_understand(device: EmulatedDevice, text: str, line: int) -> None:
    found, values, *_ = configure(device, text)
    assert found == line
    if line:  # nothing is changed
        assert isinstance(values, dict)
        assert values["major"] == 8
