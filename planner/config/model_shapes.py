"""A published language model as shapes: its tensors, and the keys that decide its cache.

In: nothing; planner/worker/published/shapes.py fills them, or planner/catalog has them. Out: frozen
records. Convention: a number between two points of a name is written `*`, so that the layers of a
model that are alike are one record with a count; a tied weight is counted once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

# Keys of a config, or of the part of it that is the language model, which decide the shapes of the
# cache, of a profile run, or how long a context may be.
_KEYS = (
    "model_type", "hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer", "num_layers",
    "num_attention_heads", "n_head", "num_key_value_heads", "num_kv_heads", "multi_query",
    "new_decoder_architecture", "head_dim", "intermediate_size", "ffn_dim", "n_inner", "vocab_size",
    "max_position_embeddings", "n_positions", "tie_word_embeddings", "layer_types",
    "layers_block_type", "sliding_window", "use_sliding_window", "max_window_layers",
    "attention_chunk_size", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim",
    "index_head_dim", "per_layer_config", "num_kv_shared_layers", "linear_conv_kernel_dim",
    "linear_num_key_heads",
    "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim", "mamba_ssm_dtype",
    "mamba_ssm_cache_dtype", "mamba_num_heads", "mamba_head_dim", "ssm_state_size", "n_groups",
    "conv_kernel", "moe_intermediate_size", "num_experts", "num_local_experts", "n_routed_experts",
    "num_experts_per_tok", "top_k_experts", "is_encoder_decoder", "alibi",
    "rope_parameters",
    "rope_theta", "partial_rotary_factor", "rotary_dim",
)  # fmt: skip
# The part of a config with several parts that is the language model.
_PARTS = ("text_config", "llm_config", "thinker_config")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightShape:
    """Parameters of a model that are alike: name with `*` for numbers, shape, dtype, how many."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As in torch: `bfloat16`."""
    count: int

    @property
    def elements(self) -> int:
        """Returns the elements of all of them together."""
        return self.count * prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShapes:
    """A language model as shapes."""

    tensors: tuple[WeightShape, ...]
    config: str
    """JSON object: the keys of the language model's config that decide its cache."""
    has_vision: bool
    """Whether it reads images: its config has a part for them."""
    built_by: str
    """The class, and the version of the library that has it."""
    is_encoder: bool = False
    """Whether it reads a text in both directions, and writes none (BERT)."""

    @property
    def parameters(self) -> int:
        """Returns the number of parameters, tied ones counted once."""
        return sum(tensor.elements for tensor in self.tensors)

    def keys(self) -> dict[str, Any]:
        """Returns the keys of the config."""
        found: dict[str, Any] = json.loads(self.config)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, which `shapes_from` reads."""
        return {
            **({"is_encoder": True} if self.is_encoder else {}),
            "built_by": self.built_by,
            "has_vision": self.has_vision,
            "config": self.keys(),
            "tensors": [
                [tensor.name, list(tensor.shape), tensor.dtype, tensor.count]
                for tensor in self.tensors
            ],
        }


def shapes_from(document: Mapping[str, Any]) -> ModelShapes:
    """Returns the shapes of a document of `ModelShapes.to_dict`."""
    return ModelShapes(
        built_by=document["built_by"],
        has_vision=document["has_vision"],
        config=json.dumps(document["config"]),
        is_encoder=document.get("is_encoder", False),
        tensors=tuple(
            WeightShape(name=name, shape=tuple(shape), dtype=dtype, count=count)
            for name, shape, dtype, count in document["tensors"]
        ),
    )


def tensor_shapes(
    tensors: Iterable[tuple[str, tuple[int, ...], str]],
) -> tuple[WeightShape, ...]:
    """Returns parameters by name, shape and dtype, with those of like layers put together."""
    counted = Counter((_NUMBER.sub("*", name), shape, dtype) for name, shape, dtype in tensors)
    return tuple(
        WeightShape(name=name, shape=shape, dtype=dtype, count=count)
        for (name, shape, dtype), count in counted.items()
    )


def deciding_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys that decide the cache: of the language model where there are more parts."""
    part = next((config[one] for one in _PARTS if isinstance(config.get(one), Mapping)), None)
    own: Mapping[str, Any] = config if part is None else {**_shared(config), **deciding_keys(part)}
    return {key: own[key] for key in _KEYS if own.get(key) is not None}


def _shared(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: config[key] for key in ("tie_word_embeddings",) if key in config}
