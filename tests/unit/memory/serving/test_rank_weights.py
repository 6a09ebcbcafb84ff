"""Bytes of weights on one rank: hand arithmetic, and what published starts print."""

from __future__ import annotations

import json

import pytest

from planner.catalog.served_shapes import catalog_shapes
from planner.config.model_shapes import ModelShapes, WeightShape, tensor_shapes
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.formats import FORMATS, PLAIN, format_of_config, named_format
from planner.memory.serving.roles import Role, role_of
from planner.memory.serving.weights import (
    check_ranks,
    proposing_head_bytes,
    rotary_bytes,
    weight_bytes,
)
from planner.units import GIB

KEYS = {
    "model_type": "made", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "vocab_size": 100, "intermediate_size": 256,
    "max_position_embeddings": 1000, "rope_parameters": {"rope_theta": 1e4},
}  # fmt: skip


def tensor(name: str, *shape: int, count: int = 2, dtype: str = "bfloat16") -> WeightShape:
    return WeightShape(name=name, shape=shape, dtype=dtype, count=count)


LAYER = "model.layers.*"
TENSORS = (
    tensor("model.embed_tokens.weight", 100, 64, count=1),
    tensor(f"{LAYER}.self_attn.q_proj.weight", 64, 64),
    tensor(f"{LAYER}.self_attn.k_proj.weight", 16, 64),
    tensor(f"{LAYER}.self_attn.v_proj.weight", 16, 64),
    tensor(f"{LAYER}.self_attn.o_proj.weight", 64, 64),
    tensor(f"{LAYER}.mlp.gate_proj.weight", 256, 64),
    tensor(f"{LAYER}.mlp.up_proj.weight", 256, 64),
    tensor(f"{LAYER}.mlp.down_proj.weight", 64, 256),
    tensor(f"{LAYER}.input_layernorm.weight", 64),
    tensor("lm_head.weight", 100, 64, count=1),
)
ATTENTION, KV, WIDE = 64 * 64, 16 * 64, 64 * 256


def made(*more: WeightShape, **keys: object) -> ServedModel:
    shapes = ModelShapes(
        tensors=(*TENSORS, *more), config=json.dumps({**KEYS, **keys}), has_vision=False,
        built_by="by hand",
    )  # fmt: skip
    return served_model(shapes)


def test_all_of_it_on_one_rank_in_16_bits() -> None:
    elements = 2 * (2 * ATTENTION + 2 * KV + 3 * WIDE + 64) + 2 * 128 * 64  # 100 filled up to 128
    assert weight_bytes(made(), PLAIN, 1) == 2 * elements


def test_a_rank_has_its_share_and_a_head_of_keys_at_least() -> None:
    by_vocabulary = 2 * 128 * 64
    for ranks, kv_share in ((2, 0.5), (4, 0.5), (8, 0.5)):
        elements = 2 * (2 * ATTENTION / ranks + 2 * KV * kv_share + 3 * WIDE / ranks + 64)
        assert weight_bytes(made(), PLAIN, ranks) == 2 * (elements + by_vocabulary / ranks)


def test_query_key_and_value_in_one_matrix() -> None:
    fused = WeightShape(name=f"{LAYER}.attn.qkv_proj.weight", shape=(96, 64), dtype="bfloat16",
                        count=1)  # fmt: skip
    model = made()
    extra = weight_bytes(made(fused), PLAIN, 8) - weight_bytes(model, PLAIN, 8)
    assert extra == 2 * 96 * 64 * (8 / 8 + 2 * 1) / (8 + 2 * 2)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("fp8", 8 + 32 / 128**2), ("int8", 8), ("awq", 4 + 20 / 128), ("gptq", 4 + 20 / 128),
        ("w4a16", 4 + 16 / 128), ("nvfp4", 4 + 8 / 16), ("nf4", 4 + 32 / 64),
    ],
)  # fmt: skip
def test_matrices_are_quantised_and_the_rest_stays_in_16_bits(name: str, bits: float) -> None:
    whole = 2 * (2 * ATTENTION + 2 * KV + 3 * WIDE)
    rest = 2 * 64 + 2 * 128 * 64
    found = weight_bytes(made(), FORMATS[name], 1)
    assert found == round(whole * bits / 8 + rest * 2)


def test_experts_in_mxfp4_are_filled_up() -> None:
    experts = (
        tensor(f"{LAYER}.mlp.experts.gate_up_proj", 4, 64, 2 * 96, count=1),
        tensor(f"{LAYER}.mlp.experts.down_proj", 4, 96, 64, count=1),
    )
    keys = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96}
    model = made(*experts, **keys)
    extra = weight_bytes(model, FORMATS["mxfp4"], 1) - weight_bytes(made(), PLAIN, 1)
    assert extra == round(4 * 3 * 256 * 128 * (4 + 8 / 32) / 8)  # 64 to 256, 96 to 128


def test_the_router_and_gates_of_states_are_not_quantised() -> None:
    router = tensor(f"{LAYER}.mlp.gate.weight", 4, 64)
    gate = tensor(f"{LAYER}.linear_attn.in_proj_a.weight", 4, 64)
    assert role_of(router) is Role.ROUTER
    assert role_of(gate) is Role.STATE_GATE
    extra = weight_bytes(made(router, gate), FORMATS["fp8"], 4) - weight_bytes(
        made(), FORMATS["fp8"], 4
    )
    assert extra == 2 * (2 * 4 * 64) + 2 * (2 * 4 * 64) / 4  # the router is whole on every rank


def test_tables_of_angles_and_a_head_that_proposes() -> None:
    model = made()
    assert rotary_bytes(model) == 1000 * 8 * 2
    layer = 2 * ATTENTION + 2 * KV + 3 * WIDE
    assert proposing_head_bytes(model, 1) == 2 * (layer + 2 * 64 * 64)


# "Model loading took" and "model weights take" of published starts of vLLM, in GiB for a rank.
@pytest.mark.parametrize(
    ("name", "quant", "ranks", "printed"),
    [
        ("meta-llama/Llama-3.1-8B", None, 1, 14.9889),
        ("Qwen/Qwen3-30B-A3B", None, 4, 14.2474),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", None, 2, 74.28),
        ("meta-llama/Meta-Llama-3-70B", "awq", 2, 18.55),
        ("microsoft/phi-4", "gptq", 1, 8.51),
        ("openai/gpt-oss-20b", "mxfp4", 1, 13.72),
        ("Qwen/Qwen3-235B-A22B", "fp8", 8, 27.72),
    ],
)
def test_published_weights(name: str, quant: str | None, ranks: int, printed: float) -> None:
    shapes = catalog_shapes(name)
    assert shapes is not None
    model = served_model(shapes)
    weights = PLAIN
    if quant is not None:
        weights = named_format(quant, has_states=model.has_states, has_experts=model.experts > 0)
    found = weight_bytes(model, weights, ranks) + rotary_bytes(model)
    assert found / GIB == pytest.approx(printed, rel=0.004)


def test_ranks_must_divide_the_heads() -> None:
    check_ranks(made(), 8)
    with pytest.raises(UsageError, match=r"tensor_parallel 3 .* possible are 1, 2, 4, 8"):
        check_ranks(made(), 3)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq", "bits": 8}, None),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "nvfp4"),
        (
            {"quant_method": "compressed-tensors",
             "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}},
            "w4a16",
        ),
        ({"quant_method": "exl3"}, None),
    ],
)  # fmt: skip
def test_the_format_that_a_config_states(config: dict[str, object], name: str | None) -> None:
    assert format_of_config(config) == name


def test_layers_that_are_alike_are_one_record() -> None:
    names = ("a.0.w.weight", "a.1.w.weight", "a.1.norm1.weight")
    found = tensor_shapes((name, (2, 3), "float16") for name in names)
    assert [(one.name, one.count) for one in found] == [
        ("a.*.w.weight", 2), ("a.*.norm1.weight", 1),
    ]  # fmt: skip
    assert found[0].elements == 12
