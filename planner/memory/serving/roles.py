"""The part that a tensor has in a language model, by its name.

In: WeightShape. Out: Role. Convention: names are those of transformers' classes; a weight matrix
that is none of the named ones is LINEAR, which engines divide over ranks and quantise.
"""

from __future__ import annotations

import re
from enum import Enum

from planner.config.model_shapes import WeightShape


class Role(str, Enum):
    """The part of a tensor in the model."""

    EMBEDDING = "embedding"
    """Vectors of the vocabulary."""
    HEAD = "head"
    """The output layer, where its weight is not that of the embedding."""
    SMALL = "small"
    """Norms, biases, convolutions over time, scales: kept in 16 bits, and not large."""
    ROUTER = "router"
    """Chooses experts; every rank has it whole, and it is not quantised."""
    PATCHES = "patches"
    """Embeddings of patches and positions of an image; every rank has them whole."""
    VISION = "vision"
    """Other weights that read images; not quantised."""
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    QKV = "qkv"
    """Query, key and value in one matrix."""
    ATTENTION_OUT = "attention out"
    LATENT_DOWN = "latent down"
    """Into the latent of multi-head latent attention; every rank has it whole."""
    STATE_LINEAR = "state linear"
    """Large matrices of a Mamba layer or a gated delta net."""
    STATE_GATE = "state gate"
    """Its small projections to one number a head; not quantised."""
    UP = "up"
    """Into the wide part of a feed-forward layer."""
    DOWN = "down"
    """Out of it."""
    EXPERT_UP = "expert up"
    EXPERT_DOWN = "expert down"
    LINEAR = "linear"
    """Another matrix."""


# Searched in this order; the first that fits decides.
_PATTERNS: tuple[tuple[str, Role], ...] = (
    (r"(patch_embed|pos_embed|position_embedding|class_embedding)", Role.PATCHES),
    (r"(^|\.)(visual|vision_tower|vision_model|audio_tower)\.", Role.VISION),
    (r"(multi_modal_projector|embed_vision|embed_audio)", Role.VISION),
    (r"(norm|layernorm|ln_\w+)\.(weight|bias)$|_bias$|\.bias$|conv\w*\.weight$", Role.SMALL),
    (r"(^|\.)(embed_tokens|embeddings|word_embeddings|wte|embed_in)\.weight$", Role.EMBEDDING),
    (r"(^|\.)(wpe|embed_positions)\.weight$", Role.PATCHES),
    (r"(^|\.)(lm_head|embed_out)\.weight$", Role.HEAD),
    (r"\.(router|gate)(\.proj)?\.weight$|shared_expert_gate", Role.ROUTER),
    (r"\.(q_a_proj|kv_a_proj_with_mqa)\.", Role.LATENT_DOWN),
    (r"linear_attn\.in_proj_(a|b|ba)\.", Role.STATE_GATE),
    (r"(linear_attn|mamba|mixer)\.(in_proj\w*|out_proj)\.", Role.STATE_LINEAR),
    (r"(shared_experts?)\.(gate|up|gate_up)_proj", Role.UP),
    (r"(shared_experts?)\.down_proj", Role.DOWN),
    (r"experts\.(\*\.)?(gate_up|gate|up|w1|w3)(_proj)?", Role.EXPERT_UP),
    (r"experts\.(\*\.)?(down|w2)(_proj)?", Role.EXPERT_DOWN),
    (r"(qkv_proj|query_key_value|c_attn|Wqkv|\.qkv)\.", Role.QKV),
    (r"\.(q_proj|q_b_proj)\.", Role.QUERY),
    (r"\.k_proj\.", Role.KEY),
    (r"\.v_proj\.", Role.VALUE),
    (r"(attn|attention)\w*\.(o_proj|out_proj|c_proj|dense)\.|mixer\.o_proj\.", Role.ATTENTION_OUT),
    (r"\.(gate_proj|up_proj|gate_up_proj|fc1|c_fc|fc_in|dense_h_to_4h)\.", Role.UP),
    (r"\.(down_proj|fc2|c_proj|fc_out|dense_4h_to_h)\.", Role.DOWN),
)
_COMPILED = tuple((re.compile(pattern), role) for pattern, role in _PATTERNS)


def role_of(tensor: WeightShape) -> Role:
    """Returns the role of a tensor."""
    for pattern, role in _COMPILED:
        if pattern.search(tensor.name):
            return role
    return Role.SMALL if len(tensor.shape) < 2 else Role.LINEAR
