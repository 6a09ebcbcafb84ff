"""The cards of a machine, told by a stand-in for NVIDIA's library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from planner.errors import UnsupportedPlatformError, UsageError
from planner.machine.nvml import PhysicalCard, chosen_card, device_index, opened
from planner.units import GIB


class Library:
    """Two cards: a data-centre one, and one of a driver that knows no second version of memory."""

    nvmlMemory_v2 = 2  # noqa: N815 # NVIDIA's name

    class NVMLError(Exception):
        pass

    def __init__(self, *, works: bool = True, mig: int = 0) -> None:
        self.works, self.mig = works, mig
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

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return [self.mig, self.mig]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return [SimpleNamespace(pid=77, usedGpuMemory=GIB)]


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
    ("number", "visible", "index"),
    [
        (0, None, 0),
        (1, None, 1),
        (0, "1", 1),
        (1, "1,0", 0),
        (0, "GPU-bbbb", 1),
        (0, "0,7,1", 0),
    ],
)
def test_a_device_is_numbered_as_cuda_numbers_what_it_sees(
    number: int, visible: str | None, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert chosen_card(cards(), number, visible).index == index


@pytest.mark.parametrize(
    ("number", "visible", "said"),
    [
        (2, None, "visible cards: cuda:0 NVIDIA A100"),
        (1, "0,7,1", "there is no cuda:1"),
        (0, "", "visible cards: none"),
    ],
)
def test_a_device_that_is_not_there(
    number: int, visible: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with pytest.raises(UsageError, match=said):
        chosen_card(cards(), number, visible)


def test_the_names_of_devices() -> None:
    assert (device_index("cuda"), device_index("cuda:0"), device_index("cuda:12")) == (0, 0, 12)
    for text in ("gpu1", "cuda:x", "tpu", "cuda:-1", ""):
        with pytest.raises(UsageError, match="is not one of cpu, cuda"):
            device_index(text)


def test_numbers_of_cards_that_differ_are_refused_and_names_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for visible in (None, "1,0"):
        with pytest.raises(UsageError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
            chosen_card(cards(), 0, visible)
    assert chosen_card(cards(), 0, "GPU-bbbb").index == 1
    assert chosen_card(cards()[:1], 0).index == 0


def test_a_partitioned_card_is_refused() -> None:
    with opened(Library(mig=1)) as nvml:
        found = nvml.cards()
    with pytest.raises(UnsupportedPlatformError, match="is partitioned"):
        chosen_card(found, 0, "GPU-aaaa")


def test_a_driver_that_does_not_tell_is_said() -> None:
    said = r"does not tell .*\(lost\)"
    with pytest.raises(UnsupportedPlatformError, match=said), opened(Library()):
        raise Library.NVMLError("lost")
