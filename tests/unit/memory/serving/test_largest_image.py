"""The largest image of vLLM's profile run, by hand."""

from __future__ import annotations

from planner.catalog.served_shapes import catalog_shapes
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.engine import PartKind
from planner.memory.serving.vision import image_bytes
from planner.questions.serving import serving

PATCHES, VECTORS = 65_536, 16_384


def model_of(name: str) -> ServedModel:
    shapes = catalog_shapes(name)
    assert shapes is not None
    return served_model(shapes)


def test_a_block_of_the_encoder_holds_four_tensors() -> None:
    """Blocks of 1152 with a wide part of 4304; vectors of the language model's 2048."""
    found = image_bytes(model_of("Qwen/Qwen3.5-35B-A3B"), 1)
    assert found is not None
    assert found.kept == 2 * VECTORS * 2048
    assert found.peak == 2 * PATCHES * (2 * 1152 + 2 * 4304) + found.kept


def test_a_gate_has_a_half_more_and_ranks_divide_the_wide_part() -> None:
    found = image_bytes(model_of("Qwen/Qwen2.5-VL-7B-Instruct"), 4)
    assert found is not None
    assert found.peak - found.kept == 2 * PATCHES * (2 * 1280 + 3 * 3420 // 4)


def test_deep_vectors_are_kept_too() -> None:
    found = image_bytes(model_of("Qwen/Qwen3-VL-8B-Instruct"), 1)
    assert found is not None
    assert found.kept == 2 * VECTORS * 4096 * (1 + 3)


def test_other_encoders_are_not_known() -> None:
    assert image_bytes(model_of("google/gemma-4-26B-A4B"), 1) is None
    assert image_bytes(model_of("meta-llama/Llama-3.1-8B"), 1) is None


def test_the_peak_of_the_start_is_the_larger_one() -> None:
    def activations(tokens: int) -> int:
        found = serving(
            "Qwen/Qwen3.5-35B-A3B", gpu="rtx5090", quant="nvfp4", max_model_len=8192,
            max_num_seqs=1, max_num_batched_tokens=tokens,
        )  # fmt: skip
        return next(p.size_bytes for p in found.parts if p.kind is PartKind.ACTIVATIONS)

    image = image_bytes(model_of("Qwen/Qwen3.5-35B-A3B"), 1)
    assert image is not None
    assert activations(2048) == activations(4096) == image.peak
    assert activations(65_536) > image.peak
