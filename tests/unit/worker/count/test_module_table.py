"""Rows of modules: by torch.fx and by hooks alike, and what is said when something cannot be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from planner.wire.module_counts import FlopRules, Structure
from planner.worker.count import module_table as module
from planner.worker.count.counts import ModelCall
from planner.worker.count.module_path import FxRun
from planner.worker.count.module_table import Forward, Table, module_table

B = 2
F32 = 4  # bytes


class Block(nn.Module):
    """A small residual block with a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        return x + self.layers(x) * scale


class Net(nn.Module):
    """Two blocks and a head; the first block is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 3, bias=False)
        self.blocks[0].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Swapped(torch.autograd.Function):
    """x @ w, opaque to a trace."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return gradient @ w.t(), x.t() @ gradient


class Opaque(nn.Module):
    """A model whose only product hides in a custom function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Swapped.apply(x, self.weight)  # type: ignore[no-untyped-call] # in torch
        return torch.cat([found.exp(), found])


def table(model: nn.Module, depth: int = 9) -> Table:
    x = torch.rand(B, 4)
    call = ModelCall(arguments=(x,), keywords={})
    return module_table(Forward(model=model, run=lambda: model(x), inputs=x, call=call), depth)


def test_rows_by_hand() -> None:
    found = table(Net())
    rows = {row.path: row for row in found.rows}
    up, down, gelu = 2 * B * 4 * 8, 2 * B * 8 * 4, B * 8
    layers = up + gelu + down
    block = layers + 2 * (B * 4)  # scaled and added
    head = 2 * B * 4 * 3
    assert {path: row.forward_flops for path, row in rows.items()} == {
        "": 2 * block + head, "blocks": 2 * block, "head": head,
        **{
            f"blocks.{index}{path}": flops
            for index in (0, 1)
            for path, flops in {
                "": block, ".layers": layers, ".layers.0": up, ".layers.1": gelu, ".layers.2": down,
            }.items()
        },
    }  # fmt: skip
    assert rows["blocks.1"].activations == B * (8 + 4)
    assert (rows["blocks"].parameters, rows["blocks"].trainable_parameters) == (2 * 76, 76)
    # The second block needs its input, the input of GELU and its output; the head its input.
    assert rows["blocks.0"].saved_bytes == 0
    assert rows["blocks.1"].saved_bytes == F32 * B * (4 + 8 + 8)
    assert rows["head"].saved_bytes == F32 * B * 4
    assert rows[""].saved_bytes == F32 * B * (4 + 8 + 8 + 4)
    assert rows["head"].read_bytes == F32 * (B * 4 + 4 * 3)
    assert rows["head"].written_bytes == F32 * B * 3
    intensity = rows["head"].arithmetic_intensity_flops_per_byte
    assert intensity == head / (F32 * (B * 4 + 4 * 3 + B * 3))
    assert (found.structure, found.flop_rules) == (Structure.FX_GRAPH, FlopRules.FVCORE)
    assert found.flops_by_torch == 2 * (up + down) + head
    assert found.assumptions == ()


def test_hooks_tell_what_the_graph_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    by_graph = table(Net())

    def refuse(self: FxRun, *_: Any) -> None:
        raise TypeError("no graph\ntoday")

    monkeypatch.setattr(FxRun, "__init__", refuse)
    by_hooks = table(Net())
    assert by_hooks.structure is Structure.MODULE_HOOKS
    assert [asdict(row) for row in by_hooks.rows] == [asdict(row) for row in by_graph.rows]
    assert by_hooks.assumptions == (
        "modules were told by hooks, because torch.fx cannot trace the model (TypeError: no graph)",
    )


@pytest.mark.parametrize(("depth", "number"), [(0, 1), (1, 3), (2, 5), (3, 7), (4, 13)])
def test_depth(depth: int, number: int) -> None:
    rows = table(Net(), depth).rows
    assert len(rows) == number
    assert max(row.depth for row in rows) == depth
    assert rows[0].forward_flops == table(Net()).rows[0].forward_flops


def test_work_hidden_from_the_trace_is_counted_as_it_runs() -> None:
    found = table(Opaque())
    assert found.flop_rules is FlopRules.TORCH
    assert found.rows[0].forward_flops == found.flops_by_torch == 2 * B * 4 * 5
    assert found.rows[0].activations is None
    assert found.uncounted == {"aten::exp": 1}
    assert "prim::PythonOp.Swapped" in found.assumptions[-1]


def test_a_model_that_cannot_be_traced_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise module.NotTraceableError("no trace")

    monkeypatch.setattr(module, "count_forward", refuse)
    found = table(Net())
    assert found.flop_rules is FlopRules.TORCH
    assert {row.path: row.forward_flops for row in found.rows}["blocks.0"] == 2 * (2 * B * 4 * 8)
    assert "torch.jit cannot trace the model (no trace)" in found.assumptions[0]
    assert set(found.uncounted) == {"aten::add", "aten::gelu", "aten::mul"}


def test_autocast_changes_bytes_and_no_flops() -> None:
    plain = table(Net())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = table(Net())
    assert cast.flop_rules is FlopRules.FVCORE
    assert [row.forward_flops for row in cast.rows] == [row.forward_flops for row in plain.rows]
    assert cast.rows[-1].written_bytes != plain.rows[-1].written_bytes
    assert torch.is_autocast_cache_enabled()


def test_a_forward_with_defaults_and_keywords_is_a_graph() -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor, mask: Tensor | None = None, twice: bool = False) -> Tensor:
            if mask is not None:
                x = x * mask
            return self.layer(self.layer(x)) if twice else self.layer(x)

    model, x = Choosing(), torch.rand(B, 4)
    call = ModelCall(arguments=(x,), keywords={"twice": True})
    found = module_table(
        Forward(model=model, run=lambda: model(x, twice=True), inputs=x, call=call), 1
    )
    assert found.structure is Structure.FX_GRAPH
    assert found.rows[1].forward_flops == 2 * (2 * B * 4 * 4)
    assert found.rows[0].forward_flops == found.rows[1].forward_flops
