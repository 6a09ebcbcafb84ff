"""`planner run` as a whole command: the figures of estimate, and no trace of the script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner.emulator.build import emulated_device
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import find_torch
from planner.machine.processes import living_processes
from planner.memory.budget import memory_budgets
from planner.process.script.watched_command import run_command, was_refused
from planner.process.script.words import script_command
from planner.wire.script import ScriptEnd, ScriptOrder
from planner.wire.trace import RunOutcome
from planner.wire.warden import ShieldKind

ROOT = Path(__file__).parents[2]

_MODEL = """
import torch
from torch import nn
from torch.nn import functional

class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        b, t, w = x.shape
        parts = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.qkv(self.norm1(x)).split(w, 2))
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, w))
        return x + self.mlp(self.norm2(x))

class GPT(nn.Module):
    def __init__(self, vocabulary=1024, tokens=256, width=128, heads=4, depth=3):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids, targets):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.h:
            x = block(x)
        logits = self.head(x)
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
"""  # noqa: E501 # as its users write it
_TRAIN = """
import sys, torch
from model import GPT

model = GPT().to("cuda")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
for step in range(100):
    ids, targets = (torch.randint(1024, (8, 256)).to("cuda") for _ in range(2))
    with torch.amp.autocast("cuda", dtype=torch.bfloat16):
        logits, loss = model(ids, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print(step, loss.item())
"""
_PLANNED = """
import torch
from model import GPT

kept = {}

def build_model():
    return GPT()

def build_batch(batch_size):
    return tuple(torch.randint(1024, (batch_size, 256)) for _ in range(2))

def build_optimizer(parameters):
    return torch.optim.AdamW(parameters, lr=1e-3, fused=True)

def training_step(model, batch):
    kept["logits"], loss = model(*batch)
    return loss
"""
_HARMFUL = """
import atexit, os, subprocess, sys, torch
from torch import nn

subprocess.Popen(["sleep", "1000"], start_new_session=True)
os.remove("data.txt")
open("log.txt", "a").write("a line")
atexit.register(lambda: open("atexit.txt", "w").write("x"))
model = nn.Linear(64, 64).cuda()
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for step in range(50):
    try:
        model(torch.ones(8, 64, device="cuda")).sum().backward()
        optimizer.step()
        torch.save(model.state_dict(), "model.pt")
        assert os.path.getsize("model.pt") > 64 * 64 * 4
    except:
        print("caught")
    finally:
        open("finally.txt", "a").write("x")
"""


def _planner(folder: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VRAM_PLANNER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*.*")}


@pytest.mark.slow
def test_a_loop_has_the_figures_of_the_same_planned_step(
    tmp_path: Path, device_cache: Path
) -> None:
    for name, text in {"model": _MODEL, "train": _TRAIN, "planned": _PLANNED}.items():
        (tmp_path / f"{name}.py").write_text(text)
    common = ("--gpu", "h100", "--no-max-batch", "--json")
    run = _planner(tmp_path, device_cache, "run", *common, "--", sys.executable, "train.py")
    assert run.returncode == 0, run.stderr
    step = ("--precision", "amp-bf16", "--clip-grad-norm", "1.0")
    planned = _planner(tmp_path, device_cache, "estimate", "planned.py", *common, *step)
    assert planned.returncode == 0, planned.stderr
    one, two = json.loads(run.stdout), json.loads(planned.stdout)
    (seen,), (expected,) = one["gpus"], two["gpus"]
    for figure in ("peak_allocated_bytes", "peak_reserved_bytes"):
        assert seen[figure] == pytest.approx(expected[figure], rel=1e-3)
    assert seen["breakdown_bytes"]["parameter"] == expected["breakdown_bytes"]["parameter"]
    assert seen["time"]["step_s"] == pytest.approx(expected["time"]["step_s"], rel=0.02)
    assert one["counts"]["parameters"] == two["counts"]["parameters"]
    assert one["counts"]["step_flops"] == two["counts"]["step_flops"]
    same = ("batch_size", "precision", "optimizer", "accumulate", "steps")
    assert [one["config"][key] for key in same] == [two["config"][key] for key in same]
    assert one["target"].endswith("train.py")
    assert one["values"]["parted"] == []
    assert "emulated" in run.stderr.splitlines()[0]
    assert "emulated" in run.stderr.splitlines()[-1]


@pytest.mark.slow
def test_nothing_is_left_of_a_script_that_catches_everything(
    tmp_path: Path, device_cache: Path
) -> None:
    (tmp_path / "train.py").write_text(_HARMFUL)
    (tmp_path / "data.txt").write_text("precious")
    (tmp_path / "model.pt").write_text("the real checkpoint")
    before, running = _contents(tmp_path), {one.pid for one in living_processes()}
    command = ("--", sys.executable, "train.py")
    done = _planner(tmp_path, device_cache, "run", "--gpu", "t4", "--no-max-batch", *command)
    if "keeps what the script writes from the disk" in done.stderr:
        pytest.skip("neither namespaces nor Landlock here")
    assert _contents(tmp_path) == before
    if "this machine allows no namespaces" not in done.stdout:
        assert done.returncode == 0, done.stderr
        assert "the script was ended where optimizer step 4 began" in done.stdout
        assert "caught" not in done.stderr
    time.sleep(0.2)
    left = [one.pid for one in living_processes() if one.pid not in running]
    names = [Path(f"/proc/{pid}/cmdline") for pid in left]
    assert not [one for one in names if one.exists() and b"sleep\x001000" in one.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("shield", [ShieldKind.LANDLOCK, ShieldKind.NOTHING])
def test_without_namespaces_writes_fail_or_the_command_is_refused(
    tmp_path: Path, device_cache: Path, monkeypatch: pytest.MonkeyPatch, shield: ShieldKind
) -> None:
    monkeypatch.setenv("VRAM_PLANNER_CACHE", str(device_cache))
    (tmp_path / "train.py").write_text(
        "import torch\nopen('log.txt', 'w').write('x')\n"  # before any use of the card
    )
    torch, device = find_torch(), emulated_device(find_torch())
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve=0)
    order = ScriptOrder(
        libraries=tuple(str(path) for path in device.libraries),
        driver_folder=str(device.driver_folder),
        profile=device_profile(
            budget.card,
            torch=torch,
            device=device,
            total_memory_bytes=budget.usable_memory_bytes,
            capacity_bytes=UNLIMITED_BYTES,
        ),
        folder="",
        steps=3,
    )
    command = script_command([sys.executable, "train.py"], tmp_path)
    result = run_command(command, order, working=tmp_path, timeout_s=200.0, shields=[shield])
    assert [one.name for one in tmp_path.glob("*.txt")] == []
    if was_refused(result):
        assert result.reports == ()
        return
    assert shield is ShieldKind.LANDLOCK
    (report,) = result.reports
    assert (report.end, report.answer.trace.outcome) == (
        ScriptEnd.EXCEPTION,
        RunOutcome.MODEL_ERROR,
    )
    assert report.answer.trace.failure is not None
    assert report.answer.trace.failure.kind == "PermissionError"
