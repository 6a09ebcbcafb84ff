"""The plugin of pytest: nothing at its start, and messages that name what is over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.cli.plugins.pytest_plugin import Vram
from planner.errors import UsageError
from planner.results.device_estimate import DeviceEstimate
from tests.unit.budget_records import block, card, estimate_of

ROOT = Path(planner.__file__).parents[1]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Makes planner.estimate answer with these cards; returns the options of its call."""

    def make(*cards: DeviceEstimate) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def stand_in(target: Any, **options: Any) -> Any:
            seen.update(options, target=target)
            return estimate_of(*cards, target="build_model")

        monkeypatch.setattr(planner, "estimate", stand_in)
        return seen

    return make


def build_model() -> None: ...


def test_what_fits_returns_the_estimate(answer: Callable[..., dict[str, Any]]) -> None:
    seen = answer(card(block(1024)))
    found = Vram().assert_fits(build_model, batch=64, gpu="t4", inputs=(3,), max_peak="2 GiB")
    assert found.gpus[0].fits
    assert seen == {
        "target": build_model, "gpu": "t4", "batch_size": 64, "inputs": (3,),
        "calibration": False, "max_batch": False,
    }  # fmt: skip
    Vram().assert_fits(build_model, gpu="t4", min_largest_batch=64)
    assert seen["max_batch"] is True


def test_a_failure_names_limit_tensors_and_modules(answer: Callable[..., dict[str, Any]]) -> None:
    answer(
        card(block(1), gpu="a100"),
        card(block(9216, "blocks.3.mlp", "/x/net.py:7"), block(1024, "head"), gpu="t4"),
    )
    with pytest.raises(AssertionError) as error:
        Vram().assert_fits(build_model, gpu="a100,t4", max_peak="5 GiB")
    lines = str(error.value).splitlines()
    assert lines[:2] == [
        "build_model on t4: does not fit: peak 11.0 GiB, 1.00 GiB more than 10.0 GiB usable memory",
        "build_model on t4: peak 11.0 GiB, 6.00 GiB above max-peak 5 GiB",
    ]
    assert "   9.00 GiB  saved activation  blocks.3.mlp  aten::linear  net.py:7" in lines
    assert "   9.00 GiB   90 %  blocks.3" in lines
    assert not any("a100" in line for line in lines)


def test_a_limit_without_a_unit_is_an_error_of_the_test(
    answer: Callable[..., dict[str, Any]],
) -> None:
    seen = answer(card(block(1)))
    with pytest.raises(UsageError, match="max-peak 5 has no unit"):
        Vram().assert_fits(build_model, gpu="t4", max_peak="5")
    assert not seen


def test_the_start_of_pytest_imports_nothing_of_planner() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import planner.cli.plugins.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert set(done.stdout.split()) <= {
        "planner", "planner._version", "planner.cli", "planner.cli.plugins",
        "planner.cli.plugins.pytest_plugin", "__future__",
    }  # fmt: skip


def test_the_plugin_is_registered() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (
        '[project.entry-points.pytest11]\nvram-planner = "planner.cli.plugins.pytest_plugin"'
        in (text)
    )
