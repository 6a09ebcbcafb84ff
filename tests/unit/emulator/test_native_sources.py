"""The native sources give no warning. They are built with warnings off, for compilers to come."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from planner.emulator.build import NATIVE, find_compiler, include_options
from planner.emulator.torch_install import find_torch

pytestmark = pytest.mark.slow
STRICT = ("-fsyntax-only", "-Wall", "-Wextra", "-Werror")


def warnings_of(source: Path) -> str:
    command = [find_compiler(), "-std=c++17", *STRICT, *include_options(find_torch()), str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_no_source_gives_a_warning() -> None:
    sources = sorted(NATIVE.glob("*.cpp"))
    assert len(sources) > 20
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = dict(zip(sources, pool.map(warnings_of, sources), strict=True))
    assert {path.name: text for path, text in found.items() if text} == {}


def test_a_warning_would_be_seen(tmp_path: Path) -> None:
    careless = tmp_path / "careless.cpp"
    careless.write_text("int f(int unused) { int other; return 1; }\n")
    assert "unused" in warnings_of(careless)
