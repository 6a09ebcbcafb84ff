"""Slots of LoRA adapters and separate draft models, by hand."""

from __future__ import annotations

import json
import shlex

import pytest

from planner.catalog.served_shapes import catalog_shapes
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.adapters import adapter_bytes
from planner.memory.serving.engine import PartKind
from planner.questions.serving import serving
from planner.results.serving import ServingPlan

LLAMA = "hf:meta-llama/Llama-3.1-8B"


def model_of(name: str) -> ServedModel:
    shapes = catalog_shapes(name)
    assert shapes is not None
    return served_model(shapes)


def part(plan: ServingPlan, kind: PartKind) -> int:
    return sum(one.size_bytes for one in plan.parts if one.kind is kind)


def test_two_matrices_at_each_product_of_a_llama() -> None:
    hidden, wide, key = 4096, 14336, 1024
    layer = (
        2 * (hidden + hidden)  # query, output
        + 2 * (hidden + key)  # key, value
        + 3 * (hidden + wide)  # both halves of the wide part, and out of it
    )
    sides = 32 * layer + 2 * (128256 + hidden)  # the embedding and the output layer
    found = adapter_bytes(model_of("meta-llama/Llama-3.1-8B"), 1, rank=16, slots=4)
    assert found == 2 * 4 * 16 * sides


def test_ranks_divide_the_wide_side_alone() -> None:
    """With 2 ranks: (rank, in) whole and (out / 2, rank), or (rank, in / 2) and (out, rank)."""
    hidden, wide, key = 4096, 14336, 1024
    layer = (
        (hidden // 2 + hidden) + (hidden + hidden // 2)
        + 2 * (key // 2 + hidden)
        + 2 * (wide // 2 + hidden) + (hidden + wide // 2)
    )  # fmt: skip
    sides = 32 * layer + 2 * (128256 + hidden)
    found = adapter_bytes(model_of("meta-llama/Llama-3.1-8B"), 2, rank=8, slots=1)
    assert found == 2 * 8 * sides


def test_each_expert_has_its_own() -> None:
    model = model_of("Qwen/Qwen3-30B-A3B")
    hidden, wide = 2048, 768
    experts = 128 * (2 * (hidden + wide) + (hidden + wide))
    others = (32 * 128 + hidden) * 2 + 2 * (4 * 128 + hidden) + (128 + hidden)
    sides = 48 * (experts + others) + 2 * (model.vocabulary + hidden)
    assert adapter_bytes(model, 1, rank=16, slots=1) == 2 * 16 * sides


def test_adapters_come_out_of_the_cache() -> None:
    bare = serving(LLAMA, gpu="l40s", enforce_eager=True)
    with_slots = serving(LLAMA, gpu="l40s", enforce_eager=True, lora_rank=64, lora_max=8)
    size = part(with_slots, PartKind.ADAPTERS)
    assert size == adapter_bytes(model_of("meta-llama/Llama-3.1-8B"), 1, rank=64, slots=8)
    assert bare.cache.middle - with_slots.cache.middle == size
    words = shlex.split(with_slots.command)
    assert "--enable-lora" in words
    assert words[words.index("--max-loras") + 1] == "8"
    assert words[words.index("--max-lora-rank") + 1] == "64"


def test_graphs_are_captured_with_and_without_adapters() -> None:
    bare, with_slots = serving(LLAMA, gpu="l40s"), serving(LLAMA, gpu="l40s", lora_rank=8)
    assert part(with_slots, PartKind.GRAPHS) == 2 * part(bare, PartKind.GRAPHS)


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (LLAMA, {"lora_rank": 17}, "take the next above"),
        (LLAMA, {"lora_max": 2}, "without lora_rank"),
        (LLAMA, {"lora_rank": 8, "engine": "sglang"}, "take --engine vllm"),
        (LLAMA, {"draft": "hf:meta-llama/Llama-3.2-1B"}, "like --speculative-tokens 5"),
        ("hf:openai/gpt-oss-20b", {"draft": "hf:nobody/nothing", "speculative_tokens": 2},
         "nobody/nothing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(
    target: str, options: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=said):
        serving(target, gpu="h100", **options)  # type: ignore[arg-type]


def test_a_draft_model_has_weights_and_a_cache() -> None:
    """Both models have 8 heads of 128: 32 + 28 layers share one pool, 4 KiB a token and layer."""
    draft = {"draft": "hf:Qwen/Qwen3-0.6B", "speculative_tokens": 5}
    bare = serving(LLAMA, gpu="l40s", max_model_len=8192, enforce_eager=True)
    found = serving(LLAMA, gpu="l40s", max_model_len=8192, enforce_eager=True, **draft)  # type: ignore[arg-type]
    tables = 40960 * 128 * 2  # of positions
    weights = 2 * 596_049_920 + tables  # the published parameters, in 16 bits
    assert part(found, PartKind.DRAFT) == pytest.approx(weights, rel=1e-3)
    assert bare.cache.middle - found.cache.middle == part(found, PartKind.DRAFT)
    assert bare.needed_bytes == 8192 * 32 * 4096
    assert found.needed_bytes == 8192 * (32 + 28) * 4096
    words = shlex.split(found.command)
    spoken = json.loads(words[words.index("--speculative-config") + 1])
    assert spoken == {"model": "Qwen/Qwen3-0.6B", "num_speculative_tokens": 5}


def test_a_model_of_its_own_head_has_no_draft() -> None:
    found = serving("Qwen/Qwen3.5-27B", gpu="h100", speculative_tokens=3, max_model_len=8192)
    assert part(found, PartKind.DRAFT) == 0
    words = shlex.split(found.command)
    assert json.loads(words[words.index("--speculative-config") + 1])["method"] == "mtp"
