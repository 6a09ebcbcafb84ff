"""Operators on lists of DTensors: asked once for entries that are alike, with PyTorch's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor._sharding_prop import ShardingPropagator

from planner.worker.ranks.alike import asking_once
from planner.worker.ranks.membership import begin

SHAPES = [(8, 4), (16, 4), (8, 4), (8, 4), (16, 4)]  # two kinds


@pytest.fixture
def schemas(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What PyTorch is asked about while the test runs."""
    begin(0, 4, 4)
    seen: list[Any] = []
    ask = ShardingPropagator.propagate_op_sharding_non_cached

    def note(self: Any, schema: Any) -> Any:
        seen.append(schema)
        return ask(self, schema)

    monkeypatch.setattr(ShardingPropagator, "propagate_op_sharding_non_cached", note)
    propagator: Any = DTensor._op_dispatcher.sharding_propagator  # type: ignore[attr-defined]
    monkeypatch.setattr(
        propagator, "propagate_op_sharding", propagator.propagate_op_sharding_non_cached
    )
    yield seen
    dist.destroy_process_group()


def parameters(*, placements: list[Any] | None = None) -> list[DTensor]:
    mesh = init_device_mesh("cpu", (4,))
    chosen = placements or [Shard(0)] * len(SHAPES)
    return [
        distribute_tensor(torch.ones(shape), mesh, [placement])
        for shape, placement in zip(SHAPES, chosen, strict=True)
    ]


def asked(schemas: list[Any], name: str) -> Any:
    return next(one for one in schemas if one.op._schema.name == f"aten::{name}")


def both_answers(schema: Any) -> tuple[Any, Any, list[int]]:
    """Returns PyTorch's answer, ours, and the lengths of the lists that we asked about."""
    propagator: Any = DTensor._op_dispatcher.sharding_propagator  # type: ignore[attr-defined]
    lengths: list[int] = []

    def ask(one: Any) -> Any:
        lengths.append(len(one.args_schema[0]))
        return propagator.propagate_op_sharding_non_cached(one)

    return propagator.propagate_op_sharding_non_cached(schema), asking_once(ask)(schema), lengths


def test_equal_entries_are_asked_about_once(schemas: list[Any]) -> None:
    torch._foreach_addcdiv(parameters(), parameters(), parameters(), [0.1, 0.2, 0.3, 0.4, 0.5])
    schema = asked(schemas, "_foreach_addcdiv")
    whole, short, lengths = both_answers(schema)
    assert short.output_spec == whole.output_spec
    assert [spec.tensor_meta.shape for spec in short.output_spec] == list(map(torch.Size, SHAPES))
    assert lengths == [2]


def test_an_operator_in_place_has_no_new_tensors(schemas: list[Any]) -> None:
    torch._foreach_mul_(parameters(), 0.9)
    whole, short, lengths = both_answers(asked(schemas, "_foreach_mul_"))
    assert short.output_spec == whole.output_spec
    assert lengths == [2]


def test_entries_with_other_placements_are_other_kinds(schemas: list[Any]) -> None:
    placements = [Shard(0), Shard(0), Replicate(), Shard(0), Shard(0)]
    torch._foreach_sqrt(parameters(placements=placements))
    whole, short, lengths = both_answers(asked(schemas, "_foreach_sqrt"))
    assert short.output_spec == whole.output_spec
    assert short.output_spec[2].placements == (Replicate(),)
    assert lengths == [3]


def test_entries_that_must_move_are_all_asked_about(schemas: list[Any]) -> None:
    moved = parameters(placements=[Replicate()] * len(SHAPES))
    torch._foreach_add(parameters(), moved)
    schema = asked(schemas, "_foreach_add")
    whole, short, lengths = both_answers(schema)
    assert whole.needs_redistribute
    assert short.redistribute_schema.args_schema == whole.redistribute_schema.args_schema
    assert lengths == [2, len(SHAPES)]


def test_other_operators_are_asked_about_as_they_are(schemas: list[Any]) -> None:
    first, *_ = parameters()
    torch.cat([first, first])
    schema = asked(schemas, "cat")
    whole, short, lengths = both_answers(schema)
    assert short.output_spec == whole.output_spec
    assert lengths == [2]
