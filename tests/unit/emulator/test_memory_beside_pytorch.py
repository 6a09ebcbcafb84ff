"""Memory that others than PyTorch's allocator take: unified memory, cudaMalloc of libraries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from planner.emulator.build import EmulatedDevice
from tests.unit.emulator.device_programs import answer_of

pytestmark = pytest.mark.slow

MIB = 1 << 20
# In a process of its own: the device is loaded once per process. ctypes is a library beside
# PyTorch as any other. `figures` are (charged, peak outside, peak unified, peak beyond the card).
PROGRAM = """
import ctypes, json, sys
libraries = json.load(sys.stdin)
device = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in libraries][0]
MIB = 1 << 20
assert device.planner_device_configure(b"capacity_bytes=%d" % (64 * MIB)) == 0

class Location(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("id", ctypes.c_int)]

CARD, HOST = Location(1, 0), Location(2, 0)
NOTHING = ctypes.c_void_p()

def figures():
    names = ["charged", "peak_outside", "peak_managed", "peak_beyond"]
    functions = [device[f"planner_device_{name}_bytes"] for name in names]
    for function in functions:
        function.restype = ctypes.c_size_t
    return [function(0) for function in functions]

def allocate(function, size, *more):
    pointer = ctypes.c_void_p()
    return function(ctypes.byref(pointer), ctypes.c_size_t(size), *more), pointer

def managed(size):
    status, pointer = allocate(device.cudaMallocManaged, size, 1)
    assert status == 0
    return pointer

def size(value):
    return ctypes.c_size_t(value)

def notes():
    buffer = ctypes.create_string_buffer(1 << 16)
    device.planner_device_notes(buffer, size(1 << 16))
    return buffer.value.decode().split()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

RESULT
"""


def on_device(device: EmulatedDevice, statements: str) -> Any:
    """The value of `result` after the statements."""
    program = PROGRAM.replace("RESULT", f"{statements}\njson.dump(result, sys.stdout)")
    return answer_of(program, [str(path) for path in device.libraries])


def test_unified_memory_is_on_the_card_and_the_host_may_use_it(device: EmulatedDevice) -> None:
    found = on_device(
        device,
        """
before = resident()
p = managed(30 * MIB + 1)
grown = resident() - before
taken = figures()
cell = ctypes.c_long.from_address(p.value + 8 * MIB)
first, cell.value = cell.value, 7
ctypes.memset(p.value + 30 * MIB, 1, 1)
copied = ctypes.c_long()
device.cudaMemcpy(ctypes.byref(copied), ctypes.c_void_p(p.value + 8 * MIB), size(8), 2)
device.cudaFree(p)
result = [taken, first, copied.value, figures(), grown, "managed-memory" in notes()]
""",
    )
    taken, first, copied, freed, grown_bytes, is_noted = found
    size = 30 * MIB + (64 << 10)  # pages of 64 KiB
    assert taken == [size, size, size, 0]
    assert (first, copied) == (0, 7)
    assert freed == [0, size, size, 0]
    assert grown_bytes < MIB  # no page was touched
    assert is_noted


def test_prefetched_to_the_host_it_leaves_the_card(device: EmulatedDevice) -> None:
    found = on_device(
        device,
        """
p = managed(4 * MIB)
steps = []
def prefetch(count, place):
    assert device.cudaMemPrefetchAsync(p, size(count), place, 0, NOTHING) == 0
    steps.append(figures()[0])
prefetch(4 * MIB, HOST)
prefetch(4 * MIB, HOST)
prefetch(4 * MIB, CARD)
prefetch(2 * MIB, HOST)  # a part of it: it stays counted
assert device.cudaMemAdvise(p, size(4 * MIB), 3, HOST) == 0  # SetPreferredLocation
steps.append(figures()[0])
assert device.cudaMemAdvise(p, size(4 * MIB), 1, HOST) == 0  # SetReadMostly moves nothing
device.cudaFree(p)
steps.append(figures()[0])
other = (ctypes.c_char * 16)()
refused = device.cudaMemPrefetchAsync(other, size(16), CARD, 0, NOTHING)
result = [steps, refused]
""",
    )
    assert found == [[0, 0, 4 * MIB, 4 * MIB, 0, 0], 1]  # 1: cudaErrorInvalidValue


def test_unified_memory_is_never_refused_but_what_follows_is(device: EmulatedDevice) -> None:
    found = on_device(
        device,
        """
p = managed(80 * MIB)
status, _ = allocate(device.cudaMalloc, 2 * MIB)
result = [figures(), status]
""",
    )
    assert found == [[80 * MIB, 80 * MIB, 80 * MIB, 16 * MIB], 2]  # cudaErrorMemoryAllocation


def test_what_a_library_allocates_itself_is_outside_pytorch(device: EmulatedDevice) -> None:
    found = on_device(
        device,
        """
_, first = allocate(device.cudaMalloc, 3 * MIB)
_, second = allocate(device.cuMemAlloc_v2, 2 * MIB)
_, third = allocate(device.cudaMallocAsync, 1, NOTHING)
taken = figures()
pitch, rows = ctypes.c_size_t(), ctypes.c_void_p()
device.cudaMallocPitch(ctypes.byref(rows), ctypes.byref(pitch), size(513), size(4096))
for pointer in (first, second, third, rows):
    assert device.cudaFree(pointer) == 0
result = [taken, pitch.value, figures()]
""",
    )
    # in pages of 2 MiB: 4 + 2 + 2, then 1024 x 4096 bytes of rows
    assert found == [[8 * MIB, 8 * MIB, 0, 0], 1024, [0, 12 * MIB, 0, 0]]


def test_what_is_not_emulated_is_an_error_and_noted_with_its_caller(device: EmulatedDevice) -> None:
    found = on_device(
        device,
        """
limit = ctypes.c_size_t(5)
status = device.cudaDeviceGetLimit(ctypes.byref(limit), 0)
last = device.cudaGetLastError()
done = device.cudaDeviceSetLimit(0, size(1))
result = [status, last, device.cudaGetLastError(), done, limit.value,
          [note for note in notes() if note.startswith("refused:")]]
""",
    )
    *answers, notes = found
    # cudaErrorNotSupported from the call alone, not at PyTorch's next kernel; nothing is written
    assert answers == [801, 0, 0, 0, 5]
    (note,) = notes
    prefix, _, function = note.rpartition(":")
    assert function == "cudaDeviceGetLimit"
    assert prefix.startswith("refused:")
    assert len(prefix) > len("refused:")


def test_addresses_do_not_run_out(device: EmulatedDevice) -> None:
    """Expandable segments of 9/8 of the largest card, for more streams than 2^47 bytes hold."""
    taken, again = on_device(
        device,
        """
reserve = device.cuMemAddressReserve
pointers = []
for _ in range(24):
    pointer = ctypes.c_uint64()
    status = reserve(ctypes.byref(pointer), size(18 << 40), size(0), ctypes.c_uint64(0), size(0))
    assert status == 0, status
    pointers.append(pointer.value)
for pointer in pointers:
    assert device.cuMemAddressFree(ctypes.c_uint64(pointer), size(18 << 40)) == 0
pointer = ctypes.c_uint64()
assert reserve(ctypes.byref(pointer), size(18 << 40), size(0), ctypes.c_uint64(0), size(0)) == 0
result = pointers, pointer.value
""",
    )
    assert sum(pointer < 1 << 47 for pointer in taken) >= 2, "as long as the process has its own"
    ordered = sorted(taken)
    assert all(low + (18 << 40) <= high for low, high in pairwise(ordered))
    assert ordered[-1] + (18 << 40) <= 1 << 56
    assert again + (18 << 40) <= 1 << 56
    assert again in range(min(taken), max(taken) + (18 << 40)), "what was free is used again"
