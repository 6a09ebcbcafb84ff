"""`with planner.emulated(...)` in processes of their own: the figures of `planner run`, ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.machine.processes import living_processes

ROOT = Path(__file__).parents[2]

_TRAINING = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 10)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(7):
    inputs = torch.randn(64, 1024, device="cuda")
    targets = torch.randint(0, 10, (64,), device="cuda")
    loss = nn.functional.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""
_REPORT = """
found = card.estimate.gpus[0]
print(json.dumps({
    "allocated": found.peak_allocated_bytes, "reserved": found.peak_reserved_bytes,
    "fits": found.fits, "batch": card.estimate.config.batch_size,
    "warnings": card.estimate.warnings, "steps": len(losses),
}))
"""


def _block(
    folder: Path,
    training: str,
    *,
    after: str = _REPORT,
    gpu: str = '"t4", steps=3',
    before: str = "",
) -> subprocess.CompletedProcess[str]:
    body = "".join(f"    {line}\n" for line in training.splitlines())
    text = (
        f"import json\nimport planner\n{before}\nlosses = []\n"
        f"with planner.emulated({gpu}) as card:\n{body}\n{after}"
    )
    (folder / "block.py").write_text(text)
    return subprocess.run(
        [sys.executable, "block.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _folder_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # it has ended, or belongs to another user
        return None


@pytest.mark.slow
def test_a_block_has_the_figures_of_the_same_script_and_ends_after_its_steps(
    tmp_path: Path,
) -> None:
    done = _block(tmp_path, _TRAINING)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 3
    assert found["batch"] == 64
    assert found["fits"]
    assert found["warnings"] == []
    (tmp_path / "train.py").write_text(f"losses = []\n{_TRAINING}")
    run = subprocess.run(
        [sys.executable, "-m", "planner", "run", "--gpu", "t4", "--no-max-batch", "--json", "--",
         sys.executable, "train.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600, check=True,
    )  # fmt: skip
    (card,) = json.loads(run.stdout)["gpus"]
    assert found["allocated"] == card["peak_allocated_bytes"]
    assert found["reserved"] == card["peak_reserved_bytes"]


@pytest.mark.slow
def test_a_block_that_trains_nothing_is_one_step_of_inference(tmp_path: Path) -> None:
    done = _block(
        tmp_path,
        "import torch\n"
        "model = torch.nn.Linear(1024, 4096).cuda()\n"
        "inputs = torch.ones(64, 1024).cuda()\n"
        "with torch.inference_mode():\n"
        "    outputs = [model(inputs) for _ in range(3)]\n",
        after="found, config = card.estimate.gpus[0], card.estimate.config\n"
        "print(json.dumps([found.peak_allocated_bytes, card.estimate.step.step_flops,\n"
        "    config.mode, config.steps, config.batch_size, card.estimate.warnings]))",
    )
    assert done.returncode == 0, done.stderr
    peak_bytes, flops, *others = json.loads(done.stdout)
    assert others == ["infer", 1, 64, []]
    assert flops == 3 * 2 * 64 * 1024 * 4096
    tensors_bytes = 4 * (1024 * 4096 + 4096 + 64 * 1024 + 3 * 64 * 4096)
    workspace_bytes = peak_bytes - tensors_bytes  # of cuBLAS, as it is for a T4
    assert workspace_bytes == 8519680


@pytest.mark.slow
def test_a_block_that_does_not_fit_is_a_result_and_swallows_no_step(tmp_path: Path) -> None:
    caught = "try:\n" + "".join(f"    {line}\n" for line in _TRAINING.splitlines())
    done = _block(
        tmp_path,
        f"{caught}except Exception:\n    print('caught')\n",
        gpu='"t4", steps=2, gpu_memory="256MiB"',
        after=_REPORT
        + "try:\n    optimizer.step()\nexcept BaseException as error:\n    print(error)\n",
    )
    assert done.returncode == 0, done.stderr
    report, later = done.stdout.splitlines()
    found = json.loads(report)
    assert not found["fits"]
    assert found["steps"] == 2
    assert "no real card" in later


@pytest.mark.slow
@pytest.mark.parametrize(
    ("training", "error"),
    [
        pytest.param("raise ValueError('from the block')", "from the block", id="raises"),
        pytest.param("pass", "ended before an optimizer made a step", id="no step"),
        pytest.param("import os\nos._exit(9)", "exit code 9", id="leaves"),
        pytest.param("while True: pass", "did not end within 15 s", id="hangs"),
    ],
)
def test_a_block_without_a_result_says_why_and_leaves_nothing(
    tmp_path: Path, training: str, error: str
) -> None:
    done = _block(tmp_path, training, gpu='"t4", timeout_s=15')
    assert done.returncode == 1
    assert error in done.stderr
    assert "PlannerError" in done.stderr or "planner.errors" in done.stderr
    assert not done.stdout
    assert not [one for one in living_processes() if _folder_of(one.pid) == tmp_path.resolve()]


@pytest.mark.parametrize(
    ("gpu", "before", "error"),
    [
        pytest.param('"t4"', "import sys; sys.modules['torch'] = sys", "fresh process", id="torch"),
        pytest.param('"t4,a100"', "", "one card", id="two cards"),
        pytest.param('"t4", steps=0', "", "must be 1 or more", id="no steps"),
        pytest.param('"t5"', "", "no card named", id="unknown"),
    ],
)
def test_a_block_that_cannot_begin_is_refused(
    tmp_path: Path, gpu: str, before: str, error: str
) -> None:
    done = _block(tmp_path, "print('never')", gpu=gpu, before=before)
    assert done.returncode == 1
    assert error in done.stderr
    assert not done.stdout
