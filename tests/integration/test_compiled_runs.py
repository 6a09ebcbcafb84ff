"""Compiled steps on the emulated card: by request, by the file, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli.root import root
from planner.config.parse import step_config
from planner.errors import PlannerError, TargetError, UsageError
from planner.wire.trace import StepTrace
from tests.integration.child_runs import WriteModel, running

MIB = 1 << 20
ROWS_MIB = 64  # of the batch: 16 samples of 2^20 float32
A100_L2_MIB = 40
POINTWISE = """
class Net(nn.Module):
    def forward(self, x):
        return (x * 2 + 1).relu()

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, 1 << 20)
"""
LAYERS = """
def build_model():
    return nn.Sequential(nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 64))

def build_batch(batch_size):
    return torch.randn(batch_size, 256), torch.randint(64, (batch_size,))
"""


def steps_mib(trace: StepTrace) -> list[float]:
    return [peak / MIB for peak in trace.step_peak_allocated_bytes]


def peaks(trace: StepTrace) -> tuple[object, ...]:
    assert trace.failure is None, trace.failure
    return trace.peak_allocated_bytes, trace.peak_reserved_bytes, trace.step_peak_allocated_bytes


@pytest.mark.slow
def test_one_kernel_keeps_no_results_between_operators(write_model: WriteModel) -> None:
    infer = {"mode": "infer", "batch_size": 16}
    with running(write_model(POINTWISE)) as (runner, profile):

        def ran(**options: Any) -> StepTrace:
            return runner.run(profile, step_config({**infer, **options}))

        eager, off, compiled, again = (
            ran(),
            ran(compile="off"),
            ran(compile=True),
            ran(compile=True),
        )
        graphs = ran(compile="reduce-overhead")
    # Input, product and sum; from step 2 on the last output too, until the new one takes its name.
    assert steps_mib(eager) == [3 * ROWS_MIB, 4 * ROWS_MIB, 4 * ROWS_MIB]
    assert peaks(off) == peaks(eager)
    # Input and output; step 1 tunes the kernel with a buffer as large as the L2 cache.
    assert steps_mib(compiled) == [2 * ROWS_MIB + A100_L2_MIB, 3 * ROWS_MIB, 3 * ROWS_MIB]
    assert peaks(again) == peaks(compiled), "what one run has tuned is no matter of the next"
    assert (eager.is_compiled, off.is_compiled, compiled.is_compiled) == (False, False, True)
    # A graph is recorded in step 2 and replayed in step 3, where the last output is its own.
    assert steps_mib(graphs) == [2 * ROWS_MIB + A100_L2_MIB, 3 * ROWS_MIB, 2 * ROWS_MIB]
    assert any("CUDA graphs" in text for text in graphs.assumptions)
    assert not any("CUDA graphs" in text for text in compiled.assumptions)


@pytest.mark.slow
def test_a_file_that_compiles_is_as_one_that_is_compiled_on_request(
    write_model: WriteModel,
) -> None:
    of_file = LAYERS.replace(
        "return nn.Sequential(", "return torch.compile(nn.Sequential("
    ).replace("64))\n\ndef", "64)))\n\ndef")
    with running(write_model(LAYERS, "plain.py")) as (runner, profile):
        plain = runner.run(profile, step_config({"batch_size": 8}))
        asked = runner.run(profile, step_config({"batch_size": 8, "compile": "default"}))
    with running(write_model(of_file, "compiled.py")) as (runner, profile):
        own = runner.run(profile, step_config({"batch_size": 8}))
        off = runner.run(profile, step_config({"batch_size": 8, "compile": "off"}))
    assert peaks(own) == peaks(asked) != peaks(plain)
    assert peaks(off) == peaks(plain)


@pytest.mark.parametrize(
    ("text", "options", "error", "why"),
    [
        pytest.param(
            LAYERS
            + "\ndef training_step(model, batch):\n    return model.forward(batch[0]).sum()\n",
            {},
            TargetError,
            r"has to call the model as model\(...\)",
            id="never called",
        ),
        pytest.param(LAYERS, {"compile": "max-autotune"}, UsageError, "no such times", id="tuned"),
        pytest.param(
            LAYERS, {"num_gpus": 2}, UsageError, "--compile and several GPUs", id="several GPUs"
        ),
    ],
)
def test_what_cannot_be_compiled_says_why(
    write_model: WriteModel,
    text: str,
    options: Mapping[str, Any],
    error: type[PlannerError],
    why: str,
) -> None:
    config = step_config({"batch_size": 8, "compile": "default", **options})
    with running(write_model(text)) as (runner, profile), pytest.raises(error, match=why):
        runner.run(profile, config)


def test_a_step_on_the_cpu_is_not_compiled(write_model: WriteModel) -> None:
    words = ["estimate", write_model(LAYERS), "--device", "cpu", "--compile=default", "-q"]
    found = CliRunner().invoke(root, words)
    assert found.exit_code == 2
    assert "the step runs on the CPU" in found.output


@pytest.mark.slow
def test_eager_and_compiled_are_compared(write_model: WriteModel) -> None:
    words = ["diff", write_model(POINTWISE), "--gpu", "a100", "--mode", "infer", "--batch", "16"]
    words += ["--no-max-batch", "-q", "--a", "--compile off", "--b", "--compile default"]
    found = CliRunner().invoke(root, words)
    assert found.exit_code == 0, found.output
    assert "compile: off -> default" in found.output
    assert "256 MiB -> 192 MiB" in found.output
