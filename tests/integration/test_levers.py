"""Options that make a step smaller: each by hand, and against a model file that does the same."""

from __future__ import annotations

from typing import Any

from child_runs import WriteModel, traces

import planner
from planner.results.estimate import Estimate

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
