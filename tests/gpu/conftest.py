"""Tests on a physical card; skipped, with the reason, where there is none."""

from __future__ import annotations

import pytest

from planner.errors import UnsupportedPlatformError
from planner.machine.nvml import PhysicalCard, opened


@pytest.fixture(scope="session")
def card() -> PhysicalCard:
    """The first card of the machine."""
    try:
        with opened() as nvml:
            cards = nvml.cards()
    except UnsupportedPlatformError as error:
        pytest.skip(str(error))
    if not cards:
        pytest.skip("the driver answers, and there is no card")
    return cards[0]
