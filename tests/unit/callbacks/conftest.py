"""A training process on a card that is told by stand-ins for torch and for the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from planner.callbacks import measurement
from planner.machine.nvml import CardUser, PhysicalCard
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import GIB, MIB
from planner.verification.store import VARIABLE

CARD = PhysicalCard(
    index=0,
    uuid="GPU-0A1b",
    name="NVIDIA A100-SXM4-80GB",
    driver="580.65.06",
    is_partitioned=False,
    usable_memory_bytes=79 * GIB,
    ecc=True,
    power_limit_w=400.0,
)
CONTEXT_BYTES = 500 * MIB


class Torch:
    """The parts of torch that are read; `peak_reserved` of one device."""

    __version__ = "2.14.1+cu130"
    version = SimpleNamespace(cuda="13.0")
    backends = SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 92400))

    def __init__(self, allocated_bytes: int, reserved_bytes: int) -> None:
        properties = SimpleNamespace(
            name=CARD.name, total_memory=CARD.usable_memory_bytes, uuid="0a1b"
        )
        self.cuda = SimpleNamespace(
            is_initialized=lambda: True,
            current_device=lambda: 0,
            get_device_properties=lambda index: properties,
            memory_reserved=lambda index: reserved_bytes,
            max_memory_allocated=lambda index: allocated_bytes,
            max_memory_reserved=lambda index: reserved_bytes,
        )


class Driver:
    """One card, which this process uses."""

    def __init__(self, used_bytes: int | None) -> None:
        self.used_bytes = used_bytes

    def cards(self) -> tuple[PhysicalCard, ...]:
        return (CARD,)

    def users(self, card: PhysicalCard) -> tuple[CardUser, ...]:
        return (
            CardUser(pid=1, used_bytes=GIB),
            CardUser(pid=os.getpid(), used_bytes=self.used_bytes),
        )


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty history, one process, and no settings of the allocator."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    for name in ("WORLD_SIZE", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def predicted(estimate: Estimate, a100: DeviceEstimate) -> Estimate:
    """The estimate of a step of the same torch on this card."""
    versions = replace(estimate.versions, torch=Torch.__version__)
    return replace(estimate, gpus=(replace(a100, name=CARD.name),), versions=versions)


Run = Callable[..., None]


@pytest.fixture
def on_card(predicted: Estimate, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Makes this process one that takes `share` of the predicted peaks of the card."""
    (card,) = predicted.gpus

    def begin(share: float = 1.0, *, is_reported: bool = True, is_physical: bool = True) -> None:
        reserved_bytes = int(card.peak_reserved_bytes * share)
        torch = Torch(int(card.peak_allocated_bytes * share), reserved_bytes)
        monkeypatch.setitem(sys.modules, "torch", cast(Any, torch))

        @contextmanager
        def opened() -> Iterator[Any]:
            if not is_physical:
                raise measurement.PlannerError("no driver")
            yield Driver(reserved_bytes + CONTEXT_BYTES if is_reported else None)

        monkeypatch.setattr(measurement.nvml, "opened", opened)
        for name in measurement._EMULATING:  # other tests may have loaded these
            monkeypatch.delitem(sys.modules, name, raising=False)

    return begin
