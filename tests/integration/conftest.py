"""Model files on disk, and the emulated device built once for all tests of the session."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.cache import VARIABLE
from planner.emulator.torch_install import find_torch
from tests.integration.child_runs import WriteModel


@pytest.fixture(autouse=True)
def _own_cache(device_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(device_cache))


@pytest.fixture(scope="session")
def device(device_cache: Path) -> EmulatedDevice:
    """The emulated device for the installed torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(device_cache))
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
