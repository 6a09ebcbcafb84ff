"""Bytes of GGUF files: sizes of published ones, and the rules of the mixtures."""

from __future__ import annotations

import pytest

from planner.catalog.served_shapes import catalog_shapes
from planner.errors import UsageError
from planner.memory.kv_cache.facts import served_model
from planner.memory.serving.gguf import GgufModel, check_mixture, gguf_bytes
from planner.memory.serving.weights import gguf_model


def model(name: str) -> GgufModel:
    shapes = catalog_shapes(name)
    assert shapes is not None
    return gguf_model(served_model(shapes))


# Sizes in GB of the files of bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, as its README lists them.
@pytest.mark.parametrize(
    ("mixture", "gigabytes"),
    [("Q8_0", 8.54), ("Q6_K", 6.60), ("Q5_K_M", 5.73), ("Q4_K_M", 4.92), ("Q3_K_M", 4.02),
     ("Q2_K", 3.18)],
)  # fmt: skip
def test_files_of_llama(mixture: str, gigabytes: float) -> None:
    found = gguf_bytes(model("meta-llama/Llama-3.1-8B"), mixture, on_the_card=False)
    assert found / 1e9 == pytest.approx(gigabytes, rel=0.005)


def test_the_embedding_stays_on_the_host_unless_it_is_the_output_too() -> None:
    untied = model("meta-llama/Llama-3.1-8B")
    embedding = 128256 * 4096 * 4.5 / 8
    whole = gguf_bytes(untied, "Q4_K_M", on_the_card=False)
    assert whole - gguf_bytes(untied, "Q4_K_M") == embedding
    tied = model("Qwen/Qwen3-0.6B")
    assert gguf_bytes(tied, "Q4_K_M") == gguf_bytes(tied, "Q4_K_M", on_the_card=False)


def test_an_unknown_mixture_is_an_error() -> None:
    assert check_mixture("q4_k_m") == "Q4_K_M"
    with pytest.raises(UsageError, match=r"no mixture 'Q9' .* known are F16, BF16, Q8_0"):
        check_mixture("Q9")
