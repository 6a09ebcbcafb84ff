"""The rules of each engine: hand arithmetic of budgets, defaults by version and card, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.served_shapes import catalog_shapes
from planner.config.serving import EngineName, ServingConfig
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import PartKind
from planner.memory.serving.engines import ENGINES, engine_memory
from planner.memory.serving.vllm_rules import VllmRules, graph_sizes, vllm_settings
from planner.memory.serving.vllm_terms import FittedTerms, fitted_terms, forward_bytes
from planner.units import GIB, MIB

CARD = ServingCard(
    name="made", total_bytes=40 * GIB, context_bytes=GIB // 2, nvlink_bytes_per_s=0.0
)
H100 = ServingCard(
    name="NVIDIA H100 80GB HBM3", total_bytes=79 * GIB, context_bytes=GIB // 2,
    nvlink_bytes_per_s=900e9,
)  # fmt: skip


def model(name: str = "meta-llama/Llama-3.1-8B") -> ServedModel:
    shapes = catalog_shapes(name)
    assert shapes is not None
    return served_model(shapes)


def config(engine: EngineName = EngineName.VLLM, **changed: object) -> ServingConfig:
    return replace(ServingConfig(engine=engine), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "utilization", "counts", "kernel"),
    [((0, 10, 2), 0.90, False, False), ((0, 17, 1), 0.90, False, True),
     ((0, 19, 1), 0.90, False, True), ((0, 20, 0), 0.92, True, True),
     ((0, 33, 0), 0.92, True, True)],
)  # fmt: skip
def test_defaults_by_version(
    version: tuple[int, ...], utilization: float, counts: bool, kernel: bool
) -> None:
    rules = VllmRules(version=version)
    assert (rules.utilization, rules.counts_graphs) == (utilization, counts)
    assert rules.has_sampling_kernel is kernel


@pytest.mark.parametrize(
    ("version", "gib", "card", "tokens", "sequences"),
    [
        ((0, 33), 79, "NVIDIA H100", 8192, 1024),
        ((0, 33), 79, "NVIDIA A100-SXM4-80GB", 2048, 256),
        ((0, 8, 5), 79, "NVIDIA A100-SXM4-80GB", 8192, 1024),
        ((0, 33), 44, "NVIDIA L40S", 2048, 256),
        ((0, 33), 178, "NVIDIA B200", 16384, 1024),
        ((0, 16), 178, "NVIDIA B200", 8192, 1024),
    ],
)
def test_steps_by_card(
    version: tuple[int, ...], gib: int, card: str, tokens: int, sequences: int
) -> None:
    found = vllm_settings(config(version=version), total_bytes=gib * GIB, card=card, longest=131072)
    assert (found.step_tokens, found.sequences) == (tokens, sequences)


def test_a_short_longest_request_makes_the_step_smaller() -> None:
    given = config(max_model_len=16, max_num_seqs=8)
    found = vllm_settings(given, total_bytes=79 * GIB, card="H100", longest=131072)
    assert (found.step_tokens, found.sequences) == (128, 8)
    assert found.graph_sizes == (1, 2, 4, 8, 16)


def test_graphs_of_usual_starts() -> None:
    assert len(graph_sizes(1024, 8192)) == len(graph_sizes(256, 2048)) == 51
    assert sum(size <= 256 for size in graph_sizes(256, 2048)) == 35


def test_vllm_divides_its_budget() -> None:
    memory, words = engine_memory(model(), config(), CARD)
    assert words == "weights in 16 bits"
    assert memory.budget_bytes == int(0.92 * 40 * GIB)
    taken = sum(part.size_bytes for part in memory.parts)
    assert memory.cache.middle == memory.budget_bytes - taken
    assert memory.cache.low < memory.cache.middle < memory.cache.high
    before, _ = engine_memory(model(), config(version=(0, 19, 1)), CARD)
    graphs = before.parts[-1]
    assert graphs.kind is PartKind.GRAPHS
    assert not graphs.is_budgeted


def test_a_version_that_is_not_known_has_the_newest_rules_and_says_so() -> None:
    newer, _ = engine_memory(model(), config(version=(9, 9)), CARD)
    newest, _ = engine_memory(model(), config(), CARD)
    assert newer.cache == newest.cache
    assert newer.notes[0] == "rules: those of 0.33.0, the newest that is known"
    assert engine_memory(model(), config(version=(0, 7)), CARD)[0].notes[0].startswith("engine V0")


def test_no_graphs_without_capturing() -> None:
    eager, _ = engine_memory(model(), config(enforce_eager=True), CARD)
    assert eager.parts[-1].size_bytes == 0
    assert eager.cache.middle > engine_memory(model(), config(), CARD)[0].cache.middle


def test_prefixes_cost_a_second_state() -> None:
    hybrid = model("Qwen/Qwen3.5-27B")
    kept, _ = engine_memory(hybrid, config(prefix_caching=True), H100)
    left, _ = engine_memory(hybrid, config(prefix_caching=False), H100)
    usual, _ = engine_memory(hybrid, config(), H100)
    assert kept.pool.request_bytes(1) > left.pool.request_bytes(1)
    assert usual.pool.request_bytes(1) == kept.pool.request_bytes(1)  # since 0.26


def test_a_card_without_bfloat16_gets_float16() -> None:
    t4 = replace(CARD, compute_capability=(7, 5))
    memory, _ = engine_memory(model(), config(), t4)
    assert ("dtype", "half") in [(one.name, one.value) for one in memory.settings]
    with pytest.raises(UsageError, match=r"mxfp4 .* from compute capability 8.0 on"):
        engine_memory(model("openai/gpt-oss-20b"), config(quant="mxfp4"), t4)


@given(sum_bytes=st.integers(0, 200 * GIB))
def test_bounds_are_around_every_sum(sum_bytes: int) -> None:
    low, high = fitted_terms().bounds(sum_bytes)
    assert 0 <= low <= sum_bytes <= high


def test_bounds_leave_a_twentieth_out_where_there_are_many_ratios() -> None:
    ratios = tuple(1 + number / 100 for number in range(-20, 20))
    terms = FittedTerms(
        constants=fitted_terms().constants, ratios=ratios, starts=40, sources=40, inside=36
    )
    assert terms.bounds(GIB) == (round(0.81 * 2 * GIB) - GIB, round(1.18 * 2 * GIB) - GIB)


def test_sglang_takes_a_share_of_free_memory() -> None:
    memory, _ = engine_memory(model(), config(EngineName.SGLANG), CARD)
    reserve = 512 + 1.5 * 4096 + 1024 / 8 + 2 * 32  # 40 GiB: chunks of 4096, batches up to 32
    fraction = round(1 - reserve * MIB / (40 * GIB), 3)
    free = 40 * GIB - GIB // 2
    assert memory.budget_bytes == int(fraction * free)
    assert memory.cache.middle == memory.budget_bytes - memory.parts[0].size_bytes
    large = replace(H100, total_bytes=61 * GIB)  # the reserve is under 10 GiB without graphs
    eager = config(EngineName.SGLANG, enforce_eager=True, max_num_batched_tokens=2048)
    found, _ = engine_memory(model(), eager, large)
    assert found.settings[0].value == f"{round(1 - 10 / 61, 3)}"
    assert memory.basis is None


def test_sglang_keeps_four_fifths_of_all_tokens_in_windows() -> None:
    found, _ = engine_memory(model("google/gemma-3-1b-it"), config(EngineName.SGLANG), CARD)
    token = 2 * 256 * 2
    assert found.pool.request_bytes(1000) == token * (4 * 1000 + 22 * 800)


def test_tensorrt_llm_takes_a_share_of_what_is_left() -> None:
    memory, _ = engine_memory(model(), config(EngineName.TRTLLM), CARD)
    weights, context, peak = (part.size_bytes for part in memory.parts)
    assert memory.budget_bytes == int(0.9 * (40 * GIB - weights - context - peak))
    factor = fitted_terms().constants.forward_factor
    assert peak == round(factor * forward_bytes(model(), 8192, 1))
    assert memory.pool.request_bytes(33) == 64 * 32 * 2 * 8 * 128 * 2  # blocks of 32 tokens


def test_llamacpp_allocates_the_context_of_all_slots() -> None:
    asked = config(EngineName.LLAMACPP, quant="gguf:Q4_K_M", max_model_len=8192, max_num_seqs=4)
    memory, words = engine_memory(model(), asked, CARD)
    assert words == "GGUF Q4_K_M"
    assert memory.pool.request_bytes(8192) == 8192 * 32 * 2 * 8 * 128 * 2
    assert memory.settings[0].value == str(4 * 8192)
    eighth = replace(asked, kv_dtype="q8_0")
    assert engine_memory(model(), eighth, CARD)[0].pool.request_bytes(8192) == pytest.approx(
        8192 * 32 * 2 * 8 * 128 * 8.5 / 8, rel=1e-3
    )


def test_transformers_holds_the_peak_of_the_prompt() -> None:
    memory, _ = engine_memory(model(), config(EngineName.TRANSFORMERS), CARD)
    cache = 1000 * 32 * 2 * 8 * 128 * 2
    peak = round(fitted_terms().constants.forward_factor * forward_bytes(model(), 1000, 1))
    assert memory.pool.request_bytes(1000) == cache + peak


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (config(quant="gguf:Q4_K_M"), "vllm does not know quant .*; llamacpp knows it"),
        (config(quant="exl3"), "no engine here does"),
        (config(EngineName.TRTLLM, quant="gptq"), "vllm and sglang and transformers know it"),
        (config(EngineName.LLAMACPP, quant="awq"), "it takes GGUF files"),
        (config(quant="mxfp4"), "the model has none"),
        (config(quant="nf4"), "a version before 0.28"),
        (config(kv_dtype="q8_0"), "vllm has no dtype of the cache 'q8_0'"),
        (config(max_model_len=200_000), "end at 131072; write at most that"),
        (config(tensor_parallel=3), "does not divide the heads"),
        (config(EngineName.LLAMACPP, tensor_parallel=2), "divides layers over cards"),
        (config(EngineName.LLAMACPP, utilization=0.9), "has no share of memory"),
        (config(EngineName.TRANSFORMERS, tensor_parallel=2), "answered for one card"),
        (config(EngineName.TRANSFORMERS, utilization=0.9), "has no share of memory"),
    ],
)
def test_what_an_engine_does_not_take_is_an_error(asked: ServingConfig, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        engine_memory(model(), asked, CARD)


@pytest.mark.parametrize("engine", [EngineName.SGLANG, EngineName.TRTLLM])
def test_states_are_not_answered_for_every_engine(engine: EngineName) -> None:
    with pytest.raises(UsageError, match="name --engine vllm"):
        engine_memory(model("Qwen/Qwen3.5-27B"), config(engine), H100)


@pytest.mark.parametrize("engine", list(EngineName))
def test_more_memory_never_holds_less(engine: EngineName) -> None:
    assert engine in ENGINES
    quant = "gguf:Q8_0" if engine is EngineName.LLAMACPP else None
    asked = config(engine, quant=quant, max_model_len=4096)
    small, _ = engine_memory(model(), asked, CARD)
    large, _ = engine_memory(model(), asked, replace(CARD, total_bytes=45 * GIB))
    assert large.cache.middle > small.cache.middle
    assert large.pool.tokens(large.cache.middle, 4096) >= small.pool.tokens(
        small.cache.middle, 4096
    )
