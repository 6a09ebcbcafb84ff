from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

from planner.errors import ModelError
from planner.worker.drive.loss import DefaultLoss, check_loss

LOGITS = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 0.0]], requires_grad=True)
TARGET = torch.tensor([2, 1])


@pytest.mark.parametrize(
    ("output", "target", "value", "words"),
    [
        pytest.param(
            SimpleNamespace(loss=LOGITS.sum(), logits=LOGITS), None, LOGITS.sum(), ".loss", id="own"
        ),
        pytest.param({"loss": LOGITS.sum()}, None, LOGITS.sum(), ".loss", id="own-key"),
        pytest.param(
            LOGITS, TARGET, F.cross_entropy(LOGITS, TARGET), "with the batch's target", id="target"
        ),
        pytest.param(
            LOGITS, None, F.cross_entropy(LOGITS, torch.zeros(2, dtype=torch.int64)),
            "target of zeros", id="zeros",
        ),
        pytest.param(LOGITS[0], None, LOGITS[0].mean(), "mean of the float", id="mean"),
        pytest.param(
            {"a": LOGITS, "b": [TARGET, LOGITS[0]]}, None, LOGITS.mean() + LOGITS[0].mean(),
            "mean of the float", id="means",
        ),
        pytest.param(
            (LOGITS,), TARGET, LOGITS.mean(), "the target in the batch is not used", id="unused"
        ),
        pytest.param(
            SimpleNamespace(loss=None), None, None, None, id="nothing-to-average"
        ),
    ],
)  # fmt: skip
def test_the_default_loss(output: Any, target: Any, value: Any, words: str | None) -> None:
    default = DefaultLoss()
    if value is None:
        with pytest.raises(ModelError, match="without a float tensor"):
            default(output, target)
        return
    loss, _ = default(output, target)
    assert torch.equal(loss, value)
    assert len(default.assumptions()) == 1
    assert words is not None
    assert words in default.assumptions()[0]


def test_a_made_target_belongs_to_later_batches() -> None:
    default = DefaultLoss()
    cpu = torch.device("cpu")
    assert default.target_for(None, cpu) is None
    _, target = default(LOGITS, None)
    assert target is not None
    later = default.target_for(None, cpu)
    assert later is not None
    assert later.dtype is torch.int64
    assert later.tolist() == [0, 0]
    default(LOGITS, later)
    assert "target of zeros" in default.assumptions()[0]


def test_nothing_is_assumed_before_a_step() -> None:
    assert DefaultLoss().assumptions() == ()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        pytest.param(None, "gave a NoneType as the loss", id="none"),
        pytest.param(3.0, "gave a float as the loss", id="float"),
        pytest.param(LOGITS, r"loss of shape \(2, 3\).*return loss.mean\(\)", id="shape"),
        pytest.param(torch.tensor(1.0), "does not require grad", id="detached"),
    ],
)
def test_what_is_not_a_loss(loss: Any, words: str) -> None:
    with pytest.raises(ModelError, match=f"training_step {words}|{words}"):
        check_loss(loss, "training_step")


def test_a_loss_is_a_loss() -> None:
    loss = LOGITS.sum()
    assert check_loss(loss, "training_step") is loss
