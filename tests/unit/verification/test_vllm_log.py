"""Lines of vLLM's start as people published them."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.units import GIB
from planner.verification.oom_message import plain
from planner.verification.vllm_log import VllmBoot, vllm_boot

MESSAGES = Path(__file__).with_name("messages")


def boot(text: str) -> VllmBoot:
    found = vllm_boot(plain(text))
    assert found is not None
    return found


def of(name: str) -> VllmBoot:
    return boot((MESSAGES / f"{name}.txt").read_text())


def gib(number: float) -> int:
    return round(number * GIB)


def test_the_first_engine() -> None:
    found = of("vllm-v0")
    assert (found.total_bytes, found.utilization) == (gib(23.58), 0.99)
    assert (found.weights_bytes, found.outside_bytes) == (gib(21.21), gib(0.20))
    assert (found.activation_bytes, found.kv_cache_bytes) == (gib(0.37), gib(1.57))
    assert not found.has_failed
    assert found.graphs_bytes is None


def test_the_second_engine() -> None:
    found = of("vllm-v1")
    assert (found.kv_cache_bytes, found.kv_cache_tokens) == (gib(8.11), 178_880)
    assert found.weights_bytes is None


def test_an_engine_that_says_what_is_consumed() -> None:
    # What vLLM 0.33.0 prints: graphs are captured twice, and the peak has the estimate of them.
    found = boot(
        """
INFO Model loading took 15.0 GiB memory and 10.81 seconds
INFO Graph capturing finished in 4 secs, took 0.25 GiB
INFO Available KV cache memory: 55.97 GiB
INFO GPU KV cache size: 458,496 tokens, Maximum concurrency for 131,072 tokens per request: 3.50x
INFO Graph capturing finished in 4 secs, took 0.26 GiB
INFO CUDA graph pool memory: 0.26 GiB (actual), 0.54 GiB (estimated), difference: 0.28 GiB (107.6%).
INFO Free memory on device (79.06/79.09 GiB) on startup. Desired GPU memory utilization is
(0.92, 72.76 GiB). Actual usage is 15.15 GiB for consumed memory (weights + non-torch), 1.64 GiB for
peak activation, and 0.26 GiB for CUDAGraph memory.
""".replace("is\n(", "is (").replace("for\npeak", "for peak")
    )
    assert (found.total_bytes, found.utilization) == (gib(79.09), 0.92)
    assert found.weights_bytes == gib(15)
    assert found.outside_bytes == gib(15.15) - gib(15)
    assert found.activation_bytes == gib(1.64)
    assert (found.graphs_bytes, found.graphs_estimate_bytes) == (gib(0.25), gib(0.54))
    assert (found.kv_cache_bytes, found.kv_cache_tokens) == (gib(55.97), 458_496)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("Model loading took 12.66 GiB memory and 31.657031 seconds", "weights_bytes", 12.66),
        ("Model loading took 7.64 GiB and 32.969258 seconds", "weights_bytes", 7.64),
        ("Loading model weights took 7.9692 GB", "weights_bytes", 7.9692),
        ("Graph capturing finished in 22 secs, took 0.51 GiB", "graphs_bytes", 0.51),
        ("Graph capturing finished in 22 secs, took -0.51 GiB", "graphs_bytes", -0.51),
        ("Estimated CUDA graph memory: 0.73 GiB total", "graphs_bytes", 0.73),
        ("Available KV cache memory: -1.20 GiB", "kv_cache_bytes", -1.20),
    ],
)
def test_other_wordings(text: str, name: str, expected: float) -> None:
    assert getattr(boot(f"INFO {text} x"), name) == gib(expected)


def test_a_summary_on_one_line() -> None:
    found = boot(
        "INFO [gpu_worker.py:331] Free memory on device (78.32/79.15 GiB) on startup. Desired GPU "
        "memory utilization is (0.9, 71.23 GiB). Actual usage is 14.99 GiB for weight, 1.20 GiB "
        "for peak activation, 0.11 GiB for non-torch memory, and 0.53 GiB for CUDAGraph memory."
    )
    assert (found.total_bytes, found.utilization) == (gib(79.15), 0.9)
    assert (found.weights_bytes, found.activation_bytes) == (gib(14.99), gib(1.20))
    assert (found.outside_bytes, found.graphs_bytes) == (gib(0.11), gib(0.53))


def test_a_cache_that_is_too_small() -> None:
    found = of("vllm-too-long")
    assert found.has_failed
    assert (found.kv_cache_needed_bytes, found.kv_cache_bytes) == (gib(24), gib(3.18))
    assert (found.longest_sequence, found.fitting_sequence) == (262_144, 34_736)
    older = of("vllm-too-long-old")
    assert (older.has_failed, older.longest_sequence, older.kv_cache_tokens) == (True, 32_768, 7344)


@pytest.mark.parametrize("text", ["", "INFO max_model_len=4096", "CUDA out of memory."])
def test_other_texts_are_no_log_of_it(text: str) -> None:
    assert vllm_boot(text) is None
