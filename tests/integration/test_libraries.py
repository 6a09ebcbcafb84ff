"""Real libraries with CUDA code of their own, where they are installed, against arithmetic.

`python -m benchmarks.libraries` makes an environment that has all of them.
"""

from __future__ import annotations

import importlib.util

import pytest

import planner
from benchmarks.libraries import CASES, JOBS, TOLERANCE, Case, measured_bytes, missing

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_job_of_each_library(case: Case) -> None:
    if missing(case):
        pytest.skip(f"{missing(case)} is not installed; see benchmarks/libraries.py")
    assert measured_bytes(case) == pytest.approx(case.right_bytes, rel=TOLERANCE)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_layers_need_no_weights_on_the_host(bits: int) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed; see benchmarks/libraries.py")
    found = planner.estimate(
        str(JOBS / "quantised.py"),
        gpu="a100",
        batch_size=64,
        model_arguments={"bits": bits},
        max_batch=False,
    )
    assert not [text for text in found.assumptions if "built on the CPU" in text]
    assert found.gpus[0].outside_bytes == 0
