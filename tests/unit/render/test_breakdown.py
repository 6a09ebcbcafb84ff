"""What the report and the JSON say of the peak: hand-made blocks, sums by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from planner.memory.peak import Breakdown, Held
from planner.render.terminal.estimate import render
from planner.results.estimate import Estimate
from planner.units import MIB
from planner.wire.trace import Origin, Phase, TensorCategory

Golden = Callable[[str, str], None]


def held(
    size_mib: int,
    category: TensorCategory,
    module: str = "",
    tensor: str = "",
    operator: str = "",
    source: str = "",
) -> Held:
    return Held(
        size_bytes=size_mib * MIB,
        block_bytes=size_mib * MIB,
        category=category,
        step=1,
        phase=Phase.FORWARD,
        origin=Origin(module=module, tensor=tensor, operator=operator, source=source),
    )


@pytest.fixture
def breakdown() -> Breakdown:
    line = str(Path.cwd() / "model.py") + ":7"
    activation = TensorCategory.SAVED_ACTIVATION
    return Breakdown(
        held=(
            held(64, TensorCategory.PARAMETER, module="head", tensor="weight"),
            held(96, activation, "blocks.0", operator="aten::linear", source=line),
            held(96, activation, "blocks.1", operator="aten::linear", source=line),
            held(8, TensorCategory.WORKSPACE, operator="aten::mm"),
        ),
        peak_step=2,
        peak_phase=Phase.BACKWARD,
        step_peak_bytes=(200 * MIB, 266 * MIB, 264 * MIB),
        uncounted_bytes=2 * MIB,
        fragmentation_bytes=30 * MIB,
    )


@pytest.fixture
def broken_down(estimate: Estimate, breakdown: Breakdown) -> Estimate:
    a100, t4 = estimate.gpus
    return replace(estimate, gpus=(replace(a100, breakdown=breakdown), t4))


def test_the_terminal_tells_alike_tensors_together(broken_down: Estimate, golden: Golden) -> None:
    console = Console(width=80, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render(broken_down, verbose=True))
    text = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    assert "192 MiB  2 x saved activation  aten::linear model.py:7" in text
    golden("terminal_breakdown.txt", text)


def test_json_keys(broken_down: Estimate) -> None:
    entry = broken_down.to_dict()["gpus"][0]
    assert entry["breakdown_bytes"] == {
        "saved activation": 192 * MIB,
        "parameter": 64 * MIB,
        "workspace": 8 * MIB,
        "rounding": 2 * MIB,
    }
    assert sum(entry["breakdown_bytes"].values()) == 266 * MIB
    assert entry["module_bytes"] == {
        "blocks.0": 96 * MIB, "blocks.1": 96 * MIB, "head": 64 * MIB, "": 8 * MIB,
        "rounding": 2 * MIB,
    }  # fmt: skip
    assert (entry["peak_phase"], entry["peak_step"]) == ("backward", 2)
    assert entry["first_step_peak_bytes"] == 200 * MIB
    assert entry["steady_step_peak_bytes"] == 264 * MIB
    assert entry["fragmentation_bytes"] == 30 * MIB
    first = entry["largest_tensors"][0]
    assert (first["bytes"], first["module"]) == (96 * MIB, "blocks.0")


def test_a_card_without_a_breakdown_has_the_same_keys(broken_down: Estimate) -> None:
    with_one, without = broken_down.to_dict()["gpus"]
    assert with_one.keys() == without.keys()
    assert without["breakdown_bytes"] is None
    assert broken_down.breakdown("t4") is None


def test_queries_on_the_result(broken_down: Estimate, breakdown: Breakdown) -> None:
    assert broken_down.breakdown() is breakdown
    assert breakdown.total() == 266 * MIB
    assert breakdown.by_module(depth=1)["blocks"] == 192 * MIB
