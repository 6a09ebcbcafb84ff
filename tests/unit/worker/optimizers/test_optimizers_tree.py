from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import nn

from planner.worker.optimizers.tree import names_in, optimizers_in, schedulers_in, strangers_in


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD(nn.Linear(1, 1).parameters())


class Wrapped(UserDict[str, Any]):
    """A mapping that is itself an optimizer, as wrappers of libraries are."""

    def step(self) -> None: ...

    def zero_grad(self) -> None: ...


def test_optimizers_and_schedulers_in_every_nesting() -> None:
    one, two, wrapped = sgd(), sgd(), Wrapped(inner=sgd())
    scheduler = torch.optim.lr_scheduler.StepLR(one, 1)
    given = ([one, {"optimizer": two, "lr_scheduler": {"scheduler": scheduler}}], wrapped, None)
    assert [id(found) for found in optimizers_in(given)] == [id(one), id(two), id(wrapped)]
    assert schedulers_in(given) == (scheduler,)
    assert strangers_in(given) == ()
    assert names_in(given) == "2 x SGD, Wrapped"


def test_an_optimizer_that_comes_twice_is_one() -> None:
    one = sgd()
    assert optimizers_in((one, {"again": one})) == (one,)


@pytest.mark.parametrize("given", [None, (), {"lr": 0.1, "name": "x"}, [None, 3]])
def test_nothing_to_step(given: Any) -> None:
    assert (optimizers_in(given), schedulers_in(given), strangers_in(given)) == ((), (), ())


@pytest.mark.parametrize("stranger", [torch.ones(1), nn.Linear(1, 1), torch.optim.SGD, object()])
def test_what_cannot_be_stepped(stranger: Any) -> None:
    found = strangers_in([sgd(), {"a": stranger}])
    assert len(found) == 1
    assert found[0] is stranger
