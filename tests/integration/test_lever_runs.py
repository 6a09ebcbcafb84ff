"""Options that make a step smaller: each by hand, and against a model file that does the same."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.results.estimate import Estimate
from tests.integration.child_runs import WriteModel, net_of_blocks, traces

WIDTH, LAYERS, BATCH = 256, 6, 64
MATRIX_BYTES = 4 * WIDTH * WIDTH
# Linear layers without biases, as many bytes of gradients as of weights.
NETWORK = f"""
def build_model():
    return nn.Sequential(*(nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({LAYERS})))

def build_batch(batch_size):
    return torch.randn(batch_size, {WIDTH})

def loss_of(model, batch):
    return model(batch).mean()

def training_step(model, batch):
    return loss_of(model, batch)
"""
IN_BACKWARD_BY_HAND = """
def build_optimizer(parameters):
    own = {one: torch.optim.AdamW([one]) for one in parameters}

    def step(parameter):
        own[parameter].step()
        own[parameter].zero_grad()

    for one in own:
        one.register_post_accumulate_grad_hook(step)
    return tuple(own.values())

def training_step(model, batch, optimizers):
    loss_of(model, batch).backward()
"""


def parts(found: Estimate) -> dict[str, int]:
    breakdown = found.breakdown()
    assert breakdown is not None
    return breakdown.by_category()


def asked(path: str, **options: Any) -> Estimate:
    given = {"batch_size": BATCH, "gpu": "a100", "max_batch": False, **options}
    found = planner.estimate(path, **given)
    assert found.step is not None
    assert found.step.uncounted_operators == ()
    return found


def test_an_optimizer_in_backward_keeps_one_gradient(write_model: WriteModel) -> None:
    path = write_model(NETWORK)
    plain, freed = asked(path), asked(path, optimizer_in_backward=True)
    assert parts(plain)["gradient"] == LAYERS * MATRIX_BYTES
    assert parts(freed)["gradient"] == MATRIX_BYTES
    for name in ("parameter", "optimizer state", "input"):
        assert parts(freed)[name] == parts(plain)[name]
    assert plain.step is not None
    assert freed.step is not None
    assert freed.step.step_flops == plain.step.step_flops
    assert "gradient" not in " ".join(freed.warnings)
    assert any(f"each of {LAYERS} parameters" in text for text in freed.assumptions)


def test_an_optimizer_in_backward_as_by_hand(write_model: WriteModel) -> None:
    (option,) = traces(write_model(NETWORK), {"optimizer_in_backward": True})
    (by_hand,) = traces(write_model(NETWORK + IN_BACKWARD_BY_HAND), {})
    assert option.step_peak_allocated_bytes == by_hand.step_peak_allocated_bytes
    assert option.peak_reserved_bytes == by_hand.peak_reserved_bytes


BLOCKS = net_of_blocks(
    f"""
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Linear({WIDTH}, {4 * WIDTH}), nn.Linear({4 * WIDTH}, {WIDTH})

    def forward(self, x):
        return self.narrow(self.wide(x).relu())
""",
    layers=LAYERS,
    width=WIDTH,
)
CHECKPOINTED_BY_HAND = """
import functools
from torch.utils.checkpoint import checkpoint

def build_model():
    model = Net()
    for block in list(model.blocks)[CHOSEN]:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    return model
"""
WIDE_BATCH = 8192
HIDDEN_BYTES = 4 * WIDE_BATCH * 4 * WIDTH  # what a block saves beside its input


def test_some_blocks_are_checkpointed(write_model: WriteModel) -> None:
    options = [
        {"batch_size": WIDE_BATCH, **one}
        for one in (
            {},
            {"checkpoint_blocks": "every:2"},
            {"checkpoint_blocks": "first:4"},
            {"checkpoint_blocks": "blocks.[0-3]"},
            {"checkpoint_blocks": "all"},
            {"checkpoint_activations": True},
        )
    ]
    plain, second, first, named, every, usual = traces(write_model(BLOCKS), *options)
    assert plain.peak_allocated_bytes - first.peak_allocated_bytes == 4 * HIDDEN_BYTES
    # Of every second one the last is computed again at the peak.
    assert plain.peak_allocated_bytes - second.peak_allocated_bytes == 2 * HIDDEN_BYTES
    assert named.step_peak_allocated_bytes == first.step_peak_allocated_bytes
    assert every.step_peak_allocated_bytes == usual.step_peak_allocated_bytes
    for found, chosen in ((second, "1::2"), (first, ":4")):
        text = BLOCKS + CHECKPOINTED_BY_HAND.replace("CHOSEN", chosen)
        (by_hand,) = traces(write_model(text), {"batch_size": WIDE_BATCH})
        assert found.step_peak_allocated_bytes == by_hand.step_peak_allocated_bytes
        assert found.peak_reserved_bytes == by_hand.peak_reserved_bytes


def test_what_is_computed_again_is_counted(write_model: WriteModel) -> None:
    path = write_model(BLOCKS)
    plain, second = (
        planner.inspect(path, batch_size=BATCH, checkpoint_blocks=blocks).to_dict()["counts"]
        for blocks in (None, "every:2")
    )
    # PyTorch stops at the last tensor that backward needs: before the second product of a block.
    again = LAYERS // 2 * 2 * BATCH * WIDTH * 4 * WIDTH
    assert second["step_flops"] - plain["step_flops"] == again


CLASSES, NARROW, PIECES = 8192, 64, 8
# A head over many classes; the loss of all tokens.
VOCABULARY = f"""
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding({CLASSES}, {NARROW})
        self.layer = nn.Linear({NARROW}, {NARROW})
        self.head = nn.Linear({NARROW}, {CLASSES}, bias=False)

    def hidden(self, ids):
        return self.layer(self.tokens(ids))

    def forward(self, ids):
        return self.head(self.hidden(ids))

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.zeros(batch_size, 32, dtype=torch.long)

def training_step(model, ids):
    return F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
"""
PIECES_BY_HAND = f"""
def training_step(model, ids):
    hidden, labels = model.hidden(ids).flatten(0, 1), ids.flatten()

    def part(hidden, labels):
        return F.cross_entropy(model.head(hidden), labels, ignore_index=-100, reduction="sum")

    pairs = zip(hidden.chunk({PIECES}), labels.chunk({PIECES}))
    losses = [checkpoint(part, *pair, use_reentrant=False) for pair in pairs]
    return torch.stack(losses).sum() / (labels != -100).sum()
"""
LOGITS_BYTES = 4 * BATCH * 32 * CLASSES


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16"])
def test_a_loss_in_pieces_as_by_hand(write_model: WriteModel, precision: str) -> None:
    options = {"batch_size": BATCH, "precision": precision, "optimizer": "sgd"}
    plain, pieced = traces(write_model(VOCABULARY), options, {**options, "chunked_loss": PIECES})
    (by_hand,) = traces(write_model(VOCABULARY + PIECES_BY_HAND), options)
    assert pieced.step_peak_allocated_bytes == by_hand.step_peak_allocated_bytes
    assert pieced.peak_reserved_bytes == by_hand.peak_reserved_bytes
    if precision == "fp32":
        # At the peak there are log_softmax's output and two gradients of it. In pieces the
        # head's gradient is there as well, and the gradients of the input of earlier pieces.
        saved = 3 * (LOGITS_BYTES - LOGITS_BYTES // PIECES)
        beside = 4 * CLASSES * NARROW + 4 * BATCH * 32 * NARROW
        assert 0 <= saved - (plain.peak_allocated_bytes - pieced.peak_allocated_bytes) <= beside


def test_a_loss_in_pieces_is_answered_in_full(write_model: WriteModel) -> None:
    path = write_model(VOCABULARY)
    plain, pieced = asked(path), asked(path, chunked_loss=PIECES)
    assert plain.step is not None
    assert pieced.step is not None
    again = 2 * BATCH * 32 * NARROW * CLASSES  # the head once more
    assert pieced.step.step_flops - plain.step.step_flops == again
    assert pieced.step.forward_flops_per_sample == plain.step.forward_flops_per_sample
    assert pieced.gpus[0].device_total_bytes < plain.gpus[0].device_total_bytes
