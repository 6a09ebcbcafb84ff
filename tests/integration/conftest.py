"""Model files on disk, and the emulated device built once for all tests of the session."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.card_run import Cards
from planner.device.build import EmulatedDevice, emulated_device
from planner.device.cache import VARIABLE
from planner.device.runner import Runner
from planner.device.torch_install import find_torch
from planner.memory.budget import memory_budgets
from planner.options import step_config
from planner.trace import StepTrace
from planner.workload import parse_target

WriteModel = Callable[..., str]


def traces(path: str, *options: dict[str, Any], gpu: str = "a100") -> list[StepTrace]:
    """Runs of one model file in one child, on a card without a limit: one for each `options`."""
    torch = find_torch()
    cards = Cards(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets([gpu], hardware_db=None, gpu_memory=None, reserve=0)
    profile = cards.unlimited(budget)
    with Runner(parse_target(path), device=cards.device, profile=profile, timeout_s=120) as runner:
        runner.wait_loaded()
        found = [
            runner.run(profile, step_config({"batch_size": 4, **option})) for option in options
        ]
        assert not runner.warnings
    for trace in found:
        assert trace.failure is None, trace.failure
    return found


@pytest.fixture(scope="session")
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One folder for tests/unit/device and tests/integration: the device is built once.
    folder = tmp_path_factory.getbasetemp() / "vram-planner-cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(_shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(_shared_cache))


@pytest.fixture(scope="session")
def device(_shared_cache: Path) -> EmulatedDevice:
    """The emulated device for the installed torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(_shared_cache))
        return emulated_device(find_torch())


@pytest.fixture(autouse=True)
def _built(device: EmulatedDevice) -> None:
    """No test pays for the build within its own time limits."""


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Writes a model file (imports of torch and nn are there) and returns its path."""

    def write(text: str, name: str = "user_model.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
        return str(path)

    return write
