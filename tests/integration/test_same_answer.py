"""The same job gives the same answer, to the byte, also where the cache had been damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from planner.cli.root import root
from planner.emulator.build import EmulatedDevice
from planner.emulator.cache import VARIABLE
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
    def build_model():
        return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10))

    def build_batch(batch_size):
        return torch.randn(batch_size, 256), torch.randint(10, (batch_size,))
"""


def estimated(path: str, *words: str) -> subprocess.CompletedProcess[str]:
    assert root.name == "root"  # the planner of this folder, and no other, is run
    return subprocess.run(
        [sys.executable, "-m", "planner", "estimate", path, "--gpu", "t4", "--json", *words],
        capture_output=True,
        text=True,
        check=True,
    )


def test_two_estimates_are_equal_to_the_byte(write_model: WriteModel) -> None:
    path = write_model(MODEL)
    first, second = (
        estimated(path, "--data", "imagenet-jpeg", "--host", "aws-g4dn-xlarge") for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert json.loads(first.stdout)["gpus"][0]["host"]["ram_parts_bytes"]["process"] > 0


def test_a_damaged_cache_costs_one_build_and_changes_no_figure(
    write_model: WriteModel, device: EmulatedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(MODEL)
    whole = estimated(path)
    cache = tmp_path / "cache"
    copied = cache / "device" / device.folder.name
    copied.parent.mkdir(parents=True, mode=0o700)
    cache.chmod(0o700)
    shutil.copytree(device.folder, copied, symlinks=True)
    library = copied / device.libraries[0].name
    os.truncate(library, library.stat().st_size // 2)
    monkeypatch.setenv(VARIABLE, str(cache))
    mended, again = estimated(path), estimated(path)
    said = "again, because the one in the cache is damaged (libplanner_device.so is not as it was"
    assert mended.stderr.count(said) == 1
    assert "building" not in again.stderr
    assert mended.stdout == again.stdout == whole.stdout
