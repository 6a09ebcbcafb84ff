"""The table of an Inspection: rows, shared rows, how it was counted."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from planner.render.terminal.inspect import render
from planner.results.inspection import Inspection
from planner.wire.module_counts import FlopRules


def lines(inspection: Inspection, width: int = 200) -> list[str]:
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(render(inspection))
    return [line.rstrip() for line in captured.get().splitlines()]


def cells(inspection: Inspection) -> list[list[str]]:
    """Rows of the table, cut at two or more blanks, their indentation kept."""
    found = lines(inspection)
    start = next(index for index, line in enumerate(found) if line.startswith("module "))
    rows = found[start + 1 : found.index("", start)]
    return [re.split(r"(?<=\S)  +", row) for row in rows]


def test_alike_neighbours_share_their_rows(inspection: Inspection) -> None:
    assert cells(inspection) == [
        ["(model)", "Net", "30", "20", "10.0 kFLOPs", "64", "3.00 KiB", "2"],
        ["  blocks", "ModuleList", "20", "20", "8.00 kFLOPs", "64", "2.00 KiB", "2"],
        ["    0 .. 1", "2 x Block", "10", "10", "4.00 kFLOPs", "32", "1.00 KiB", "2"],
        ["  flatten", "Flatten", "-", "-", "-", "-", "-", "-"],
    ]


def test_neighbours_that_differ_within_do_not_share(inspection: Inspection) -> None:
    first = inspection.module("blocks.0")
    parts = [
        replace(first, path=f"blocks.{block}.layer", kind="Linear", forward_flops=flops)
        for block, flops in ((0, 3000), (1, 2000))
    ]
    rows = list(inspection.modules)
    rows[4:4] = [parts[1]]
    rows[3:3] = [parts[0]]
    changed = replace(inspection, model=replace(inspection.model, modules=tuple(rows)))
    names = [row[0] for row in cells(changed)]
    assert names == ["(model)", "  blocks", "    0", "      layer", "    1", "      layer",
                     "  flatten"]  # fmt: skip


def test_totals_and_rules(inspection: Inspection) -> None:
    text = "\n".join(lines(inspection))
    assert "30 parameters, one training step with batch 8, fp32 weights, as on Tesla T4" in text
    assert (
        "1.25 kFLOPs a sample in the forward, 30.0 kFLOPs in a step, without the optimizer, "
        "8 activations a sample" in text
    )
    assert "- modules by module hooks, FLOPs by the rules of fvcore" in text
    assert "by the formulas of torch.utils.flop_counter: 9.90 kFLOPs" in text
    assert "there is no rule: aten::fft_rfft (2 x), my::kernel (1 x)" in text
    assert "assumed\n- modules were told by hooks" in text


def test_activations_that_were_not_counted_are_not_zero(inspection: Inspection) -> None:
    model = inspection.model
    changed = replace(
        inspection,
        model=replace(
            model,
            flop_rules=FlopRules.TORCH,
            step=replace(model.step, activations_per_sample=None),
            modules=tuple(replace(row, activations=None) for row in model.modules),
        ),
    )
    text = "\n".join(lines(changed))
    assert "activations a sample" not in text
    assert "by the formulas of" not in text
    assert [row[5] for row in cells(changed)][:2] == ["-", "-"]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, set()),
        (84, {"trainable"}),
        (80, {"trainable", "activations"}),
        (60, {"trainable", "activations", "class"}),
        (40, {"trainable", "activations", "class", "FLOPs/byte", "parameters"}),
    ],
)
def test_a_narrow_terminal_leaves_columns_out(
    inspection: Inspection, width: int, left_out: set[str]
) -> None:
    found = lines(inspection, width)
    assert max(map(len, found)) <= width
    table = found[next(index for index, line in enumerate(found) if line.startswith("module ")) :]
    assert set(table[0].split()) == {
        "module", "class", "parameters", "trainable", "forward", "activations", "saved",
        "FLOPs/byte",
    } - left_out  # fmt: skip
    assert table[1].split()[0] == "(model)"
    assert "10.0 kFLOPs" in table[1]
    assert "3.00 KiB" in table[1]


def test_a_long_name_is_folded_and_not_cut(inspection: Inspection) -> None:
    rows = (inspection.modules[0], replace(inspection.modules[1], path="n" * 90))
    changed = replace(inspection, model=replace(inspection.model, modules=rows))
    assert "".join(lines(changed, 60)).count("n" * 5) > 10
