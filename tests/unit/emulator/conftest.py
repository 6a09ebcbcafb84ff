"""The emulated device, built once for all tests of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.cache import VARIABLE
from planner.emulator.torch_install import find_torch


@pytest.fixture(scope="session")
def device(device_cache: Path) -> EmulatedDevice:
    """The emulated device for the installed torch, in the cache that tests/integration uses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(device_cache))
        return emulated_device(find_torch())
