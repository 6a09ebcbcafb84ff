"""A second axis beside the batch: --seq reaches build_batch, or says why it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import planner
from tests.integration.child_runs import WriteModel, traces

pytestmark = pytest.mark.slow

ROOT = Path(planner.__file__).parents[1]
BATCH, WIDTH, FLOAT_BYTES = 2, 16, 4
EAGER_ATTENTION = f"""
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear({WIDTH}, {WIDTH}, bias=False)
        self.key = nn.Linear({WIDTH}, {WIDTH}, bias=False)
        self.value = nn.Linear({WIDTH}, {WIDTH}, bias=False)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return scores.softmax(-1) @ self.value(x)

def build_batch(batch_size, sequence_length):
    return torch.randn(batch_size, sequence_length, {WIDTH})

def training_step(model, batch):
    return model(batch).square().mean()
"""


def grown_bytes(shorter: int, longer: int) -> int:
    """What the peak of EAGER_ATTENTION grows by; it is in the backward of the softmax.

    Quadratic: the probabilities, their gradient, the product of both that the kernel sums up, and
    the gradient of the scores. Linear: the batch, queries and keys; the values are done with.
    https://github.com/pytorch/pytorch/blob/v2.8.0/aten/src/ATen/native/cuda/SoftMax.cu
    """
    quadratic = 4 * BATCH * (longer**2 - shorter**2)
    linear = 3 * BATCH * (longer - shorter) * WIDTH
    return (quadratic + linear) * FLOAT_BYTES


def test_eager_attention_grows_with_the_square_of_the_sequence(write_model: WriteModel) -> None:
    lengths = (2048, 4096, 8192)  # so long that no workspace of cuBLAS is above the peak
    found = traces(
        write_model(EAGER_ATTENTION),
        *({"batch_size": BATCH, "sequence_length": length} for length in lengths),
    )
    short, double, fourfold = (trace.peak_allocated_bytes for trace in found)
    assert double - short == grown_bytes(2048, 4096)
    assert fourfold - double == grown_bytes(4096, 8192)


def test_live_objects_take_a_sequence_length(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import torch
import planner

def build_batch(batch_size, *, sequence_length):
    return torch.randn(batch_size, sequence_length, {WIDTH})

estimate = planner.estimate(
    torch.nn.Linear({WIDTH}, 4), gpu="a100", build_batch=build_batch, batch_size={BATCH},
    sequence_length=128, max_batch=False)
print(estimate.breakdown().by_category()["input"], estimate.config.sequence_length)
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(BATCH * 128 * WIDTH * FLOAT_BYTES), "128"]


@pytest.mark.parametrize(
    ("parameters", "words", "said"),
    [
        ("batch_size", ["--seq", "64"], "build_batch(batch_size) of"),
        ("batch_size, sequence_length", [], "needs a sequence_length, and none was given"),
        (None, ["--seq", "64"], "has no build_batch"),
    ],
    ids=["not-taken", "not-given", "no-build-batch"],
)
def test_a_sequence_length_that_cannot_be(
    write_model: WriteModel, parameters: str | None, words: list[str], said: str
) -> None:
    text = "model = nn.Linear(4, 4)\n"
    if parameters is not None:
        text += f"def build_batch({parameters}):\n    return torch.randn(batch_size, 4)\n"
    command = [sys.executable, "-m", "planner", "estimate", write_model(text), "--gpu", "t4"]
    done = subprocess.run(
        [*command, *words, "-q"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
