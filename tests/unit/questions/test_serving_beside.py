"""serving() with something else on the card: the share that is left, and what it holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import DocumentError, UsageError
from planner.questions.serving import serving
from planner.results.estimate import Estimate
from planner.results.serving import BootVerdict
from planner.units import GIB

QWEN = "hf:Qwen/Qwen3-4B"


def test_vllm_gets_the_share_that_is_left() -> None:
    alone = serving(QWEN, gpu="l40s", max_model_len=4096)
    found = serving(QWEN, gpu="l40s", max_model_len=4096, beside="20GiB")
    share = next(one for one in found.settings if one.name == "gpu-memory-utilization")
    left = found.total_bytes - 20 * GIB
    assert float(share.value) * found.total_bytes <= left
    assert (float(share.value) + 0.02) * found.total_bytes > left - GIB
    assert found.verdict is BootVerdict.STARTS
    assert found.cache.middle < alone.cache.middle
    assert "--gpu-memory-utilization" in found.command
    assert found.beside_bytes == 20 * GIB


def test_a_share_that_is_given_has_to_be_free() -> None:
    fits = serving(QWEN, gpu="l40s", max_model_len=4096, beside="20GiB", utilization=0.5)
    assert fits.verdict is BootVerdict.STARTS
    fails = serving(QWEN, gpu="l40s", max_model_len=4096, beside="20GiB", utilization=0.6)
    assert fails.verdict is BootVerdict.FAILS
    assert any("free beside the rest" in one for one in fails.warnings)


def test_a_larger_step_leaves_fewer_sequences() -> None:
    held = [
        serving(QWEN, gpu="l40s", beside=f"{size}GiB", users=64, prompt=512, output=512)
        for size in (0.5, 10, 20, 30)
    ]
    requests = [one.middle.requests for one in held]
    assert requests == sorted(requests, reverse=True)
    assert [one.fits for one in held] == [True, True, True, False]


def test_other_engines_find_less_free() -> None:
    for engine in ("sglang", "trtllm", "llamacpp", "transformers"):
        alone = serving(QWEN, gpu="l40s", engine=engine, max_model_len=4096)
        beside = serving(QWEN, gpu="l40s", engine=engine, max_model_len=4096, beside="10GiB")
        lost = alone.cache.middle - beside.cache.middle
        assert 8 * GIB < lost <= 10 * GIB, engine


def test_a_saved_step_is_what_else_is_on_the_card(estimate: Estimate, tmp_path: Path) -> None:
    file = tmp_path / "step.planner"
    entry = estimate.gpus[0]
    estimate.save(file)
    assert entry.id is not None
    found = serving("Qwen/Qwen3-0.6B", gpu=entry.id, beside=str(file), max_model_len=1024)
    interval = entry.device_total_interval_bytes
    total = entry.device_total_bytes if interval is None else interval[1]
    assert found.beside_bytes == total - entry.context_overhead_bytes
    assert any(one.startswith("beside the engine") for one in found.assumptions)
    other = "h100" if not entry.id.startswith("h100") else "a100"
    with pytest.raises(UsageError, match="name the same card"):
        serving("Qwen/Qwen3-0.6B", gpu=other, beside=str(file))


def test_the_high_end_of_an_interval_counts(estimate: Estimate, tmp_path: Path) -> None:
    entry = estimate.gpus[0]
    high = entry.device_total_bytes + 512 * 1024**2
    wide = replace(entry, device_total_interval_bytes=(entry.device_total_bytes, high))
    file = tmp_path / "wide.planner"
    replace(estimate, gpus=(wide,)).save(file)
    found = serving("Qwen/Qwen3-0.6B", gpu=str(entry.id), beside=str(file), max_model_len=1024)
    assert found.beside_bytes == high - entry.context_overhead_bytes


@pytest.mark.parametrize(
    ("beside", "error", "said"),
    [
        ("20", UsageError, "no unit"),
        ("much", UsageError, "beside"),
        ("step.planner", DocumentError, "no such file"),
        ("47GiB", UsageError, "nothing is left"),
    ],
)
def test_what_is_no_memory(beside: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        serving(QWEN, gpu="l40s", beside=beside)
