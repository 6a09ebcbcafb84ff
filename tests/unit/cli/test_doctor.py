"""`planner doctor`: what is there, what stops an estimate, and what to do about it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.emulator import build
from planner.emulator.build import emulated_device
from planner.emulator.cache import VARIABLE
from planner.emulator.torch_install import find_torch
from planner.errors import UnsupportedPlatformError
from planner.machine.nvml import PhysicalCard
from planner.questions import doctor as diagnosis
from planner.units import GIB


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is not there yet."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    for name in diagnosis.ALLOC_CONF_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "device"


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["doctor", *words])


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("--json").stdout)
    return found


def row(text: str, label: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{label}  ")]
    return line.removeprefix(label).strip()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build that needed no compiler."""

    def pretend(torch: object, work: Path, progress: object) -> dict[str, Any]:
        (work / build.DEVICE_LIBRARY).write_bytes(b"library" * 1000)
        return {"libraries": [build.DEVICE_LIBRARY]}

    monkeypatch.setattr(build, "build_device", pretend)
    return emulated_device(find_torch()).folder


def test_a_fresh_machine_can_estimate(cache: Path) -> None:
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(
        f"planner {planner.__version__}: estimates can run on this machine\n"
    )
    assert row(result.stdout, "torch").startswith(f"{find_torch().version}, CUDA ")
    assert row(result.stdout, "cache") == str(cache)
    assert row(result.stdout, "emulated device").startswith("none yet")
    assert "to do" not in result.stdout
    assert not cache.parent.exists()  # nothing is created


def test_the_document_has_all_of_it(cache: Path) -> None:
    found = document()
    assert found["can_estimate"] is True
    assert found["schema_version"] == 1
    assert found["planner"] == planner.__version__
    assert found["torch"]["version"] == find_torch().version
    assert found["cache"]["folder"] == str(cache)
    assert found["cache"]["free_bytes"] > 0
    assert found["threads"] == len(os.sched_getaffinity(0))
    assert found["ram_bytes"] > GIB
    assert found["compiler"].startswith(shutil.which(build.find_compiler()) or "-")
    assert found["environment"][VARIABLE] == str(cache.parent)
    assert set(found) == {
        "schema_version", "can_estimate", "planner", "python", "executable", "system",
        "processor", "threads", "ram_bytes", "torch", "libraries", "compiler", "cache", "driver",
        "cards", "environment", "problems",
    }  # fmt: skip


def test_a_whole_cache_needs_no_compiler_and_no_room(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(diagnosis, "free_bytes", lambda folder: 1000)
    found = document()
    assert (found["can_estimate"], found["compiler"]) == (True, None)
    assert found["cache"]["state"] == "whole"
    assert found["cache"]["size_bytes"] >= 7000


def test_damage_is_named_and_does_not_stop_an_estimate(built: Path) -> None:
    os.truncate(built / build.DEVICE_LIBRARY, 10)
    result = run()
    assert result.exit_code == 0
    says = "damaged (libplanner_device.so is not as it was written); the next estimate builds it"
    assert row(result.stdout, "emulated device").startswith(says)


def test_a_cache_that_others_can_change(cache: Path) -> None:
    cache.parent.mkdir()
    cache.parent.chmod(0o777)
    result = run()
    assert result.exit_code == 1
    assert "estimates cannot run here yet: see below" in result.stdout
    assert row(result.stdout, "emulated device") == "refused"
    assert f"{cache.parent} above it is not safe: others may write to it" in result.stdout


def no_torch() -> None:
    raise UnsupportedPlatformError("torch is not installed; run: pip install torch")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda patch: patch.setattr(diagnosis, "find_torch", no_torch), "pip install torch"),
        (lambda patch: patch.setenv("PATH", ""), "apt-get install g++"),
        (lambda patch: patch.setattr(diagnosis, "free_bytes", lambda _: 9_000_000), "is full"),
        (lambda patch: patch.setenv("PYTORCH_ALLOC_CONF", "garbage"), "unset PYTORCH_ALLOC_CONF"),
    ],
    ids=["torch", "compiler", "room", "allocator"],
)
def test_what_stops_an_estimate_is_said_with_what_to_do(
    break_it: Callable[[pytest.MonkeyPatch], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    break_it(monkeypatch)
    result = run()
    assert result.exit_code == 1
    assert says in result.stdout.partition("to do\n")[2]
    found = document()
    assert found["can_estimate"] is False
    assert any(says in problem for problem in found["problems"])


def test_a_compiler_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no license >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    (problem,) = document()["problems"]
    assert problem == f"the compiler {broken} does not run (no license); install g++, or set $CXX"


def test_cards_and_their_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    card = PhysicalCard(
        index=0, uuid="GPU-1", name="Tesla T4", driver="550.54.15", is_partitioned=False,
        usable_memory_bytes=15 * GIB, ecc=True, power_limit_w=70.0,
    )  # fmt: skip

    class Library:
        def cards(self) -> tuple[PhysicalCard, ...]:
            return (card,)

    @contextmanager
    def opened() -> Iterator[Library]:
        yield Library()

    monkeypatch.setattr("planner.machine.nvml.opened", opened)
    result = run()
    assert row(result.stdout, "NVIDIA driver") == "550.54.15"
    assert row(result.stdout, "cards") == "Tesla T4, 15.0 GiB"
    found = document()
    assert found["cards"] == [
        {"name": "Tesla T4", "usable_memory_bytes": 15 * GIB, "is_partitioned": False}
    ]


def test_hostile_variables_are_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "\x1b]0;PWN\x07[bold][/docs/t4]\n0")
    result = run()
    assert row(result.stdout, "CUDA_VISIBLE_DEVICES") == r"\x1b]0;PWN\x07[bold][/docs/t4]\n0"
