"""vLLM's own start on the emulated card: with a stand-in of its name, and with vLLM itself.

The stand-in takes memory of the card through torch as an engine does, and prints what vLLM prints.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ui_server import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
STAND_IN = """
import json, os, sys, time
from pathlib import Path
import torch

def gib(size):
    return f"{size / 2**30:.2f} GiB"

class LLM:
    def __init__(self, *, model, load_format, skip_tokenizer_init, gpu_memory_utilization,
                 max_num_seqs, max_num_batched_tokens, max_model_len, **more):
        assert load_format == "dummy" and skip_tokenizer_init
        config = json.loads(Path(model, "config.json").read_text())
        free, total = torch.cuda.mem_get_info()
        how = os.environ.get("STAND_IN", "")
        Path(os.environ["STAND_IN_NOTES"]).write_text(json.dumps({
            "pid": os.getpid(), "card": torch.cuda.get_device_name(), "total": total,
            "free": free, "cache": os.environ["VLLM_CACHE_ROOT"], "more": more,
            "multiprocessing": os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"],
            "architectures": config["architectures"],
        }))
        if how == "hang":
            time.sleep(600)
        if how == "no toolkit":
            raise RuntimeError("Ninja build failed. Ninja output: no nvcc")
        width, vocabulary = config["hidden_size"], config["vocab_size"]
        weights = torch.empty(vocabulary * width, dtype=torch.bfloat16, device="cuda")
        if how == "too large":
            torch.empty(total, dtype=torch.uint8, device="cuda")
        print("INFO Model loading took", gib(torch.cuda.memory_allocated()), "memory and 1 seconds")
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step = torch.empty(max_num_batched_tokens * width, dtype=torch.float32, device="cuda")
        peak = torch.cuda.max_memory_allocated() - before
        del step
        budget = int(gpu_memory_utilization * total)
        left = budget - before - peak
        print("INFO Available KV cache memory:", gib(left))
        if left <= 0:
            raise ValueError("No available memory for the cache blocks.")
        print("INFO GPU KV cache size: 1,000 tokens")
        print(f"INFO Free memory on device ({free / 2**30:.2f}/{gib(total)}) on startup. "
              f"Desired GPU memory utilization is ({gpu_memory_utilization}, {gib(budget)}). "
              f"Actual usage is {gib(before)} for consumed memory (weights + non-torch), "
              f"{gib(peak)} for peak activation, and 0.0 GiB for CUDAGraph memory.")
"""
SMALL = "hf:HuggingFaceTB/SmolLM2-135M"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with the stand-in."""
    (tmp_path / "site" / "vllm").mkdir(parents=True)
    (tmp_path / "site" / "vllm" / "__init__.py").write_text(STAND_IN)
    metadata = tmp_path / "site" / "vllm-0.33.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.33.0\n")
    return tmp_path / "site"


def environment(site: Path, how: str) -> dict[str, str]:
    """That of a start which ends `how`, with the packages of the folder."""
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{site}",
        "STAND_IN": how,
        "STAND_IN_NOTES": str(site / "notes.json"),
    }


def served(site: Path, *words: str, how: str = "") -> tuple[subprocess.CompletedProcess[str], Any]:
    """The command, and what the stand-in has noted."""
    notes = site / "notes.json"
    done = subprocess.run(
        [sys.executable, "-m", "planner", "serving", *words, "--own-start"],
        capture_output=True,
        text=True,
        cwd=site.parent,
        env=environment(site, how),
        timeout=300,
    )
    return done, json.loads(notes.read_text()) if notes.exists() else None


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_figures_are_those_of_the_engine_on_the_card(site: Path) -> None:
    words = (SMALL, "--gpu", "l4", "--max-num-batched-tokens", "4096", "--utilization", "0.5")
    done, notes = served(site, *words, "--enforce-eager", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["is_own_start"]
    assert found["engine_version"] == "0.33.0"
    assert notes["card"] == "NVIDIA L4 (emulated)"
    assert notes["total"] == found["total_memory_bytes"]
    assert 0 < notes["total"] - notes["free"] < GIB  # the context
    assert notes["architectures"] == ["LlamaForCausalLM"]
    assert notes["multiprocessing"] == "0"
    assert notes["more"] == {"enforce_eager": True}
    parts = {part["part"]: part["bytes"] for part in found["parts"]}
    rounding = GIB // 100
    weights, step = 49_152 * 576 * 2, 4096 * 576 * 4
    assert abs(parts["weights"] - weights) < rounding
    assert abs(parts["activations"] - step) < rounding
    left = int(0.5 * notes["total"]) - weights - step
    assert abs(found["cache_bytes"] - left) < 2 * rounding
    low, high = found["cache_interval_bytes"]
    assert low < found["cache_bytes"] < high
    assert not Path(notes["cache"]).parent.exists()
    assert not is_alive(notes["pid"])


def test_a_start_without_room_for_a_cache_is_a_result(site: Path) -> None:
    done, _ = served(site, SMALL, "--gpu", "l4", "--utilization", "0.001")
    assert done.returncode == 3, done.stderr
    assert "too little before any cache" in done.stdout


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("too large", "out of the card's memory before it has any cache"),
        ("no toolkit", "set VLLM_USE_FLASHINFER_SAMPLER=0"),
    ],
)
def test_a_start_that_fails_is_an_error_with_its_cause(site: Path, how: str, words: str) -> None:
    done, notes = served(site, SMALL, "--gpu", "l4", how=how)
    assert done.returncode == 1
    assert words in done.stderr
    assert not is_alive(notes["pid"])


def test_a_start_that_hangs_is_ended_in_time(site: Path) -> None:
    began = time.monotonic()
    done, notes = served(site, SMALL, "--gpu", "l4", "--timeout", "25", how="hang")
    assert done.returncode == 1
    assert "took longer than 25 s" in done.stderr
    assert time.monotonic() - began < 200
    assert not is_alive(notes["pid"])
    assert not Path(notes["cache"]).parent.exists()


def test_nothing_is_left_of_a_start_when_planner_is_killed(site: Path) -> None:
    notes = site / "notes.json"
    planner = subprocess.Popen(
        [sys.executable, "-m", "planner", "serving", SMALL, "--gpu", "l4", "--own-start"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(site, "hang"),
    )
    try:
        wait_for(lambda: notes.exists() and notes.read_text().endswith("}"), 120)
        pid = json.loads(notes.read_text())["pid"]
    finally:
        planner.kill()
        planner.wait()
    wait_for(lambda: not is_alive(pid), 120)


def test_without_vllm_it_says_what_to_do(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed")
    done, _ = served(tmp_path, SMALL, "--gpu", "l4")
    assert done.returncode == 2
    assert "pip install vllm" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="install vllm to run this")
def test_vllm_itself_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", "0")
    words = (SMALL, "--gpu", "l4", "--max-model-len", "2048", "--max-num-seqs", "64", "--json")
    done, _ = served(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    parts = {part["part"]: part["bytes"] for part in found["parts"]}
    assert abs(parts["weights"] - 134_515_008 * 2) < 0.02 * GIB
    note = next(one for one in found["notes"] if "vllm itself says" in one)
    tokens = int(note.partition(" tokens")[0].rpartition(" ")[2].replace(",", ""))
    # A cache of GiB with two digits: 0.005 GiB are 233 tokens of 30 layers.
    assert abs(found["cache_tokens"] - tokens) <= 256
