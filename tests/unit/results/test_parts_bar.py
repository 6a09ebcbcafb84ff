"""The bar of a notebook: its boxes are the parts, and it is safe as HTML."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from planner.results.breakdown_summary import BreakdownSummary
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.parts_bar import parts_bar, total_parts
from planner.units import GIB
from planner.wire.trace import Phase


@pytest.fixture
def card(a100: DeviceEstimate) -> DeviceEstimate:
    """Of 40 GiB: 16 and 4 GiB are allocated, 2 more reserved, half of one is the context."""
    summary = BreakdownSummary(
        categories=(("saved activation", 16 * GIB), ("parameter", 4 * GIB)),
        modules=(),
        largest_blocks=(),
        peak_phase=Phase.BACKWARD,
        peak_step=2,
    )
    return replace(a100, breakdown_summary=summary, usable_memory_bytes=40 * GIB)


def test_the_parts_sum_up_to_the_device_total(card: DeviceEstimate) -> None:
    assert sum(size for _, size, _ in total_parts(card)) == card.device_total_bytes


def test_boxes_are_shares_of_the_usable_memory(card: DeviceEstimate) -> None:
    widths = [
        float(one) for one in re.findall(r'<rect x="[\d.]+" width="([\d.]+)"', parts_bar(card))
    ]
    assert widths == [256.0, 64.0, 32.0, 8.0, 1.0]  # of 640; the last one is the limit
    over = parts_bar(replace(card, usable_memory_bytes=11 * GIB + GIB // 4, fits=False))
    assert 'x="319.00"' in over  # the limit is in the middle


def test_names_are_escaped_and_figures_are_words(card: DeviceEstimate) -> None:
    text = parts_bar(replace(card, requested='<img src=x onerror="alert(1)">'))
    assert "<img" not in text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;: device total 22.5 GiB" in text
    assert "saved activation 16.0 GiB" in text


def test_a_notebook_has_the_bar_where_the_parts_are_known(
    card: DeviceEstimate, estimate: Estimate
) -> None:
    assert "<svg" not in estimate._repr_html_()
    assert replace(estimate, gpus=(card, *estimate.gpus))._repr_html_().count("<svg") == 1
    assert card._repr_html_().endswith(parts_bar(card))
