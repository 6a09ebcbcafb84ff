"""`planner estimate FILE` as a whole command without a card, in a project with defaults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from planner.hardware.database import load_gpus
from planner.memory.card_words import DEFAULT_CARDS, stand_ins

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_file_alone_is_answered_for_the_cards_that_stand_in(tmp_path: Path) -> None:
    shutil.copy(ROOT / "models" / "mlp.py", tmp_path)
    (tmp_path / "planner.toml").write_text("[defaults]\nbatch = 16\nno-max-batch = true\n")
    done = subprocess.run(
        [sys.executable, "-m", "planner", "estimate", "mlp.py", "--json", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    expected = stand_ins(load_gpus())  # a machine with a card answers for that
    assert tuple(card["requested"] for card in document["gpus"]) == expected.names
    assert document["assumptions"][0] == expected.note
    assert document["config"]["batch_size"] == 16
    assert [card["max_batch_size"] for card in document["gpus"]] == [None] * len(expected.names)
    assert document["defaults_file"] == {
        "file": str(tmp_path / "planner.toml"),
        "options": {"batch": 16, "no-max-batch": True},
    }
    assert set(expected.names) <= set(DEFAULT_CARDS) or "of this machine" in expected.note
