"""The compute buffer of llama.cpp, against buffers that it printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.catalog.served_shapes import catalog_shapes
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.llamacpp import compute_bytes
from planner.units import MIB


def llama() -> ServedModel:
    shapes = catalog_shapes("meta-llama/Meta-Llama-3-8B")
    assert shapes is not None
    return served_model(shapes)


@pytest.mark.parametrize(
    ("context", "printed_mib"), [(262_144, 808.02), (32_768, 501.0)], ids=["masks", "logits"]
)
def test_the_buffers_of_qwen3_5_9b(context: int, printed_mib: float) -> None:
    """llama-server with -c 262144 and 32768, -fa on, on an RTX 4070 (September 2026)."""
    model = replace(llama(), vocabulary=248_320, hidden_size=4096, intermediate_size=12_288)
    assert compute_bytes(model, context) / MIB == pytest.approx(printed_mib, abs=0.05)


def test_the_buffer_of_llama_3_8b_is_a_vector_more_than_in_2024() -> None:
    vector = 512 * 4096 * 4 / MIB
    assert compute_bytes(llama(), 8192) / MIB == pytest.approx(258.5 + vector, abs=0.05)


def test_chosen_experts_are_as_wide_as_they_are_together() -> None:
    mixture = replace(llama(), experts=8, experts_per_token=2, expert_size=20_000)
    wider = compute_bytes(mixture, 1 << 20) - compute_bytes(llama(), 1 << 20)
    assert wider == 512 * 4 * (2 * 20_000 - 14_336)
