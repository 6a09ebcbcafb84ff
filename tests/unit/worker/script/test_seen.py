"""What is seen of a script: its models, its batch, its micro-batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from planner.wire.trace import Phase
from planner.worker.record.holders import Holders
from planner.worker.script.counting import StepCounting
from planner.worker.script.optimizers import MadeOptimizers
from planner.worker.script.reporting import Seen


def test_further_models_have_a_name_and_all_count() -> None:
    seen = Seen(profile_note=None)
    assert seen.all_models is None
    one, two, three = nn.Linear(2, 3), nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 5))
    assert [seen.add(model) for model in (one, two, three)] == ["", "Linear_2", "Sequential"]
    assert id(three[0]) in seen.modules
    assert seen.all_models is not None
    sizes = sum(parameter.numel() for parameter in seen.all_models.parameters())
    assert sizes == (2 * 3 + 3) + (3 * 4 + 4) + (4 * 5 + 5)


def test_a_further_model_is_named_below_its_path() -> None:
    holders = Holders(nn.Sequential(nn.Linear(2, 2)), None, None)
    holders.add_model(nn.Sequential(nn.Linear(2, 2)), "Other")
    paths = [(module, tensor) for _, module, tensor in holders._parameters]
    assert paths == [("0", "weight"), ("0", "bias"), ("Other.0", "weight"), ("Other.0", "bias")]


def test_the_batch_is_that_of_the_first_call() -> None:
    seen = Seen(profile_note=None)
    seen.add(nn.Linear(2, 2))
    seen.note_batch(((), {"scale": torch.ones(()), "x": torch.ones(8, 2)}))
    seen.note_batch(((torch.ones(4, 2),), {}))
    assert (seen.batch_size, seen.batch_from) == (8, "the first input of Linear")


def test_micro_batches_are_the_backwards_of_a_step() -> None:
    seen = Seen(profile_note=None)
    seen.backwards = 4
    seen.end_step(1)
    assert (seen.steps, seen.micro_batches, seen.backwards) == (1, 4, 0)
    seen.end_step(2)
    assert seen.micro_batches == 1


def test_of_the_second_step_the_last_micro_batch_is_counted() -> None:
    counting = StepCounting()
    counting.enter(Phase.FORWARD)
    assert counting.observer.phase is None
    counting.end_step()
    for phase in (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER_STEP):
        counting.enter(phase)
        assert counting.observer.phase is phase
    counting.observer._calls.append((Phase.FORWARD, None))  # type: ignore[arg-type] # any call
    counting.enter(Phase.FORWARD)
    assert counting.observer._calls == []
    counting.end_step()
    assert counting.observer.phase is None
    assert counting.found(nn.Linear(2, 2), 8) is None  # nothing ran on a card


def test_of_an_inference_its_one_step_is_counted_from_the_first_call_on() -> None:
    counting = StepCounting(infers=True)
    assert counting.observer.phase is None
    for _ in range(3):  # the calls of a model that writes tokens
        counting.enter(Phase.FORWARD)
        assert counting.observer.phase is Phase.FORWARD
        counting.observer._calls.append((Phase.FORWARD, None))  # type: ignore[arg-type] # any call
    assert len(counting.observer._calls) == 3
    counting.end_step()
    assert counting.observer.phase is None


@pytest.fixture
def made() -> Iterator[MadeOptimizers]:
    """Watches the making of optimizers; the class is as before at the end."""
    before = torch.optim.Optimizer.__init__
    found = MadeOptimizers()
    found.watch()
    yield found
    torch.optim.Optimizer.__init__ = before  # type: ignore[method-assign] # as it was


def test_optimizers_are_seen_that_never_step(made: MadeOptimizers) -> None:
    weights = [nn.Parameter(torch.ones(2))]
    with pytest.raises(ValueError, match="learning rate"):
        torch.optim.SGD(weights, lr=-1.0)
    assert not made.names
    for _ in range(2):
        torch.optim.AdamW(weights)
    torch.optim.SGD(weights)
    assert made.names == ("AdamW", "SGD")
