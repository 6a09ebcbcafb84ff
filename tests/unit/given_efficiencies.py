"""Puts efficiencies in the place of those that come with planner."""

from __future__ import annotations

import pytest

from planner.timing import kernel_roofs, kernel_times, roofline
from planner.timing.efficiency import Efficiencies


def use_efficiencies(monkeypatch: pytest.MonkeyPatch, found: Efficiencies) -> None:
    """Every time of a kernel is computed anew, with these."""
    for module in (roofline, kernel_times, kernel_roofs):
        monkeypatch.setattr(module, "efficiencies", lambda: found)
    monkeypatch.setattr(roofline, "kernel_time", kernel_times.kernel_time.__wrapped__)
