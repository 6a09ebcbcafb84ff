"""Decisions at their most."""

from __future__ import annotations

import torch

from planner.worker.values.at_most import at_most

X = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])


def test_comparisons_are_true() -> None:
    assert at_most("aten::lt", (X, 1.0), {}, X < 1.0).all()
    assert at_most("aten::gt", (X, 1.0), {}, X > 1.0).all()


def test_a_comparison_of_places_that_were_decided_stays_true_to_them() -> None:
    places = torch.tensor([0, 1])
    assert at_most("aten::eq", (places, 0), {}, places == 0).tolist() == [True, False]


def test_ranks_give_the_first_places_of_each_row() -> None:
    _, places = at_most("aten::topk", (X, 2), {}, X.topk(2))
    assert places.tolist() == [[0, 1], [0, 1]]
    _, places = at_most("aten::sort", (X, 0), {}, X.sort(0))
    assert places.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert at_most("aten::argsort", (X,), {}, X.argsort()).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert at_most("aten::argmax", (X, 1), {}, X.argmax(1)).tolist() == [0, 0]
    assert at_most("aten::max", (X, 1), {}, X.max(1))[1].tolist() == [0, 0]


def test_draws_without_replacement_are_distinct() -> None:
    drawn = torch.tensor([[2, 0]])
    assert at_most("aten::multinomial", (X[:1], 2), {}, drawn).tolist() == [[0, 1]]
    assert at_most("aten::multinomial", (X[:1], 2, True), {}, drawn).tolist() == [[0, 0]]


def test_every_box_is_kept() -> None:
    boxes = torch.zeros(5, 4)
    assert at_most("torchvision::nms", (boxes, X, 0.5), {}, torch.tensor([1])).tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_other_operators_stay_as_they_are() -> None:
    assert at_most("aten::sum", (X,), {}, X.sum()) == X.sum()


def test_the_dimension_may_be_named() -> None:
    _, places = at_most("aten::sort", (X,), {"dim": 0, "stable": True}, X.sort(0))
    assert places.tolist() == [[0, 0, 0], [1, 1, 1]]
