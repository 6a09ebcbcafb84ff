"""vLLM's pool of blocks: published starts to the token, and what must hold for all pools."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.served_shapes import catalog_shapes
from planner.errors import UsageError
from planner.memory.kv_cache.blocks import BlockPool, PoolRules, block_pool
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.kv_cache.layers import CacheLayers, LayerKind, StateShape
from planner.memory.serving.vllm_rules import VllmRules
from planner.units import GIB

FULL = CacheLayers(kind=LayerKind.FULL, count=4, kv_heads=2, key_width=64, value_width=64)
WINDOW = CacheLayers(
    kind=LayerKind.WINDOW, count=12, kv_heads=2, key_width=64, value_width=64, window=128
)
STATE = CacheLayers(
    kind=LayerKind.STATE, count=12,
    state=StateShape(
        conv_channels=64, conv_tokens=3, heads=4, head_elements=64 * 64, head_element_bytes=4
    ),
)  # fmt: skip


def model(name: str) -> ServedModel:
    shapes = catalog_shapes(name)
    assert shapes is not None
    return served_model(shapes)


def pool(layers: tuple[CacheLayers, ...], **changed: object) -> BlockPool:
    options = {
        "ranks": 1, "element_bytes": 2, "model_element_bytes": 2, "step_tokens": 256,
        "rules": PoolRules(), **changed,
    }  # fmt: skip
    return block_pool(layers, **options)  # type: ignore[arg-type]


# Logs of vLLM's start: "GPU KV cache size" for the "Available KV cache memory" and the length.
@pytest.mark.parametrize(
    ("name", "version", "ranks", "element_bytes", "gib", "length", "tokens", "speculative"),
    [
        ("Qwen/Qwen3.5-27B", (0, 29), 1, 2, 19.54, 262144, 313_650, 0),
        ("Qwen/Qwen3.5-27B", (0, 28), 2, 1, 4.99, 131072, 302_921, 0),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", (0, 11), 2, 2, 44.59, 262144, 973_760, 0),
        ("Qwen/Qwen3-0.6B", (0, 7), 1, 2, 61.84, 8192, 578_944, 0),
    ],
    ids=lambda value: str(value),
)
def test_published_starts_to_the_token(
    name: str, version: tuple[int, ...], ranks: int, element_bytes: int, gib: float, length: int,
    tokens: int, speculative: int,
) -> None:  # fmt: skip
    found = block_pool(
        model(name).layers, ranks=ranks, element_bytes=element_bytes, model_element_bytes=2,
        step_tokens=8192, rules=VllmRules(version=version).pool, speculative_tokens=speculative,
    )  # fmt: skip
    rounded = [found.tokens(int(each * GIB), length) for each in (gib - 0.005, gib + 0.005)]
    assert rounded[0] <= tokens <= rounded[1]
    assert rounded[1] - rounded[0] < 0.01 * tokens


# What vLLM 0.33.0 itself printed when it started on an emulated H100, with steps of 2048 tokens and
# weights without values (planner serving --own-start --max-num-batched-tokens 2048).
@pytest.mark.parametrize(
    ("name", "gib", "length", "tokens"),
    [
        ("google/gemma-3-1b-it", 70.56, 32768, 10_016_879),
        ("google/gemma-3-1b-it", 69.97, 8192, 4_181_089),
        ("openai/gpt-oss-20b", 33.29, 131072, 1_409_043),
        ("google/gemma-2-2b-it", 67.55, 8192, 680_359),
        ("mistralai/Mistral-7B-v0.1", 59.03, 32768, 1_930_565),
        ("microsoft/Phi-3-mini-4k-instruct", 65.48, 4096, 178_120),
        ("bigcode/starcoder2-7b", 59.11, 16384, 1_932_960),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 13.47, 262144, 2_133_244),
        ("deepseek-ai/DeepSeek-V2-Lite", 42.72, 163840, 1_474_704),
    ],
)
def test_own_starts_of_vllm_to_the_token(name: str, gib: float, length: int, tokens: int) -> None:
    found = block_pool(
        model(name).layers, ranks=1, element_bytes=2, model_element_bytes=2, step_tokens=2048,
        rules=VllmRules(version=(0, 33)).pool_on((9, 0)),
    )  # fmt: skip
    rounded = [found.tokens(int(each * GIB), length) for each in (gib - 0.005, gib + 0.005)]
    assert rounded[0] <= tokens <= rounded[1]
    assert rounded[1] - rounded[0] < 0.01 * tokens


@pytest.mark.parametrize(
    ("capability", "gib", "tokens"), [((8, 9), 37.91, 9_813_747), ((9, 0), 69.89, 17_930_649)]
)
def test_own_starts_of_delta_nets_to_the_token(
    capability: tuple[int, int], gib: float, tokens: int
) -> None:
    # Qwen3-Next with 8 of its 48 layers, on an emulated L40S and an emulated H100.
    layers = tuple(
        replace(one, count=6 if one.kind is LayerKind.STATE else 2)
        for one in model("Qwen/Qwen3-Next-80B-A3B-Instruct").layers
    )
    found = block_pool(
        layers, ranks=1, element_bytes=2, model_element_bytes=2, step_tokens=2048,
        rules=VllmRules(version=(0, 33)).pool_on(capability),
    )  # fmt: skip
    rounded = [found.tokens(int(each * GIB), 262144) for each in (gib - 0.005, gib + 0.005)]
    assert rounded[0] <= tokens <= rounded[1]
    assert rounded[1] - rounded[0] < 0.001 * tokens


def test_a_window_keeps_the_tokens_of_all_steps_in_flight() -> None:
    # From 0.26 on two steps of 256 tokens: 127 + 512 tokens are 40 blocks, and one more.
    old, new = (
        pool((WINDOW, FULL), rules=VllmRules(version=version).pool)
        for version in ((0, 25), (0, 26))
    )
    full = -(-10_000 // 16)
    assert old.request_blocks(10_000) == 3 * (24 + 1) + full
    assert new.request_blocks(10_000) == 3 * (40 + 1) + full


def test_the_state_where_a_prompt_ends_is_a_block_more() -> None:
    assert STATE.state is not None
    net = replace(STATE, state=replace(STATE.state, is_delta_net=True))
    versions = ((0, 25), (0, 31), (0, 32), (0, 33))
    rules = [VllmRules(version=version) for version in versions]
    on_ada = [one.pool_on((8, 9)) for one in rules]
    on_hopper = [one.pool_on((9, 0)) for one in rules]
    assert [one.states_of(STATE) for one in on_ada] == [1, 2, 3, 3]
    assert [one.states_of(STATE) for one in on_hopper] == [1, 2, 3, 3]
    assert [one.states_of(net) for one in on_ada] == [1, 2, 2, 2]
    assert [one.states_of(net) for one in on_hopper] == [1, 2, 2, 3]


def test_a_block_holds_sixteen_tokens_of_every_layer() -> None:
    found = pool((FULL,))
    assert found.block_bytes == 16 * 4 * (2 * 128 * 2)
    assert [found.request_blocks(length) for length in (1, 16, 17)] == [1, 1, 2]
    assert found.tokens(10 * found.block_bytes, 160) == 160
    assert found.longest(10 * found.block_bytes, 10_000) == 160


def test_sorts_of_layers_are_groups_of_equal_size() -> None:
    found = pool((WINDOW, FULL))
    assert found.block_bytes == pool((FULL,)).block_bytes  # 4 layers of a group
    window, full = found.groups
    assert (window.groups, full.groups) == (3, 1)
    # 127 tokens before a step of 256, and one block more, because a window begins anywhere
    assert window.request_blocks(10_000, 256) == 3 * (24 + 1)
    assert found.request_blocks(16) == 3 * 2 + 1


def test_sorts_of_nearly_equal_number_are_one_group_each() -> None:
    many = CacheLayers(
        kind=LayerKind.WINDOW, count=5, kv_heads=2, key_width=64, value_width=64, window=128
    )
    assert [group.groups for group in pool((many, FULL)).groups] == [1, 1]
    without = pool((many, FULL), rules=PoolRules(padding_factor=1.0))
    assert [group.groups for group in without.groups] == [2, 1]


def test_a_page_holds_a_state() -> None:
    state_bytes = 64 * 3 * 2 + 4 * 64 * 64 * 4
    token_bytes = 2 * 128 * 2
    found = pool((STATE, FULL))
    tokens = -(-state_bytes // (16 * token_bytes)) * 16
    assert {group.block_tokens for group in found.groups} == {tokens}
    assert found.block_bytes == 4 * tokens * token_bytes
    assert found.request_blocks(1) == 3 * 2 + 1  # two states in each of three groups
    once = pool((STATE, FULL), rules=PoolRules(states_per_request=1))
    assert once.request_blocks(1) == 3 + 1


def test_a_head_that_proposes_tokens_takes_a_layer_and_states() -> None:
    found = pool((STATE, FULL), speculative_tokens=3)
    assert found.block_bytes % 5 == 0  # five layers with keys and values
    assert [group.groups for group in found.groups] == [3, 1]  # 12 states in groups of 5
    assert found.request_blocks(1) == 3 * (2 + 3) + 1


def test_an_old_version_keeps_every_token_of_a_window() -> None:
    found = pool((WINDOW, FULL), rules=PoolRules(knows_kinds=False))
    assert [(group.kind, group.groups) for group in found.groups] == [(LayerKind.FULL, 1)]
    assert found.block_bytes == 16 * 16 * (2 * 128 * 2)
    with pytest.raises(UsageError, match="does not serve a model with states"):
        pool((STATE, FULL), rules=PoolRules(knows_kinds=False))


@given(
    full=st.integers(1, 40), windows=st.integers(0, 40), states=st.integers(0, 40),
    heads=st.integers(1, 16), window=st.integers(1, 4096), blocks=st.integers(0, 5000),
    length=st.integers(1, 20_000), step=st.integers(1, 8192),
)  # fmt: skip
def test_identities_of_all_pools(
    full: int, windows: int, states: int, heads: int, window: int, blocks: int, length: int,
    step: int,
) -> None:  # fmt: skip
    layers = [CacheLayers(kind=LayerKind.FULL, count=full, kv_heads=heads, key_width=64,
                          value_width=64)]  # fmt: skip
    if windows:
        layers.append(CacheLayers(kind=LayerKind.WINDOW, count=windows, kv_heads=heads,
                                  key_width=64, value_width=64, window=window))  # fmt: skip
    if states:
        layers.append(CacheLayers(kind=LayerKind.STATE, count=states, state=STATE.state))
    found = pool(tuple(layers), step_tokens=step)
    cache = blocks * found.block_bytes
    assert found.blocks(cache) == blocks
    assert found.request_bytes(length) == found.request_blocks(length) * found.block_bytes
    assert found.request_bytes(length) <= found.request_bytes(length + 1)
    assert found.requests_at_once(cache, length) * found.request_blocks(length) == pytest.approx(
        blocks
    )
    longest = found.longest(cache, 30_000)
    assert longest == 0 or found.request_bytes(longest) <= cache
    assert longest == 30_000 or found.request_bytes(longest + 1) > cache
