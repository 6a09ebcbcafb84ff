"""A start of vLLM by vLLM itself: its figures in the plan, its arguments, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from planner.config.serving import EngineName, Runner, ServingConfig
from planner.errors import ModelError, UsageError
from planner.estimation import serving_own_start
from planner.estimation.served_shapes import found_shapes
from planner.estimation.serving_own_start import (
    arguments,
    own_version,
    with_boot,
    with_own_start,
)
from planner.estimation.serving_start import serving_card
from planner.memory.budget import memory_budgets
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.engine import EngineMemory, PartKind
from planner.memory.serving.engines import engine_memory
from planner.process.engine_start import StartLog
from planner.units import GIB
from planner.verification.vllm_log import VllmBoot

LLAMA = "hf:meta-llama/Llama-3.1-8B"
HUNDREDTH = GIB // 100


def gib(number: float) -> int:
    return round(number * GIB)


def llama() -> ServedModel:
    return served_model(found_shapes(LLAMA, 10, lambda _: None).shapes)


def memory_of(gpu: str = "h100", **settings: Any) -> EngineMemory:
    (budget,) = memory_budgets([gpu], hardware_db=None, gpu_memory=None, reserve=0)
    card = serving_card(budget.spec, budget.usable_memory_bytes)
    return engine_memory(llama(), ServingConfig(**settings), card)[0]


def a_boot(**changed: Any) -> VllmBoot:
    made = VllmBoot(
        total_bytes=gib(79.09),
        utilization=0.92,
        weights_bytes=gib(15.0),
        activation_bytes=gib(1.64),
        outside_bytes=gib(0.15),
        graphs_bytes=gib(0.26),
        graphs_estimate_bytes=gib(0.54),
        kv_cache_bytes=gib(55.97),
        kv_cache_needed_bytes=None,
        kv_cache_tokens=458_496,
        kv_cache_blocks=None,
        longest_sequence=131_072,
        fitting_sequence=None,
        has_failed=False,
    )
    return replace(made, **changed)


def parts_of(memory: EngineMemory) -> dict[PartKind, int]:
    return {part.kind: part.size_bytes for part in memory.parts}


def test_the_parts_and_the_cache_are_those_of_the_log() -> None:
    fitted = memory_of()
    found = with_boot(fitted, a_boot())
    parts = parts_of(found)
    assert parts[PartKind.WEIGHTS] == gib(15.0)
    assert parts[PartKind.GRAPHS] == gib(0.54)
    assert parts[PartKind.ACTIVATIONS] == gib(1.64) - gib(0.54)
    assert abs(parts[PartKind.OUTSIDE] - gib(0.15)) < 2 * HUNDREDTH  # the log is rounded
    assert sum(parts.values()) + found.cache.middle == found.budget_bytes
    assert found.cache.low < found.cache.middle == gib(55.97) < found.cache.high
    assert found.is_own_start
    assert not fitted.is_own_start
    assert any("458,496 tokens" in note for note in found.notes)


def test_the_pool_of_that_cache_has_the_tokens_that_vllm_says() -> None:
    found = with_boot(memory_of(), a_boot())
    tokens = found.pool.tokens(found.cache.middle, found.max_model_len)
    assert tokens == pytest.approx(458_496, rel=2e-4)  # 0.01 GiB are 82 tokens


def test_graphs_that_no_estimate_holds_are_on_top() -> None:
    found = with_boot(memory_of(), a_boot(graphs_estimate_bytes=None, activation_bytes=gib(1.1)))
    (graphs,) = (part for part in found.parts if part.kind is PartKind.GRAPHS)
    assert graphs.size_bytes == gib(0.26)
    assert not graphs.is_budgeted


def test_adapters_are_told_from_the_weights_that_hold_them() -> None:
    plain = memory_of()
    fitted = memory_of(lora_rank=16)
    found = parts_of(with_boot(fitted, a_boot()))
    adapters = parts_of(fitted)[PartKind.ADAPTERS]
    assert PartKind.ADAPTERS not in parts_of(plain)
    assert found[PartKind.ADAPTERS] == adapters
    assert found[PartKind.WEIGHTS] == gib(15.0) - adapters


def test_vllm_gets_the_defaults_of_its_server() -> None:
    config = ServingConfig()
    found = arguments(memory_of(), config, "{}")
    assert found == {
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "max_model_len": 131_072,
        "gpu_memory_utilization": 0.92,
        "enforce_eager": False,
        "max_num_seqs": 1024,
        "max_num_batched_tokens": 8192,
    }


def test_vllm_gets_what_was_given() -> None:
    config = ServingConfig(
        kv_dtype="fp8", prefix_caching=False, lora_rank=8, lora_max=2, quant="fp8",
        enforce_eager=True, max_num_seqs=64, utilization=0.5,
    )  # fmt: skip
    found = arguments(
        memory_of("l40s", max_num_seqs=64, utilization=0.5, lora_rank=8), config, "{}"
    )
    assert found["kv_cache_dtype"] == "fp8"
    assert found["enable_prefix_caching"] is False
    assert (found["enable_lora"], found["max_loras"], found["max_lora_rank"]) == (True, 2, 8)
    assert (found["quantization"], found["enforce_eager"]) == ("fp8", True)
    assert (found["max_num_seqs"], found["gpu_memory_utilization"]) == (64, 0.5)


def test_a_card_without_bfloat16_has_its_dtype() -> None:
    assert arguments(memory_of("t4"), ServingConfig(), "{}")["dtype"] == "half"


def test_a_format_that_vllm_does_not_make_needs_a_config_that_has_it() -> None:
    with pytest.raises(UsageError, match="whose config has it"):
        arguments(memory_of(), ServingConfig(quant="awq"), "{}")
    quantised = json.dumps({"quantization_config": {"quant_method": "awq", "bits": 4}})
    assert "quantization" not in arguments(memory_of(), ServingConfig(quant="awq"), quantised)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": EngineName.SGLANG}, "sglang is another engine"),
        ({"tensor_parallel": 2}, "on one card, not on 2"),
        ({"speculative_tokens": 3}, "without --speculative-tokens"),
        ({"runner": Runner.POOLING}, "models that give vectors"),
    ],
)
def test_what_needs_more_than_a_config_and_a_card_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        own_version(ServingConfig(**settings), llama())


def test_the_version_is_that_which_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_own_start, "installed_vllm", lambda: "0.33.0rc1")
    assert own_version(ServingConfig(), llama()) == (0, 33, 0)
    assert own_version(ServingConfig(version=(0, 33)), llama()) == (0, 33, 0)
    with pytest.raises(UsageError, match=r"0\.20.*is not the vllm that is installed, 0\.33\.0rc1"):
        own_version(ServingConfig(version=(0, 20)), llama())
    monkeypatch.setattr(serving_own_start, "installed_vllm", lambda: None)
    with pytest.raises(UsageError, match="pip install vllm"):
        own_version(ServingConfig(), llama())


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: x", "out of the"),
        ("RuntimeError: Ninja build failed.", "RuntimeError: x", "VLLM_USE_FLASHINFER_SAMPLER=0"),
        ("AssertionError: Failed to get checksums.txt", "AssertionError: x", "flashinfer-cubin"),
        ("", "ValueError: no such architecture", "ValueError: no such architecture"),
        ("", "", "printed nothing"),
    ],
)
def test_a_start_that_fails_says_why(
    text: str, error: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(start: Any, *, timeout_s: float) -> StartLog:
        asked.append(start)
        return StartLog(text=text, error=error)

    monkeypatch.setattr(serving_own_start, "started", answer)
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve=0)
    with pytest.raises(ModelError, match=words):
        with_own_start(
            memory_of("t4"), ServingConfig(), config_json="{}", budget=budget, timeout_s=1,
            progress=lambda _: None,
        )  # fmt: skip
    assert len(asked) == 1
