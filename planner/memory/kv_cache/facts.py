"""Reads the facts that serving needs from the shapes and the config of a language model.

In: ModelShapes. Out: ServedModel. Convention: keys have the names of Hugging Face's configs, with
the defaults of the class filled in; a kind of layer that is not known here is an error, never a
guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.config.model_shapes import ModelShapes, WeightShape
from planner.errors import UsageError
from planner.memory.kv_cache.layers import CacheLayers, LayerKind, StateShape

_KINDS: Mapping[str, LayerKind | None] = {
    "full_attention": LayerKind.FULL,
    "attention": LayerKind.FULL,
    "sliding_attention": LayerKind.WINDOW,
    "chunked_attention": LayerKind.WINDOW,
    "linear_attention": LayerKind.STATE,
    "mamba": LayerKind.STATE,
    "moe": None,
    "mlp": None,
}
_FLOAT32_BYTES = 4
_ROBERTAS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl")
_PADDED = 2  # pad_token_id 1, and one (vllm/model_executor/models/roberta.py)
_DTYPE_BYTES = {"float32": _FLOAT32_BYTES, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A language model as an engine that serves it sees it. Sizes are in elements."""

    model_type: str
    tensors: tuple[WeightShape, ...]
    layers: tuple[CacheLayers, ...]
    """Layers that keep something, those that keep the same together."""
    num_layers: int
    """All layers, those without a cache too."""
    attention_heads: int
    kv_heads: int
    head_width: int
    hidden_size: int
    intermediate_size: int
    """The widest layer between two products of one token, without experts."""
    vocabulary: int
    longest_context: int
    """Tokens that the positions of the model allow."""
    experts: int
    """Experts of a layer; 0: it has none."""
    experts_per_token: int
    expert_size: int
    is_tied: bool
    has_vision: bool
    rotary_widths: tuple[int, ...]
    """Elements of a head that are turned by position, for each table of angles; none: no table."""
    draft: ServedModel | None = None
    """A separate model that proposes tokens in front of this one."""
    is_encoder: bool = False
    """Whether it reads a text in both directions: it keeps nothing of its tokens."""
    is_pooled: bool = False
    """Whether it gives vectors or scores in the place of text: its output layer is not there."""

    @property
    def has_states(self) -> bool:
        """Returns whether some layers keep states (Mamba, gated delta net)."""
        return any(layer.kind is LayerKind.STATE for layer in self.layers)


def served_model(shapes: ModelShapes) -> ServedModel:
    """Returns the facts of a model.

    Raises:
        UsageError: its config has a kind of layer, or lacks a key, that is needed here.
    """
    keys = shapes.keys()
    heads = _number(keys, "num_attention_heads", "n_head")
    hidden = _number(keys, "hidden_size", "n_embd", "d_model")
    kv_heads = _kv_heads(keys, heads)
    head_width = keys.get("head_dim") or hidden // heads
    kinds = _kinds(keys)
    expert_size = keys.get("moe_intermediate_size") or keys.get("intermediate_size") or 0
    return ServedModel(
        model_type=keys["model_type"],
        tensors=shapes.tensors,
        layers=_layers(keys, kinds, kv_heads, head_width),
        num_layers=len(kinds),
        attention_heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        hidden_size=hidden,
        intermediate_size=_number(
            keys, "intermediate_size", "ffn_dim", "n_inner", other=4 * hidden
        ),
        vocabulary=_number(keys, "vocab_size"),
        longest_context=_longest(keys),
        experts=_number(keys, "num_experts", "num_local_experts", "n_routed_experts", other=0),
        experts_per_token=_number(keys, "num_experts_per_tok", "top_k_experts", other=0),
        expert_size=expert_size,
        is_tied=bool(keys.get("tie_word_embeddings")),
        has_vision=shapes.has_vision,
        rotary_widths=_rotary_widths(keys, head_width),
        is_encoder=shapes.is_encoder,
        is_pooled=shapes.is_encoder,
    )


def _longest(keys: Mapping[str, Any]) -> int:
    """Returns the tokens of the longest text; RoBERTa's positions begin after its padding."""
    positions = _number(keys, "max_position_embeddings", "n_positions", other=2048)
    return positions - _PADDED if keys.get("model_type") in _ROBERTAS else positions


def _number(keys: Mapping[str, Any], *names: str, other: int | None = None) -> int:
    for name in names:
        if isinstance(keys.get(name), int) and not isinstance(keys[name], bool):
            return int(keys[name])
    if other is None:
        raise UsageError(
            f"the config of the model ({keys.get('model_type')}) has none of the keys "
            f"{', '.join(names)}, which its cache depends on; name another model"
        )
    return other


def _rotary_widths(keys: Mapping[str, Any], head_width: int) -> tuple[int, ...]:
    """Returns the width of each table of cosines and sines: one for each set of parameters."""
    if keys.get("qk_rope_head_dim"):
        return (int(keys["qk_rope_head_dim"]),)
    if keys.get("rotary_dim"):
        return (int(keys["rotary_dim"]),)
    given = keys.get("rope_parameters")
    sets = [given] if given else [{}] if keys.get("rope_theta") else []
    if given and all(isinstance(one, Mapping) for one in given.values()):  # one for each kind
        sets = list(given.values())
    usual = keys.get("partial_rotary_factor") or 1.0
    return tuple(int(head_width * (one.get("partial_rotary_factor") or usual)) for one in sets)


def _kv_heads(keys: Mapping[str, Any], heads: int) -> int:
    if keys.get("multi_query") and not keys.get("new_decoder_architecture"):  # Falcon
        return 1
    return _number(keys, "num_key_value_heads", "num_kv_heads", other=heads)


def _layers(
    keys: Mapping[str, Any], kinds: list[LayerKind | None], kv_heads: int, head_width: int
) -> tuple[CacheLayers, ...]:
    """Returns the layers that keep something, in the order of their first occurrence."""
    if keys.get("index_head_dim"):
        raise UsageError(
            f"a model of type {keys['model_type']} has an index for sparse attention, whose cache "
            "is not known here; name another model"
        )
    if keys.get("kv_lora_rank") and keys.get("qk_rope_head_dim"):
        width = keys["kv_lora_rank"] + keys["qk_rope_head_dim"]
        return (CacheLayers(kind=LayerKind.LATENT, count=len(kinds), kv_heads=1, key_width=width),)
    own = {int(layer): values for layer, values in (keys.get("per_layer_config") or {}).items()}
    counts: Counter[CacheLayers] = Counter()
    for position, kind in enumerate(kinds):
        if kind is not None:
            values = own.get(position, {})
            heads = values.get("num_key_value_heads", kv_heads)
            counts[_of_kind(keys, kind, heads, values.get("head_dim", head_width))] += 1
    return tuple(replace(layer, count=count) for layer, count in counts.items())


def _kinds(keys: Mapping[str, Any]) -> list[LayerKind | None]:
    """Returns the kind of each layer; None: it keeps nothing of its own."""
    names = keys.get("layer_types") or keys.get("layers_block_type")
    if names is None:
        windowed = keys.get("sliding_window") and keys.get("use_sliding_window") is not False
        layers = _number(keys, "num_hidden_layers", "n_layer", "num_layers")
        return [LayerKind.WINDOW if windowed else LayerKind.FULL] * layers
    unknown = sorted({name for name in names if name not in _KINDS})
    if unknown:
        raise UsageError(
            f"the model has layers of the kind {', '.join(unknown)}, whose cache is not known "
            f"here; known are {', '.join(_KINDS)}"
        )
    shared = keys.get("num_kv_shared_layers") or 0  # the last ones read the caches of earlier ones
    return [_KINDS[name] for name in names[: len(names) - shared]] + [None] * shared


def _of_kind(
    keys: Mapping[str, Any], kind: LayerKind, kv_heads: int, head_width: int
) -> CacheLayers:
    if kind is LayerKind.STATE:
        return CacheLayers(kind=kind, count=1, state=_state(keys))
    window = None
    if kind is LayerKind.WINDOW:
        chunks = "chunked_attention" in (keys.get("layer_types") or ())
        window = _number(keys, "attention_chunk_size" if chunks else "sliding_window")
    return CacheLayers(
        kind=kind,
        count=1,
        kv_heads=kv_heads,
        key_width=head_width,
        value_width=head_width,
        window=window,
    )


def _state(keys: Mapping[str, Any]) -> StateShape:
    """Returns the state of a gated delta net or of a Mamba-2 layer."""
    named = keys.get("mamba_ssm_dtype") or keys.get("mamba_ssm_cache_dtype")
    element_bytes = _DTYPE_BYTES.get(str(named))
    if keys.get("linear_num_value_heads"):
        key_width = _number(keys, "linear_key_head_dim")
        value_width = _number(keys, "linear_value_head_dim")
        value_heads = _number(keys, "linear_num_value_heads")
        key_channels = key_width * _number(keys, "linear_num_key_heads")
        return StateShape(
            conv_channels=2 * key_channels + value_width * value_heads,
            conv_tokens=_number(keys, "linear_conv_kernel_dim") - 1,
            heads=value_heads,
            head_elements=key_width * value_width,
            head_element_bytes=element_bytes,
            is_delta_net=True,
        )
    heads, width = _number(keys, "mamba_num_heads"), _number(keys, "mamba_head_dim")
    state = _number(keys, "ssm_state_size")
    return StateShape(
        conv_channels=heads * width + 2 * _number(keys, "n_groups") * state,
        conv_tokens=_number(keys, "conv_kernel") - 1,
        heads=heads,
        head_elements=width * state,
        head_element_bytes=element_bytes,
    )
