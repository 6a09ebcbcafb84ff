"""Weights keep the dtype that the model file gives them, and every answer says which that is."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import planner
from tests.integration.child_runs import WriteModel

# A frozen base of 512 x 512 in bfloat16, and adapters of 512 x 8 and 8 x 512 in float32.
ADAPTED = """
class Adapted(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Linear(512, 512, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        self.down = nn.Linear(512, 8, bias=False)
        self.up = nn.Linear(8, 512, bias=False)

    def forward(self, x):
        adapted = self.up(self.down(x.to(self.down.weight.dtype)))
        return self.base(x.to(self.base.weight.dtype)) + adapted.to(self.base.weight.dtype)

def build_model():
    return Adapted()

def build_batch(batch_size):
    return torch.randn(batch_size, 512)
"""
BASE, ADAPTERS = 512 * 512, 2 * 8 * 512
IN_HALF = """
def build_model():
    return nn.Linear(512, 512, bias=False).to(torch.bfloat16)

def build_batch(batch_size):
    return torch.randn(batch_size, 512)

def training_step(model, batch):
    return model(batch.to(model.weight.dtype)).sum()
"""


@pytest.mark.parametrize(
    ("precision", "base", "adapter", "named"),
    [
        (None, 2, 4, "as-built"),
        ("as-built", 2, 4, "as-built"),
        ("amp-bf16", 2, 4, "amp-bf16"),
        ("bf16", 2, 2, "bf16"),
        ("fp32", 4, 4, "fp32"),
    ],
)
def test_adapters_keep_their_dtype_unless_a_cast_is_asked_for(
    write_model: WriteModel, precision: str | None, base: int, adapter: int, named: str
) -> None:
    found = planner.estimate(write_model(ADAPTED), gpu="a100", max_batch=False, precision=precision)
    document = found.to_dict()
    assert document["config"]["precision"] == named
    sizes = {BASE: base, ADAPTERS: adapter}
    shares = {(one["elements"], one["bytes"]) for one in document["counts"]["weight_dtypes"]}
    if base == adapter:
        assert shares == {(BASE + ADAPTERS, base * (BASE + ADAPTERS))}
    else:
        assert shares == {(elements, elements * size) for elements, size in sizes.items()}
    parts = document["gpus"][0]["breakdown_bytes"]
    assert parts["parameter"] == base * BASE + adapter * ADAPTERS
    assert parts["optimizer state"] == 2 * adapter * ADAPTERS
    cast = [text for text in found.warnings if "were cast" in text or "was cast" in text]
    assert len(cast) == (precision in ("bf16", "fp32"))


@pytest.mark.slow
def test_every_answer_says_what_the_weights_are(write_model: WriteModel) -> None:
    path = write_model(IN_HALF)
    weights = [{"dtype": "bfloat16", "elements": BASE, "bytes": 2 * BASE}]
    on_card = planner.estimate(path, gpu="a100", max_batch=False).to_dict()
    on_cpu = planner.estimate(path, device="cpu", memory="4GiB", max_batch=False).to_dict()
    inspected = planner.inspect(path).to_dict()
    for document in (on_card, on_cpu, inspected):
        assert document["config"]["precision"] == "as-built"
        assert document["counts"]["weight_dtypes"] == weights
    verified = planner.verify(path, emulated="a100", max_batch=8).to_dict()
    curve = planner.curve(path, gpu="a100", batches=[8]).to_dict()
    compared = planner.compare(path, gpu="a100", batch_size=8).to_dict()
    for document in (verified, curve, compared):
        assert document["config"]["precision"] == "as-built"
        assert document["weight_dtypes"] == weights
    offered = [gain["change"] for gain in on_card["gpus"][0]["time"]["gains"]]
    assert not any("--precision" in change for change in offered)


def test_float32_that_is_asked_for_is_given(write_model: WriteModel) -> None:
    found = planner.estimate(write_model(IN_HALF), gpu="a100", max_batch=False, precision="fp32")
    assert found.counts.weight_dtypes[0].dtype == "float32"
    breakdown = found.breakdown()
    assert breakdown is not None
    assert breakdown.by_category()["parameter"] == 4 * BASE
    assert any("builds its weights in bfloat16" in text for text in found.assumptions)


def test_a_live_model_in_half_precision_stays_so() -> None:
    model = nn.Linear(512, 512, bias=False, dtype=torch.bfloat16)
    found = planner.estimate(
        model, gpu="a100", inputs="512:bfloat16", max_batch=False, optimizer="sgd"
    )
    document = json.loads(json.dumps(found.to_dict()))
    assert document["config"]["precision"] == "as-built"
    assert document["gpus"][0]["breakdown_bytes"]["parameter"] == 2 * BASE
