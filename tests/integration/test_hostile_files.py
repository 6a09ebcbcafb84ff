"""Hostile model files as whole commands; `python -m benchmarks.faults` has all, more often.

Ways to die, exceptions of all kinds, closed descriptors and forged answers are in test_failures.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command import ROOT, faults, run_command
from benchmarks.faults.cases import CASES, Case

pytestmark = pytest.mark.slow

NAMES = """
    wandb_like children_import fork_bomb_small monkey sigstop segv print_much
"""
CHOSEN = [case for case in CASES if case.name in NAMES.split()]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
def test_a_hostile_file_has_an_answer_and_leaves_nothing(case: Case) -> None:
    ended = run_command(case.arguments, limit_s=case.limit_s)
    assert faults(ended, codes=case.codes, says=case.says) == (), ended.stderr[-2000:]


def test_the_benchmark_of_a_physical_card_on_an_emulated_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    asked = ("--emulated", "h100", "--models", "mlp,resnet50", "--minutes", "2", "--json", path)
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.physical_card", *map(str, asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    document = json.loads(path.read_text())
    counts = document["counts"]
    assert sum(counts.values()) == len(document["rows"]) == 19
    assert counts["failed"] == 0, ended.stdout
    assert ended.returncode == int(counts["done"] < 19)
    first = document["rows"][0]
    assert (first["kind"], first["model"], first["status"]) == ("peaks", "mlp", "done")
    for name in ("peak_allocated_bytes", "peak_reserved_bytes", "context_overhead_bytes"):
        assert first["quantities"][name]["predicted"] == first["quantities"][name]["measured"] > 0
    for row in document["rows"]:
        if row["status"] == "not reached":
            name = f"{row['kind']} {row['model']} {row['precision']}".strip()
            assert name in ended.stdout
