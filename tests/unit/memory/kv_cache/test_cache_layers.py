"""Bytes that layers keep of tokens: hand arithmetic for each kind."""

from __future__ import annotations

import json

import pytest

from planner.config.model_shapes import ModelShapes
from planner.errors import UsageError
from planner.memory.kv_cache.facts import served_model
from planner.memory.kv_cache.layers import CacheLayers, LayerKind, StateShape, request_bytes

BASE = {
    "model_type": "made", "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 2, "vocab_size": 1000, "intermediate_size": 128,
    "max_position_embeddings": 4096,
}  # fmt: skip


def shapes(**keys: object) -> ModelShapes:
    config = {key: value for key, value in {**BASE, **keys}.items() if value is not None}
    return ModelShapes(tensors=(), config=json.dumps(config), has_vision=False, built_by="by hand")


def test_heads_of_keys_and_values() -> None:
    (layer,) = served_model(shapes()).layers
    assert (layer.kind, layer.count, layer.kv_heads) == (LayerKind.FULL, 4, 2)
    assert layer.token_bytes(1, 2) == 2 * (8 + 8) * 2  # heads, widths of key and value, bytes
    assert layer.token_bytes(2, 2) == layer.token_bytes(1, 2) // 2
    assert layer.token_bytes(8, 2) == layer.token_bytes(2, 2)  # a head at least on each rank
    assert layer.token_bytes(1, 1) == layer.token_bytes(1, 2) // 2
    assert request_bytes((layer,), 100, ranks=1, element_bytes=2) == 4 * 100 * 64


def test_a_latent_is_on_every_rank_whole() -> None:
    model = served_model(shapes(kv_lora_rank=512, qk_rope_head_dim=64))
    (layer,) = model.layers
    assert layer.kind is LayerKind.LATENT
    assert layer.token_bytes(1, 2) == layer.token_bytes(8, 2) == (512 + 64) * 2


def test_a_window_keeps_the_last_tokens() -> None:
    kinds = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
    model = served_model(shapes(layer_types=kinds, sliding_window=16))
    window, full = model.layers
    assert (window.count, window.window, full.count) == (3, 16, 1)
    assert window.kept_tokens(10) == 10
    assert window.kept_tokens(100) == 16
    assert request_bytes(model.layers, 100, ranks=1, element_bytes=2) == 64 * (3 * 16 + 100)


def test_a_window_that_the_config_switches_off_is_none() -> None:
    assert served_model(shapes(sliding_window=16)).layers[0].kind is LayerKind.WINDOW
    off = served_model(shapes(sliding_window=16, use_sliding_window=False))
    assert off.layers[0].kind is LayerKind.FULL


def test_a_delta_net_keeps_a_state() -> None:
    model = served_model(
        shapes(
            layer_types=["linear_attention"] * 3 + ["full_attention"],
            linear_conv_kernel_dim=4, linear_num_key_heads=2, linear_num_value_heads=4,
            linear_key_head_dim=8, linear_value_head_dim=16, mamba_ssm_dtype="float32",
        )
    )  # fmt: skip
    states, full = model.layers
    assert (states.kind, states.count, full.count) == (LayerKind.STATE, 3, 1)
    assert states.state is not None
    channels = 2 * 2 * 8 + 4 * 16
    assert states.state.rank_bytes(1, 2) == channels * 3 * 2 + 4 * 8 * 16 * 4
    assert states.state.rank_bytes(2, 2) == channels // 2 * 3 * 2 + 2 * 8 * 16 * 4
    assert states.token_bytes(1, 2) == 0
    assert model.has_states


def test_layers_without_a_cache_are_left_out() -> None:
    kinds = ["mamba", "moe", "full_attention", "mlp"]
    model = served_model(
        shapes(
            layers_block_type=kinds, num_hidden_layers=None, mamba_num_heads=4, mamba_head_dim=8,
            ssm_state_size=16, n_groups=2, conv_kernel=4,
        )
    )  # fmt: skip
    assert [(layer.kind, layer.count) for layer in model.layers] == [
        (LayerKind.STATE, 1), (LayerKind.FULL, 1),
    ]  # fmt: skip
    assert model.num_layers == 4
    assert model.layers[0].state == StateShape(
        conv_channels=4 * 8 + 2 * 2 * 16, conv_tokens=3, heads=4, head_elements=8 * 16,
        head_element_bytes=None,
    )  # fmt: skip


def test_layers_with_heads_of_their_own() -> None:
    kinds = ["sliding_attention", "full_attention"] * 2
    own = {"1": {"num_key_value_heads": 1, "head_dim": 32}, "3": {"num_key_value_heads": 1,
           "head_dim": 32}}  # fmt: skip
    model = served_model(shapes(layer_types=kinds, sliding_window=16, per_layer_config=own))
    window, full = model.layers
    assert (window.kv_heads, window.key_width) == (2, 8)
    assert (full.kv_heads, full.key_width, full.count) == (1, 32, 2)


def test_the_last_layers_may_read_the_caches_of_others() -> None:
    kinds = ["full_attention"] * 4
    model = served_model(shapes(layer_types=kinds, num_kv_shared_layers=3))
    assert model.layers[0].count == 1
    assert model.num_layers == 4


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"layer_types": ["rwkv"] * 4}, "layers of the kind rwkv"),
        ({"num_attention_heads": None}, "none of the keys num_attention_heads, n_head"),
        ({"index_head_dim": 128}, "sparse attention"),
    ],
)
def test_what_is_not_known_is_an_error(keys: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        served_model(shapes(**keys))


def test_equal_layers_are_equal() -> None:
    layer = CacheLayers(kind=LayerKind.FULL, count=1, kv_heads=1, key_width=2, value_width=2)
    assert request_bytes((layer, layer), 3, ranks=1, element_bytes=2) == 2 * request_bytes(
        (layer,), 3, ranks=1, element_bytes=2
    )
