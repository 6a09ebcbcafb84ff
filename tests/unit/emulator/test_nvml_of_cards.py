"""NVML of the emulated cards, asked by NVIDIA's own Python package."""

from __future__ import annotations

from typing import Any

import pytest

from planner.emulator.build import EmulatedDevice
from tests.unit.emulator.device_programs import answer_of

pytestmark = pytest.mark.slow

GIB = 1 << 30
PROGRAM = """
import ctypes, json, sys
given = json.load(sys.stdin)
device = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in given["libraries"]][0]
assert device.planner_device_configure(given["profile"].encode()) == 0
import pynvml
pynvml.nvmlInit()
first, second = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))

def refused(function, *arguments):
    try:
        function(*arguments)
    except pynvml.NVMLError as error:
        return type(error).__name__
    return None

def notes():
    buffer = ctypes.create_string_buffer(1 << 16)
    device.planner_device_notes(buffer, ctypes.c_size_t(1 << 16))
    return buffer.value.decode().split()

def memory(handle, **version):
    found = pynvml.nvmlDeviceGetMemoryInfo(handle, **version)
    return [found.total, found.free, found.used]

RESULT
json.dump(result, sys.stdout)
"""
PROFILE = (
    "name=Some Card\nmajor=8\nminor=6\ndevice_count=2\n"
    f"total_memory_bytes={24 * GIB}\ncapacity_bytes={20 * GIB}\n"
)


def answered(device: EmulatedDevice, statements: str) -> Any:
    """The value of `result` after the statements."""
    given = {"libraries": [str(path) for path in device.libraries], "profile": PROFILE}
    return answer_of(PROGRAM.replace("RESULT", statements), given)


def test_cards_are_those_of_the_profile_and_are_told_apart(device: EmulatedDevice) -> None:
    found = answered(
        device,
        """
uuids = [pynvml.nvmlDeviceGetUUID(one) for one in (first, second)]
places = [pynvml.nvmlDeviceGetPciInfo(one).busId for one in (first, second)]
by_uuid = [pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(one)) for one in uuids]
by_place = [pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByPciBusId(one)) for one in places]
runtime = ctypes.create_string_buffer(32)
device.cudaDeviceGetPCIBusId(runtime, 32, 1)
back = ctypes.c_int()
device.cudaDeviceGetByPCIBusId(ctypes.byref(back), runtime)
result = dict(
    names=[pynvml.nvmlDeviceGetName(one) for one in (first, second)],
    capability=pynvml.nvmlDeviceGetCudaComputeCapability(second),
    uuids=uuids, places=places, by_uuid=by_uuid, by_place=by_place,
    runtime=runtime.value.decode(), back=back.value,
    third=refused(pynvml.nvmlDeviceGetHandleByIndex, 2),
    elsewhere=refused(pynvml.nvmlDeviceGetHandleByPciBusId, "00000000:09:00.0"),
    stranger=refused(pynvml.nvmlDeviceGetHandleByUUID, "GPU-0"),
)
""",
    )
    assert found == {
        "names": ["Some Card", "Some Card"],
        "capability": [8, 6],
        "uuids": [
            "GPU-01020304-0506-0708-090a-0b0c0d0e0f10",
            "GPU-11121314-1516-1718-191a-1b1c1d1e1f20",
        ],
        "places": ["00000000:01:00.0", "00000000:02:00.0"],
        "by_uuid": [0, 1],
        "by_place": [0, 1],
        "runtime": "0000:02:00.0",
        "back": 1,
        "third": "NVMLError_InvalidArgument",
        "elsewhere": "NVMLError_NotFound",
        "stranger": "NVMLError_NotFound",
    }


def test_memory_is_what_is_allocated_on_each_card(device: EmulatedDevice) -> None:
    before, after, newer, other = answered(
        device,
        """
before = memory(first)
pointer = ctypes.c_void_p()
assert device.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(3 << 30)) == 0
result = [before, memory(first), memory(first, version=pynvml.nvmlMemory_v2), memory(second)]
""",
    )
    assert before[0] == 24 * GIB
    assert after == newer == [before[0], before[1] - 3 * GIB, before[2] + 3 * GIB]
    assert other == before


def test_what_no_emulated_card_has_is_zero_and_noted(device: EmulatedDevice) -> None:
    before, values, after, unknown = answered(
        device,
        """
before = notes()
values = [
    pynvml.nvmlDeviceGetUtilizationRates(first).gpu,
    pynvml.nvmlDeviceGetTemperature(first, pynvml.NVML_TEMPERATURE_GPU),
    pynvml.nvmlDeviceGetPowerUsage(first),
    pynvml.nvmlDeviceGetClockInfo(first, pynvml.NVML_CLOCK_SM),
]
result = [before, values, notes(), refused(pynvml.nvmlSystemGetDriverVersion)]
""",
    )
    assert before == []
    assert values == [0, 0, 0, 0]
    assert after == ["nvml-sensor"]
    assert unknown == "NVMLError_NotSupported"
