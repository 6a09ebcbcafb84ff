"""The options of the public functions are all typed, and mypy sees a slip in a user's file."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from planner.config.options import CompareOptions, CurveOptions, EstimateOptions, InspectOptions
from planner.config.parallel_words import NAMES as PARALLEL_NAMES
from planner.config.published import TaskConfig
from planner.config.step import StepConfig
from planner.estimation.job import NAMES as JOB_NAMES

ROOT = Path(__file__).parents[3]
STEP = {field.name for field in fields(StepConfig)} - {"parallel", "window", "size"}
MODEL = {
    "build_batch", "training_step", "build_optimizer", "inference_step", "model_arguments",
    "timeout_s", "on_progress", "cache",
}  # fmt: skip
TASK = {field.name for field in fields(TaskConfig)}
SEVERAL_GPUS = set(PARALLEL_NAMES)
CARD = {"gpu_memory", "reserve", "calibration", "hardware_db"}


def names(options: type) -> set[str]:
    return set(options.__annotations__)


def test_every_option_is_typed() -> None:
    assert names(InspectOptions) == STEP | MODEL | TASK
    of_one_gpu = STEP | MODEL | TASK | CARD | set(JOB_NAMES)
    assert names(EstimateOptions) == of_one_gpu | SEVERAL_GPUS
    assert names(CurveOptions) == of_one_gpu
    own_of_compare = {"batch_size", "dataset_size", "hardware_db"}
    assert names(CompareOptions) == of_one_gpu - own_of_compare


RIGHT = """
import planner

estimate = planner.estimate("net.py", gpu="a100", batch_size=4, precision="amp-bf16")
planner.estimate("net.py", gpu=["a100", "t4"], inputs="3x4", data=1.5, reserve="5%")
planner.curve("net.py", gpu="t4", batches=[1, 2], alloc_conf="expandable_segments:True")
planner.compare("net.py", by="cost", batch_size=4, host="this", price="2 USD/h", pue=1.2)
planner.inspect("net.py", depth=1, sequence_length=128)
planner.verify("net.py", emulated="t4", steps=2, ema=0.99)
fits: bool = estimate.fits()
card: planner.DeviceEstimate = estimate.gpu("t4")
time: planner.StepTime | None = card.time
peak: planner.Breakdown | None = estimate.breakdown()
precision: planner.Precision = planner.Precision.BF16
try:
    planner.curve("net.py", gpu="t4", inputs=(3, 224, 224), precision=precision, timeout_s=1.0)
except (planner.ModelError, planner.TargetError) as error:
    message: str = str(error)


class Example:
    shape: tuple[int, ...] = (8, 3)
    dtype: object = "float32"


planner.inspect("net.py", inputs=Example())
planner.inspect("net.py", inputs=[Example(), ((), "int64")])
planner.inspect("net.py", inputs={"ids": (8,), "past": [Example(), (Example(), Example())]})
planner.inspect("net.py", inputs=["ids=1024:int64", planner.InputSpec(shape=(3,), name="x")])
"""
WRONG = (
    'planner.estimate("net.py", gpu="a100", batch_sise=4)',
    'planner.estimate("net.py", gpu="a100", batch_size="four")',
    'planner.curve("net.py", gpu="t4", precison="bf16")',
    'planner.compare("net.py", workers=[4])',
    'planner.inspect("net.py", price="2 USD/h")',
    'planner.verify("net.py", emulated="t4", accumulate=1.5)',
    'planner.estimat("net.py", gpu="a100")',
    "gain: planner.Gains",
    "taken: int = card.peak_reserved",
    'planner.inspect("net.py", inputs={3})',
)


@pytest.mark.slow
def test_mypy_sees_a_slip_in_the_file_of_a_user(tmp_path: Path) -> None:
    user = tmp_path / "job.py"
    user.write_text(RIGHT + "\n".join(WRONG) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), user],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    first = len(RIGHT.splitlines()) + 1
    seen = {int(line) for line in re.findall(r"job\.py:(\d+): error", done.stdout)}
    assert seen == set(range(first, first + len(WRONG))), done.stdout + done.stderr
