"""The blocks to recompute, of modules made by hand."""

from __future__ import annotations

from planner.estimation.advice.best_blocks import best_blocks
from planner.wire.module_counts import ModuleCounts


def module(path: str, saved: int, flops: int = 10, kind: str = "Block") -> ModuleCounts:
    return ModuleCounts(
        path=path, kind=kind, parameters=1, trainable_parameters=1, forward_flops=flops,
        activations=None, saved_bytes=saved, read_bytes=0, written_bytes=0,
    )  # fmt: skip


MODULES = (
    module("", 1000, kind="Net"),
    module("layers.0", 100, flops=10),
    module("layers.1", 100, flops=5),
    module("layers.2", 100, flops=20),
    module("layers.0.part", 90, kind="Linear"),
    module("head.0", 50),
    module("head.1", 50),
    module("layers.3", 0),
)


def test_the_fewest_with_most_bytes_for_each_flop_in_the_order_of_the_model() -> None:
    assert best_blocks(MODULES, 80) == ("layers.1",)
    assert best_blocks(MODULES, 81) == ("layers.0", "layers.1")  # 125 % of it
    assert best_blocks(MODULES, 160) == ("layers.0", "layers.1")


def test_where_all_are_needed_there_is_no_choice() -> None:
    assert best_blocks(MODULES, 200) == ()
    assert best_blocks(MODULES, 0) == ()
    assert best_blocks((module("", 10), module("a", 5), module("b", 5)), 1) == ()


def test_blocks_in_a_model_that_is_a_chain_itself() -> None:
    assert best_blocks((module("0", 10), module("1", 10)), 8) == ("0",)
