"""Pictures of a real run: the highest point is the peak of the JSON, in each format, no display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.results.estimate import Estimate
from planner.units import MIB

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, device_cache: Path) -> tuple[Path, Any]:
    """A saved result of a small net, with its JSON; its picture was drawn in the same run."""
    folder = tmp_path_factory.mktemp("plots")
    done = command(
        device_cache, "estimate", "models/mlp.py", "--gpu", "t4", "--json", "--save",
        str(folder / "mlp.planner"), "--plot", str(folder / "mlp.svg"),
    )  # fmt: skip
    return folder, json.loads(done)


def command(cache: Path, *words: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")
    }
    done = subprocess.run(
        [sys.executable, "-m", "planner", *words], cwd=ROOT, capture_output=True, text=True,
        env={**environment, "VRAM_PLANNER_CACHE": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_highest_point_is_the_peak_of_the_json(saved: tuple[Path, Any]) -> None:
    folder, document = saved
    peak = document["gpus"][0]["peak_allocated_bytes"]
    assert "peak allocated" in (text := (folder / "mlp.svg").read_text())
    assert f"({peak:,} bytes)" in text
    found = planner.load(folder / "mlp.planner")
    assert isinstance(found, Estimate)
    figure = found.plot()
    areas = [one for one in figure.axes[0].patches if one.get_gid()]
    assert max(point[1] for area in areas for point in area.get_xy()) * MIB == peak
    assert found.plot(batch_size=found.config.batch_size).axes


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_each_format_of_a_saved_result(
    saved: tuple[Path, Any], suffix: str, device_cache: Path
) -> None:
    folder, _ = saved
    command(device_cache, "show", str(folder / "mlp.planner"), "--plot", f"{folder}/a.{suffix}")
    begin = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert (folder / f"a.{suffix}").read_bytes().startswith(begin)
    if suffix == "svg":
        assert (folder / "a.svg").read_bytes() == (folder / "mlp.svg").read_bytes()
