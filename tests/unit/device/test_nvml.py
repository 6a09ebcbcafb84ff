"""The cards of a machine, told by a stand-in for NVIDIA's library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from planner.device.nvml import PhysicalCard, chosen_card, opened
from planner.errors import UnsupportedPlatformError, UsageError
from planner.units import GIB


class Library:
    """Two cards: a data-centre one, and one of a driver that knows no second version of memory."""

    nvmlMemory_v2 = 2  # noqa: N815 # NVIDIA's name

    class NVMLError(Exception):
        pass

    def __init__(self, *, works: bool = True) -> None:
        self.works = works
        self.is_open = False

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.works:
            raise self.NVMLError("Driver Not Loaded")
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:  # noqa: N802
        return (b"NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090")[handle]

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return ("GPU-aaaa", "GPU-bbbb")[handle]

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.65.06"

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int = 1) -> Any:  # noqa: N802
        if handle == 1:
            if version != 1:
                raise self.NVMLError("Function Not Found")
            return SimpleNamespace(total=24 * GIB, used=3 * GIB)
        return SimpleNamespace(total=80 * GIB, reserved=GIB, used=2 * GIB)

    def nvmlDeviceGetEccMode(self, handle: int) -> list[int]:  # noqa: N802
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetPowerManagementLimit(self, handle: int) -> int:  # noqa: N802
        return 400_000

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=77, usedGpuMemory=GIB)] if handle == 0 else []


def cards() -> tuple[PhysicalCard, ...]:
    with opened(Library()) as nvml:
        return nvml.cards()


def test_what_is_told_of_each_card() -> None:
    library = Library()
    with opened(library) as nvml:
        first, second = nvml.cards()
        assert library.is_open
        assert (nvml.used_bytes(first), nvml.used_bytes(second)) == (2 * GIB, 3 * GIB)
        assert [(user.pid, user.used_bytes) for user in nvml.users(first)] == [(77, GIB)]
        assert nvml.users(second) == ()
    assert not library.is_open
    assert first.name == "NVIDIA A100-SXM4-80GB"
    assert (first.usable_memory_bytes, second.usable_memory_bytes) == (79 * GIB, 24 * GIB)
    assert (first.ecc, second.ecc) == (True, None)
    assert first.power_limit_w == 400
    assert first.driver == "580.65.06"


def test_no_driver_is_said_and_what_needs_none() -> None:
    said = r"Driver Not Loaded.*--emulated a100"
    with pytest.raises(UnsupportedPlatformError, match=said), opened(Library(works=False)):
        pass


@pytest.mark.parametrize(
    ("device", "visible", "index"),
    [
        ("cuda", None, 0),
        ("cuda:1", None, 1),
        ("cuda", "1", 1),
        ("cuda:1", "1,0", 0),
        ("cuda", "GPU-bbbb", 1),
        ("cuda:0", "0,7,1", 0),
    ],
)
def test_a_device_is_numbered_as_cuda_numbers_what_it_sees(
    device: str, visible: str | None, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert chosen_card(cards(), device, visible).index == index


@pytest.mark.parametrize(
    ("device", "visible", "said"),
    [
        ("cuda:2", None, "visible cards: cuda:0 NVIDIA A100"),
        ("cuda:1", "0,7,1", "there is no cuda:1"),
        ("cuda", "", "visible cards: none"),
        ("gpu1", None, "is not one of cpu, cuda"),
        ("cuda:x", None, "is not one of cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there(
    device: str, visible: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UsageError, match=said):
        chosen_card(cards(), device, visible)
