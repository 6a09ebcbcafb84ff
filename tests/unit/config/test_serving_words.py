"""The words of a caller for an engine that serves."""

from __future__ import annotations

from typing import Any

import pytest

from planner.config.serving import EngineName, ServingConfig, ServingLoad
from planner.config.serving_words import serving_config
from planner.errors import UsageError


def test_without_words_it_is_the_default() -> None:
    assert serving_config({"quant": None}) == ServingConfig()


def test_all_words() -> None:
    found = serving_config(
        {
            "engine": "vllm", "engine_version": "v0.11.0rc1", "tensor_parallel": 2,
            "utilization": 0.9, "quant": "fp8", "kv_dtype": "fp8", "max_num_seqs": 8,
            "users": 5, "prompt": 100, "output": 20,
        }
    )  # fmt: skip
    assert found.engine is EngineName.VLLM
    assert found.version == (0, 11, 0)
    assert found.load == ServingLoad(users=5, prompt=100, output=20)
    assert found.max_model_len == 120  # the longest request is that of the load
    assert serving_config({"users": 1, "prompt": 1, "output": 1, "max_model_len": 64}) == (
        ServingConfig(max_model_len=64, load=ServingLoad(users=1, prompt=1, output=1))
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"engine": "vlm"}, "engine 'vlm' is not one of vllm, sglang"),
        ({"utilization": 1.2}, "a share of memory above 0 and at most 1, like 0.9, not 1.2"),
        ({"utilization": 0}, "not 0"),
        ({"utilization": "half"}, "not 'half'"),
        ({"tensor_parallel": 0}, r"tensor_parallel \(--tensor-parallel\) must be a whole number"),
        ({"max_model_len": True}, "not True"),
        ({"engine_version": "newest"}, "write it like 0.11.0"),
        ({"users": 5, "output": 7}, r"without --prompt: .* like --users 50 --prompt 2000"),
        ({"quant": ""}, "must be a name"),
        ({"tensor_paralel": 2}, "takes no tensor_paralel; it takes engine, engine_version"),
        ({"prefix_caching": "yes"}, "must be True or False"),
    ],
)
def test_a_wrong_value_says_what_to_write(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        serving_config(words)
