"""Optimizers by name, clipping and the average of the weights on the emulated card, by hand."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.results.estimate import Estimate
from tests.integration.child_runs import WriteModel

# Two hidden matrices of 256 x 256 with biases, a batch norm, a head of 256 x 10 without a bias.
NETWORK = """
def build_model():
    return nn.Sequential(
        nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, 10, bias=False),
    )

def build_batch(batch_size):
    return torch.randn(batch_size, 256), torch.zeros(batch_size, dtype=torch.long)
"""
HIDDEN = 2 * 256 * 256
OTHERS = 2 * 256 + 2 * 256 + 256 * 10  # biases, the norm, the head
PARAMETERS = HIDDEN + OTHERS
TENSORS = 7
SCALAR_BYTES = 512  # the least that PyTorch's allocator takes; all other sizes are multiples of it
BUFFERS_BYTES = 2 * 256 * 4 + SCALAR_BYTES  # of the norm: mean, variance, and a count


def parts(found: Estimate) -> dict[str, int]:
    breakdown = found.breakdown()
    assert breakdown is not None
    return breakdown.by_category()


def asked(path: str, **options: Any) -> Estimate:
    found = planner.estimate(path, gpu="a100", max_batch=False, **options)
    assert not any("values read" in text for text in found.assumptions)
    assert found.step is not None
    assert found.step.uncounted_operators == ()
    return found


@pytest.mark.parametrize(
    ("optimizer", "name", "bytes_kept"),
    [
        ("adamw", "AdamW", 8 * PARAMETERS),
        ("adamw-fused", "AdamW (fused)", 8 * PARAMETERS + SCALAR_BYTES * TENSORS),  # a count each
        ("sgd-fused", "SGD (fused)", 0),
        ("rmsprop", "RMSprop", 4 * PARAMETERS),
        ("adagrad", "Adagrad", 4 * PARAMETERS),
        ("muon", "Muon + AdamW", 4 * HIDDEN + 8 * OTHERS),
    ],
)
def test_the_state_of_optimizers_is_known_by_hand(
    write_model: WriteModel, optimizer: str, name: str, bytes_kept: int
) -> None:
    found = asked(write_model(NETWORK), optimizer=optimizer)
    assert found.optimizer == name
    assert parts(found).get("optimizer state", 0) == bytes_kept


def test_muon_with_a_scaler_and_clipping(write_model: WriteModel) -> None:
    found = asked(write_model(NETWORK), optimizer="muon", precision="amp-fp16", clip_grad_norm=1.0)
    # Beside it the scaler keeps its scale and the number of good steps.
    assert parts(found)["optimizer state"] == 4 * HIDDEN + 8 * OTHERS + 2 * SCALAR_BYTES


def test_the_average_is_a_copy_of_weights_and_buffers(write_model: WriteModel) -> None:
    path = write_model(NETWORK)
    plain, with_average = asked(path), asked(path, ema=True)
    assert parts(plain)["buffer"] == BUFFERS_BYTES
    assert parts(with_average)["buffer"] == 2 * BUFFERS_BYTES + 4 * PARAMETERS
    for name in ("parameter", "gradient", "optimizer state", "input"):
        assert parts(with_average)[name] == parts(plain)[name]
    breakdown = with_average.breakdown()
    assert breakdown is not None
    by_module = breakdown.by_module()
    assert by_module["ema.0"] >= 4 * (256 * 256 + 256)
    assert with_average.to_dict()["config"]["ema"] == 0.999
    assert plain.to_dict()["config"]["ema"] is None


def test_clipping_takes_norms_and_time_and_changes_no_weights(write_model: WriteModel) -> None:
    path = write_model(NETWORK)
    plain, clipped = asked(path, batch_size=2), asked(path, batch_size=2, clip_grad_norm=1.0)
    for name in ("parameter", "gradient", "optimizer state", "buffer", "input"):
        assert parts(clipped)[name] == parts(plain)[name]
    times = []
    for one in (plain, clipped):
        assert one.gpus[0].time is not None
        times.append(dict(one.gpus[0].time.phases_s))
    before, after = ({phase.value: value for phase, value in one.items()} for one in times)
    assert after["optimizer step"] > before["optimizer step"]
    assert after["forward"] == pytest.approx(before["forward"])


@pytest.mark.slow
def test_every_command_knows_them(write_model: WriteModel) -> None:
    path = write_model(NETWORK)
    options: dict[str, Any] = {"optimizer": "sgd", "clip_grad_norm": 1.0, "ema": 0.99}
    verified = planner.verify(path, emulated="a100", max_batch=64, **options)
    assert verified.is_confirmed
    curve = planner.curve(path, gpu="a100", batches=[8], **options)
    compared = planner.compare(path, gpu="a100", batch_size=8, **options)
    on_cpu = planner.estimate(path, device="cpu", memory="4GiB", max_batch=False, **options)
    for found in (verified, curve, compared, on_cpu):
        config = found.to_dict()["config"]
        assert (config["clip_grad_norm"], config["ema"]) == (1.0, 0.99)
