"""When the emulated card has reached an event, as PyTorch's allocator learns it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from planner.emulator.build import EmulatedDevice, find_compiler
from tests.unit.emulator.device_programs import answer_of

pytestmark = pytest.mark.slow

DONE, NOT_READY = 0, 600  # cudaSuccess, cudaErrorNotReady
# Queries of a library with the name of the allocator's are the allocator's.
ALLOCATOR = (
    "int cudaEventQuery(void *); int ask(void *e) { int found = cudaEventQuery(e); return found; }"
)
# In a process of its own: the device is loaded once per process. ctypes is the user's code.
PROGRAM = """
import ctypes, json, sys
libraries, allocator, profile = json.load(sys.stdin)
device = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in libraries][0]
assert device.planner_device_configure(profile.encode()) == 0
ask = ctypes.CDLL(allocator).ask
NOTHING = ctypes.c_void_p()
side = ctypes.c_void_p()
assert device.cudaStreamCreate(ctypes.byref(side)) == 0

def made(function, *more):
    pointer = ctypes.c_void_p()
    assert function(ctypes.byref(pointer), *more) == 0
    return pointer

def size(value):
    return ctypes.c_size_t(value)

card, other_card = made(device.cudaMalloc, size(64)), made(device.cudaMalloc, size(64))
pinned, pageable = made(device.cudaHostAlloc, size(64), 0), (ctypes.c_char * 64)()
to_card, to_host, on_card = 1, 2, 3

def alone():
    return made(device.ncclCommInitAll, 1, NOTHING)

def recorded():
    event = made(device.cudaEventCreate)
    assert device.cudaEventRecord(event, side) == 0
    return event

def launch(times=1):
    for _ in range(times):
        device.cudaLaunchKernel(NOTHING)

def notes():
    buffer = ctypes.create_string_buffer(1 << 16)
    device.planner_device_notes(buffer, size(1 << 16))
    return buffer.value.decode().split()

launch(5)
RESULT
"""


@pytest.fixture(scope="module")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("allocator")
    source, library = folder / "ask.c", folder / "libc10_cuda.so"
    source.write_text(ALLOCATOR)
    command = [find_compiler(), "-x", "c", "-shared", "-fPIC", "-O0", source, "-o", library]
    subprocess.run(command, check=True)
    return library


def on_device(device: EmulatedDevice, allocator: Path, lag: str, statements: str) -> Any:
    """The value of `result` after the statements."""
    libraries = [str(path) for path in device.libraries]
    program = PROGRAM.replace("RESULT", f"{statements}\nprint(json.dumps(result))")
    return answer_of(program, [libraries, str(allocator), f"launch_lag={lag}\n"])


def test_an_event_is_reached_when_so_many_launches_came_after_it(
    device: EmulatedDevice, allocator: Path
) -> None:
    found = on_device(
        device,
        allocator,
        "3",
        """
event = recorded()
answers = [ask(event)]
for _ in range(4):
    launch()
    answers.append(ask(event))
result = [answers, notes()]
""",
    )
    assert found == [[NOT_READY, NOT_READY, NOT_READY, DONE, DONE], ["events-pending"]]


@pytest.mark.parametrize(("lag", "answer"), [("0", DONE), ("never", NOT_READY)])
def test_a_card_that_keeps_up_and_one_that_does_nothing(
    device: EmulatedDevice, allocator: Path, lag: str, answer: int
) -> None:
    statements = """
event = recorded()
first = ask(event)
launch(5000)
result = [first, ask(event), notes()]
"""
    noted = ["events-pending"] if answer else []
    assert on_device(device, allocator, lag, statements) == [answer, answer, noted]


@pytest.mark.parametrize(
    "wait",
    [
        "device.cudaDeviceSynchronize()",
        "device.cudaStreamSynchronize(side)",
        "device.cudaStreamQuery(side)",
        "device.cudaEventSynchronize(event)",
        "device.cudaEventQuery(event)",  # of the user's code
        "device.cuCtxSynchronize()",
        "device.cuStreamSynchronize(side)",
        "device.cudaFree(card)",
        "device.cudaMemcpy(pageable, card, size(8), to_host)",
        "device.cudaMemcpy(pinned, card, size(8), to_host)",
        "device.cudaMemcpy(card, pinned, size(8), to_card)",
        "device.cudaMemcpyAsync(pageable, card, size(8), to_host, side)",
    ],
)
def test_a_host_that_waits_knows_that_the_event_is_reached(
    device: EmulatedDevice, allocator: Path, wait: str
) -> None:
    statements = f"event = recorded()\nbefore = ask(event)\n{wait}\nresult = [before, ask(event)]"
    assert on_device(device, allocator, "never", statements) == [NOT_READY, DONE]


@pytest.mark.parametrize(
    "call",
    [
        "device.cudaStreamWaitEvent(side, event, 0)",
        "device.cudaMemcpyAsync(pinned, card, size(8), to_host, side)",
        "device.cudaMemcpyAsync(card, pageable, size(8), to_card, side)",
        "device.cudaMemcpy(card, other_card, size(8), on_card)",
        "made(device.cudaMalloc, size(64))",
        "made(device.cudaHostAlloc, size(64), 0)",
        "device.cudaEventSynchronize(older)",
        "device.cudaEventRecord(older, side)",
    ],
)
def test_other_calls_do_not_wait(device: EmulatedDevice, allocator: Path, call: str) -> None:
    statements = f"older = recorded()\nlaunch()\nevent = recorded()\n{call}\nresult = ask(event)"
    assert on_device(device, allocator, "never", statements) == NOT_READY


@pytest.mark.parametrize(
    ("call", "launches"),
    [
        ("launch()", 1),
        ("device.cuLaunchKernel(b'kernel')", 1),
        ("device.cublasSgemm_v2()", 1),
        ("device.cublasLtMatmul()", 1),
        ("device.cudnnRNNForward()", 1),
        ("device.ncclAllReduce(card, card, size(8), 7, 0, alone(), side)", 1),
        ("device.cudaMemsetAsync(card, 0, size(8), side)", 1),
        ("device.cudaMemcpyAsync(card, other_card, size(8), on_card, side)", 1),
        ("device.cudaGraphLaunch(NOTHING, side)", 1),
        ("device.cublasSetStream_v2(made(device.cublasCreate_v2), side)", 0),
        ("device.cudaMemcpy(pinned, pageable, size(8), 0)", 0),
        ("device.cudaEventRecord(event, side)", 0),
    ],
)
def test_what_counts_as_a_launch(
    device: EmulatedDevice, allocator: Path, call: str, launches: int
) -> None:
    statements = f"old = recorded()\nevent = recorded()\nlaunch(3)\n{call}\nresult = ask(old)"
    answer = DONE if launches else NOT_READY
    assert on_device(device, allocator, "4", statements) == answer


def test_what_a_capture_records_is_not_launched(device: EmulatedDevice, allocator: Path) -> None:
    found = on_device(
        device,
        allocator,
        "4",
        """
event = recorded()
assert device.cudaStreamBeginCapture(side, 0) == 0
launch(10)
captured = ask(event)
assert device.cudaStreamEndCapture(side, ctypes.byref(ctypes.c_void_p())) == 0
ended = ask(event)
launch(4)
result = [captured, ended, ask(event)]
""",
    )
    assert found == [NOT_READY, NOT_READY, DONE]


def test_a_loop_of_queries_ends(device: EmulatedDevice, allocator: Path) -> None:
    found = on_device(
        device,
        allocator,
        "never",
        """
event, queries = recorded(), 1
while ask(event):
    queries += 1
result = queries
""",
    )
    assert found == (1 << 16) + 1
