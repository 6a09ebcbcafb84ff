"""What small ranges of the emulated card hold: as long as it is certain, and no longer."""

from __future__ import annotations

from typing import Any

import pytest

from planner.emulator.build import EmulatedDevice
from tests.unit.emulator.device_programs import answer_of

pytestmark = pytest.mark.slow

# In a process of its own: the device is loaded once per process. `read` gives bytes of the card,
# and "asked" in their place where the callback for values that are not known was called.
PROGRAM = """
import ctypes, json, sys
libraries = json.load(sys.stdin)
device = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in libraries][0]
for name in ("cudaMemcpy", "cudaMalloc", "cudaFree", "cudaMemset"):
    device[name].restype = ctypes.c_int
CALLS = []
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
asked = CALLBACK(lambda size, destination, source: CALLS.append(size))
device.planner_device_on_read(asked)
if %(kept)r:
    device.planner_device_keep_contents()

def size(value):
    return ctypes.c_size_t(value)

def address(value):
    return ctypes.c_void_p(value)

def allocate(bytes):
    pointer = ctypes.c_void_p()
    assert device.cudaMalloc(ctypes.byref(pointer), size(bytes)) == 0
    return pointer.value

def write(at, content):
    device.cudaMemcpy(address(at), content, size(len(content)), 1)

def move(to, at, bytes):
    device.cudaMemcpy(address(to), address(at), size(bytes), 3)

def read(at, bytes):
    CALLS.clear()
    found = ctypes.create_string_buffer(bytes)
    device.cudaMemcpy(found, address(at), size(bytes), 2)
    return "asked" if CALLS else found.raw.decode()

def launch():
    device.cudaLaunchKernel(None, size(0), size(0), size(0), size(0), None, size(0), None)

MIB = 1 << 20
card = allocate(8 * MIB)
result = {}
def keep(name, value):
    result[name] = value
%(body)s
print(json.dumps(result))
"""


def run(device: EmulatedDevice, body: str, *, kept: bool = True) -> dict[str, Any]:
    """Runs lines with the functions of PROGRAM; returns what they have kept."""
    answer: dict[str, Any] = answer_of(
        PROGRAM % {"kept": kept, "body": body}, [str(path) for path in device.libraries]
    )
    return answer


def test_a_copy_to_the_card_comes_back(device: EmulatedDevice) -> None:
    found = run(
        device,
        """
write(card, b"abcdefgh")
keep("whole", read(card, 8))
keep("part", read(card + 2, 3))
keep("beyond", read(card + 4, 8))
write(card + 8, b"12")
keep("both", read(card + 6, 4))
write(card + 2, b"XY")
keep("overwritten", read(card, 8))
""",
    )
    assert found == {
        "whole": "abcdefgh",
        "part": "cde",
        "beyond": "asked",
        "both": "gh12",
        "overwritten": "abXYefgh",
    }


def test_copies_on_the_card_are_followed(device: EmulatedDevice) -> None:
    found = run(
        device,
        """
write(card, b"abcd")
move(card + 100, card, 4)
write(card, b"zzzz")
keep("copied", read(card + 100, 4))
move(card + 102, card + 5000, 1)
keep("unknown byte", read(card + 100, 4))
keep("around it", read(card + 100, 2) + read(card + 103, 1))
device.planner_device_on_read(None)
keep("zero in its place", read(card + 100, 4))
device.planner_device_on_read(asked)
move(card + 2, card, 4)
keep("overlapping", read(card + 2, 4))
device.cudaMemset(address(card), ord("0"), size(3))
keep("filled", read(card, 5))
""",
    )
    assert found == {
        "copied": "abcd",
        "unknown byte": "asked",
        "around it": "abd",
        "zero in its place": "ab\0d",
        "overlapping": "zzzz",
        "filled": "000zz",
    }


def test_nothing_is_certain_after_a_launch(device: EmulatedDevice) -> None:
    found = run(
        device,
        """
for name, call in (("kernel", launch), ("product", lambda: device.cublasSgemm_v2()),
                   ("driver", lambda: device.cuLaunchKernel(None)),
                   ("graph", lambda: device.cudaGraphLaunch(None, None))):
    write(card, b"abcd")
    call()
    keep(name, read(card, 4))
write(card, b"abcd")
device.planner_device_hold_contents(1)
launch()
keep("held", read(card, 4))
device.planner_device_hold_contents(0)
launch()
keep("after", read(card, 4))
""",
    )
    after_launches = dict.fromkeys(("kernel", "product", "driver", "graph", "after"), "asked")
    assert found == {**after_launches, "held": "abcd"}


def test_what_is_freed_or_large_is_forgotten(device: EmulatedDevice) -> None:
    found = run(
        device,
        """
other = allocate(MIB)
write(other, b"abcd")
device.cudaFree(address(other))
assert allocate(MIB) == other
keep("freed", read(other, 4))
write(card, b"a" * MIB)
keep("1 MiB", len(read(card, MIB)))
write(card, b"b" * (MIB + 1))
keep("more", read(card, 4))
for number in range(100):
    write(card, b"c" * (MIB // 2))
keep("again and again", len(read(card, MIB // 2)))
""",
    )
    assert found == {
        "freed": "asked",
        "1 MiB": 1 << 20,
        "more": "asked",
        "again and again": 1 << 19,
    }


def test_off_by_default(device: EmulatedDevice) -> None:
    found = run(device, 'write(card, b"abcd")\nkeep("read", read(card, 4))\n', kept=False)
    assert found == {"read": "asked"}
