"""What is known of operators, from their schemas."""

from __future__ import annotations

import torch

from planner.worker.values.rules import rule_of

aten = torch.ops.aten


def test_views_write_nothing_and_share() -> None:
    assert rule_of(aten.view.default).is_view
    assert rule_of(aten.slice.Tensor).is_view
    assert not rule_of(aten.add.Tensor).is_view
    assert not rule_of(aten.add_.Tensor).is_view


def test_written_arguments_are_found_in_lists_and_by_name() -> None:
    a, b = torch.ones(2), torch.zeros(2)
    assert rule_of(aten.add_.Tensor).written((a, b), {}) == [a]
    assert [id(t) for t in rule_of(aten.add.out).written((a, a), {"out": b})] == [id(b)]
    several = rule_of(aten._foreach_add_.Scalar).written(([a, b], 1), {})
    assert [id(t) for t in several] == [id(a), id(b)]


def test_what_is_ranked_compared_or_read_needs_numbers() -> None:
    assert rule_of(aten.topk.default).needs == (0,)
    assert rule_of(aten.gt.Tensor).needs == (0, 1)
    assert rule_of(aten.max.dim).needs == (0,)
    assert rule_of(aten.gt_.Scalar).needs == (0, 1)
    assert rule_of(aten.sum.default).needs == ()  # a number, drawn where it is read
    index = rule_of(aten.index.Tensor)
    assert (index.needs, index.only_masks) == ((1,), True)


def test_operators_made_of_others_are_taken_apart_but_for_those_that_read_nothing() -> None:
    assert rule_of(aten.item.default).is_composite
    assert rule_of(aten.isfinite.default).is_composite
    assert not rule_of(aten.linear.default).is_composite
    assert not rule_of(aten.nonzero.default).is_composite


def test_new_memory_is_blank_and_random_numbers_are_drawn() -> None:
    assert rule_of(aten.empty.memory_format).blank
    assert rule_of(aten.rand.default).is_random
    assert not rule_of(aten.zeros.default).is_random


def test_a_librarys_own_operator_is_not_run_on_the_host() -> None:
    library = torch.library.Library("planner_test_rules", "DEF")
    library.define("mine(Tensor x) -> Tensor")
    assert not rule_of(torch.ops.planner_test_rules.mine.default).on_host
    assert rule_of(aten.add.Tensor).on_host


def test_writes_that_a_schema_does_not_tell_are_known() -> None:
    mean, variance = torch.zeros(3), torch.ones(3)
    args = (torch.ones(2, 3), None, None, mean, variance, True, 0.1, 1e-5)
    written = rule_of(aten.native_batch_norm.default).written(args, {})
    assert [id(t) for t in written] == [id(mean), id(variance)]
