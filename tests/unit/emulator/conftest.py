"""The emulated device, built once for all tests of the session."""

from __future__ import annotations

import pytest

from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.cache import VARIABLE
from planner.emulator.torch_install import find_torch


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> EmulatedDevice:
    """The emulated device for the installed torch, in the cache that tests/integration uses."""
    folder = tmp_path_factory.getbasetemp() / "vram-planner-cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        return emulated_device(find_torch())
