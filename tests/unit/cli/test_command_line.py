"""`python -m planner estimate` for real: emulated cards, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MARK = "VRAM_PLANNER_TEST_MARK"

NOISY = """
import torch
print("printed while imported")

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(16, 4)

    def forward(self, x):
        print("printed in forward")
        return super().forward(x)

def build_batch(batch_size):
    return torch.randn(batch_size, 16)
"""

pytestmark = pytest.mark.slow


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "planner", "estimate", *words]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def living(mark: str) -> list[str]:
    """Processes with the mark in their environment, zombies not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes()
            ):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return found


def test_fits() -> None:
    done = run("models/mlp.py", "--gpu", "t4", "--batch", "64", "--no-max-batch")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("t4: fits, ")
    assert "\n\nmodels/mlp.py\n1.9 M parameters, training with batch 64, fp32" in done.stdout
    assert "importing torch and the model" in done.stderr


def test_does_not_fit_even_with_batch_1() -> None:
    done = run("models/mlp.py", "--gpu", "t4", "--gpu-memory", "210MiB", "--json", "-q")
    assert done.returncode == 3, done.stderr
    card = json.loads(done.stdout)["gpus"][0]
    assert card["fits"] is False
    assert card["max_batch_size"] == 0
    assert card["missing_bytes"] > 0


def test_what_the_model_prints_stays_out_of_the_json(tmp_path: Path) -> None:
    model = tmp_path / "noisy.py"
    model.write_text(NOISY)
    done = run(str(model), "--gpu", "t4", "--no-max-batch", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["parameters"] == 68
    assert "printed while imported" in done.stderr


def test_an_exception_in_the_model_shows_the_users_line(tmp_path: Path) -> None:
    model = tmp_path / "bad.py"
    model.write_text(
        NOISY.replace("return super()", "raise ValueError('bad input')\n        return super()")
    )
    done = run(str(model), "--gpu", "t4", "-q")
    assert (done.returncode, done.stdout) == (1, "")
    message = done.stderr[done.stderr.index("error: ") :]
    assert "ValueError: bad input" in message
    assert f'File "{model}", line 11, in forward' in message
    assert "planner/" not in message


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["models/mlp.py", "--gpu", "a1000"], 2, "a100"),
        (["models/mlpp.py", "--gpu", "t4"], 2, "models/mlpp.py"),
    ],
    ids=["unknown-card", "missing-file"],
)
def test_bad_requests(words: list[str], code: int, said: str) -> None:
    done = run(*words, "--json", "-q")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    mark, started = uuid.uuid4().hex, tmp_path / "started"
    model = tmp_path / "endless.py"
    model.write_text(
        f"import time\nopen({str(started)!r}, 'w').close()\nwhile True: time.sleep(1)\n"
        "def build_model(): ...\n"
    )
    process = subprocess.Popen(
        command(str(model), "--gpu", "t4"),
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + 120
    while not started.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert len(living(mark)) >= 2, "there is no child that could be left behind"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert living(mark) == []
