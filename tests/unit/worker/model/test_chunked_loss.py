"""Logits that are never whole: the same loss and gradients, in pieces; other uses are refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn

from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.worker.drive.measure import measure
from planner.worker.model.chunked_loss import chunked_loss
from planner.worker.target.source import ModelSource

CLASSES, WIDTH = 11, 4
IDS = torch.arange(2 * 6).reshape(2, 6) % CLASSES
LABELS = IDS.clone()
LABELS[0, :2] = -100


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(CLASSES, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.rows: list[int] = []
        self.head.register_forward_hook(self._count)

    def _count(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if type(output) is torch.Tensor:
            self.rows.append(output.shape[0])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.tokens(ids))


def flat(logits: Any) -> Any:
    return F.cross_entropy(logits.view(-1, logits.size(-1)), LABELS.view(-1))


def shifted(logits: Any) -> Any:
    kept = logits[..., :-1, :].contiguous().float()
    return F.cross_entropy(kept.flatten(0, 1), LABELS[..., 1:].flatten(), ignore_index=-100)


def smooth(logits: Any) -> Any:
    loss = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum")
    return loss(logits[:, 1:].reshape(-1, logits.shape[2]), LABELS[:, 1:].reshape(-1))


def as_transformers(logits: Any) -> Any:
    labels = F.pad(LABELS, (0, 1), value=-100)[..., 1:].contiguous()
    logits = logits.to(torch.float64).view(-1, CLASSES)
    return F.cross_entropy(logits, labels.view(-1).to(logits.device), reduction="mean")


@pytest.mark.parametrize("loss", [flat, shifted, smooth, as_transformers])
@pytest.mark.parametrize("pieces", [2, 5, 100])
def test_loss_and_gradients_are_the_same(loss: Callable[[Any], Any], pieces: int) -> None:
    whole, pieced = Net(), Net()
    chunks = chunked_loss(pieced, pieces)
    expected, found = loss(whole(IDS)), loss(pieced(IDS))
    chunks.check_used()
    torch.testing.assert_close(found, expected)
    expected.backward()
    found.backward()
    for mine, theirs in zip(pieced.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    assert len(pieced.rows) >= 4
    assert max(pieced.rows) <= -(-12 // pieces)
    with torch.no_grad():
        assert type(pieced(IDS)) is torch.Tensor


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda logits: flat(logits / 30), "to __?truediv|to div"),
        (lambda logits: flat(torch.tanh(logits)), "to tanh"),
        (lambda logits: logits.argmax(-1), "to argmax"),
        (lambda logits: F.log_softmax(logits, -1), "to log_softmax"),
        (lambda logits: logits[..., :5], "dimension of the classes"),
        (lambda logits: logits[0, 0, 3], "dimension of the classes"),
        (lambda logits: logits[LABELS > 0], "no slice"),
        (lambda logits: logits.view(-1, 2 * CLASSES), "breaks up their rows"),
        (lambda logits: logits.float().half(), "a second cast"),
        (lambda logits: logits.transpose(1, 2), "to transpose"),
        (lambda logits: F.cross_entropy(logits[0], IDS[0], torch.ones(CLASSES)), "weights"),
        (lambda logits: F.cross_entropy(logits[0], IDS[0], reduction="none"), "reduction 'none'"),
        (lambda logits: F.cross_entropy(logits[0], torch.ones(6, CLASSES)), "no indices"),
        (lambda logits: logits.add_(1), "to add_"),
        (lambda logits: torch.zeros(2, 6, CLASSES) + logits, "to __?r?add|to add"),
    ],
)
def test_other_uses_of_logits_are_refused(use: Callable[[Any], Any], said: str) -> None:
    model = Net()
    chunked_loss(model, 2)
    with pytest.raises(UsageError, match=said):
        use(model(IDS))


def test_the_output_layer_of_transformers_comes_first() -> None:
    model: Any = Net()
    model.last = nn.Linear(3, 3)
    model.get_output_embeddings = lambda: model.head
    assert "output layer head" in chunked_loss(model, 8).words
    with pytest.raises(UsageError, match="no output layer"):
        chunked_loss(nn.Conv1d(3, 3, 1), 2)


def traced(model: Callable[[], nn.Module], step: Any = None, **config: Any) -> Any:
    source = ModelSource(
        build_model=model, build_batch=lambda size: (IDS[0], IDS[1]), training_step=step
    )
    return measure(source, StepConfig(chunked_loss=2, **config), torch.device("cpu"))


def test_a_step_of_the_planner_and_of_the_user() -> None:
    trace = traced(Net)
    assert trace.failure is None, trace.failure
    assert any("output layer head" in text for text in trace.assumptions)
    trace = traced(Net, lambda model, batch: flat_of(model, batch))
    assert trace.failure is None, trace.failure


def flat_of(model: Any, batch: Any) -> Any:
    return F.cross_entropy(model(batch[0]), batch[1])


def test_a_loss_of_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match=r"output of head, .* does not reach"):
        traced(Net, lambda model, batch: model.tokens(batch[0]).sum())
    with pytest.raises(UsageError, match="passes the logits"):
        traced(Net, lambda model, batch: model(batch[0]).sum())


class Causal(Net):
    def forward(self, ids: torch.Tensor) -> Any:
        logits = super().forward(ids)
        return SimpleNamespace(loss=F.cross_entropy(logits, ids), logits=logits)


def test_a_model_that_computes_its_loss() -> None:
    trace = traced(Causal)
    assert trace.failure is None, trace.failure
    assert any("the output's own .loss" in text for text in trace.assumptions)
