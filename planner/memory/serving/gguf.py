"""GGUF files of llama.cpp: the type of each tensor in a mixture such as Q4_K_M, and its bits.

In: tensors with their roles. Out: bytes. Convention: the rules are those of llama.cpp's
src/llama-quant.cpp (llama_tensor_get_type_impl, read at commit 007dbbf) for a model without an
importance matrix; norms and other small tensors are float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.config.model_shapes import WeightShape
from planner.errors import UsageError
from planner.memory.serving.roles import Role, role_of

# Bits of a weight, scales included: ggml/src/ggml-common.h, sizes of the block_* structures.
_BITS: Mapping[str, float] = {
    "F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q5_0": 5.5,
    "Q5_1": 6.0, "Q4_K": 4.5, "Q4_0": 4.5, "Q4_1": 5.0, "Q3_K": 3.4375, "Q2_K": 2.625,
    "MXFP4": 4.25,
}  # fmt: skip
_BLOCK = 256  # weights of a block of the K types
_SMALLER: Mapping[str, str] = {  # tensor_type_fallback, where a row is no whole number of blocks
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
_BASE: Mapping[str, str] = {
    "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K",
    "Q5_K_S": "Q5_K", "Q5_0": "Q5_0", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q4_0": "Q4_0",
    "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K", "Q2_K": "Q2_K", "MXFP4": "MXFP4",
}  # fmt: skip
MIXTURES = tuple(_BASE)
_FLOAT32 = frozenset({Role.SMALL, Role.ROUTER})
_SEPARATE = frozenset({Role.VISION, Role.PATCHES})  # in a file of its own (mmproj)
_DOWN = frozenset({Role.DOWN, Role.EXPERT_DOWN})
_EXPERTS_OF_MIXTRAL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """What the mixture depends on besides the tensors."""

    tensors: tuple[WeightShape, ...]
    is_tied: bool
    experts: int
    heads_per_kv_head: int
    is_falcon: bool


def check_mixture(name: str) -> str:
    """Returns the name of a mixture, in capitals.

    Raises:
        UsageError: it is none that is known here.
    """
    if name.upper() not in _BASE:
        raise UsageError(
            f"no mixture {name!r} of GGUF (--quant gguf:NAME); known are {', '.join(MIXTURES)}"
        )
    return name.upper()


def gguf_bytes(model: GgufModel, mixture: str, *, on_the_card: bool = True) -> int:
    """Returns the bytes of the weights.

    `on_the_card`: those that llama.cpp brings to the card with --n-gpu-layers of all: without the
    embedding, which stays on the host, and with the output layer, which a tied model has twice.
    """
    total = 0.0
    for tensor in model.tensors:
        role = role_of(tensor)
        if role in _SEPARATE:
            continue
        if role is Role.EMBEDDING and on_the_card and not model.is_tied:
            continue
        total += _tensor_bits(model, mixture, tensor, role)
    return round(total / 8)


def _tensor_bits(model: GgufModel, mixture: str, tensor: WeightShape, role: Role) -> float:
    if role in _FLOAT32:
        return tensor.elements * _BITS["F32"]
    each = tensor.elements / tensor.count
    return sum(
        each * _BITS[_fitting(_type(model, mixture, role, layer, tensor.count), tensor)]
        for layer in range(tensor.count)
    )


def _fitting(name: str, tensor: WeightShape) -> str:
    row = tensor.shape[-1]
    return _SMALLER[name] if name in _SMALLER and row % _BLOCK else name


def _more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _type(model: GgufModel, mixture: str, role: Role, layer: int, layers: int) -> str:
    """Returns the type of a tensor of the layer-th of `layers` layers."""
    base = _BASE[mixture]
    if base in ("F16", "BF16"):
        return base
    if mixture == "MXFP4":
        return base if role in (Role.EXPERT_UP, Role.EXPERT_DOWN) else "Q8_0"
    if role is Role.HEAD or (role is Role.EMBEDDING and model.is_tied):
        return "Q8_0" if base == "Q8_0" or model.is_falcon else "Q6_K"
    if role in (Role.VALUE, Role.QKV):
        return _value_type(model, mixture, base, layer, layers)
    if role is Role.KEY and model.experts == _EXPERTS_OF_MIXTRAL:
        return "Q8_0"
    if role in _DOWN:
        return _down_type(model, mixture, base, layer, layers)
    if role is Role.ATTENTION_OUT and not model.is_falcon:
        if model.experts == _EXPERTS_OF_MIXTRAL:
            mixed = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M")
            return "Q5_K" if mixture in mixed else base
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(mixture, base)
    return base


def _value_type(model: GgufModel, mixture: str, base: str, layer: int, layers: int) -> str:
    found = base
    if mixture == "Q2_K":
        found = "Q4_K" if model.heads_per_kv_head >= 4 else "Q3_K"
    elif mixture == "Q3_K_M":
        found = "Q5_K" if layer < 2 else "Q4_K"
    elif mixture == "Q3_K_L" or (mixture == "Q4_K_S" and layer < 4):
        found = "Q5_K"
    elif mixture in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, layers):
        found = "Q6_K"
    return "Q8_0" if model.experts == _EXPERTS_OF_MIXTRAL else found


def _down_type(model: GgufModel, mixture: str, base: str, layer: int, layers: int) -> str:
    more = _more_bits(layer, layers)
    if mixture == "Q2_K":
        return "Q3_K"
    if mixture == "Q3_K_M":
        if layer < layers // 16:
            return "Q5_K"
        return "Q4_K" if not model.is_falcon or more else "Q3_K"
    if mixture == "Q3_K_L":
        return "Q4_K" if model.is_falcon else "Q5_K"
    if mixture == "Q4_K_M" and model.is_falcon:
        return "Q6_K" if layer < layers // 16 else "Q5_K" if more else "Q4_K"
    if mixture in ("Q4_K_M", "Q5_K_M") and more:
        return "Q6_K"
    if mixture == "Q4_K_S" and not model.is_falcon and layer < layers // 8:
        return "Q5_K"
    return base
