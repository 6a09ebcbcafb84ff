"""Formats of quantised weights: bits of a weight, and which weights are in which format.

In: the name of a format, or the quantization_config of a config.json. Out: WeightFormat, and the
bits of each role. Convention: bits of a weight hold its share of scales and zero points, with the
group sizes that the published checkpoints have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import UsageError
from planner.memory.serving.roles import Role

SIXTEEN = 16.0
_KEPT = frozenset(
    {Role.EMBEDDING, Role.HEAD, Role.SMALL, Role.ROUTER, Role.PATCHES, Role.VISION, Role.STATE_GATE}
)
_EXPERTS = frozenset({Role.EXPERT_UP, Role.EXPERT_DOWN})
_FEED_FORWARD = frozenset({Role.UP, Role.DOWN, *_EXPERTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFormat:
    """A format of weights. `bits` returns those of a weight of a role, scales included."""

    name: str
    words: str
    bits: Callable[[Role], float]
    vllm_argument: str | None = None
    """The value of vLLM's --quantization, where the checkpoint alone does not say it."""

    @property
    def bits_of_products(self) -> float:
        """Returns the bits of a weight of the wide part, or of experts where these have fewer."""
        return min(self.bits(Role.UP), self.bits(Role.EXPERT_UP))


def _linear(bits: float) -> Callable[[Role], float]:
    return lambda role: SIXTEEN if role in _KEPT else bits


def _experts_alone(bits: float) -> Callable[[Role], float]:
    return lambda role: bits if role in _EXPERTS else SIXTEEN


def grouped_bits(bits: float, scale_bits: float, zero_bits: float, group: int) -> float:
    """Returns the bits of a weight whose scale and zero point are shared by `group` weights."""
    return bits + (scale_bits + zero_bits) / group


# Group sizes: AWQ and GPTQ, 128 (transformers, utils/quantization_config.py, AwqConfig and the
# published GPTQ checkpoints), a 16-bit scale and a 4-bit zero point; compressed-tensors W4A16
# without zero points. FP8: a float32 scale for 128 x 128 weights (weight_block_size of the
# published Qwen3-*-FP8). NVFP4: an FP8 scale for 16 weights (group_size of hf_quant_config.json).
# MXFP4: an 8-bit exponent for 32 (OCP Microscaling Formats 1.0, section 5). bitsandbytes: a float32
# maximum for 64 (bitsandbytes/functional.py, quantize_4bit).
PLAIN = WeightFormat(name="16bit", words="weights in 16 bits", bits=lambda role: SIXTEEN)
_FORMATS = (
    WeightFormat(
        name="fp8", words="FP8 weights, scales in blocks of 128 x 128",
        bits=_linear(grouped_bits(8, 32, 0, 128 * 128)), vllm_argument="fp8",
    ),
    WeightFormat(name="int8", words="weights in 8 bits", bits=_linear(8)),
    WeightFormat(
        name="awq", words="AWQ, 4 bits in groups of 128", bits=_linear(grouped_bits(4, 16, 4, 128))
    ),
    WeightFormat(
        name="gptq", words="GPTQ, 4 bits in groups of 128",
        bits=_linear(grouped_bits(4, 16, 4, 128)),
    ),
    WeightFormat(
        name="w4a16", words="4 bits in groups of 128, without zero points",
        bits=_linear(grouped_bits(4, 16, 0, 128)),
    ),
    WeightFormat(
        name="nvfp4", words="NVFP4, scales of 16 weights", bits=_linear(grouped_bits(4, 8, 0, 16))
    ),
    WeightFormat(
        name="mxfp4", words="MXFP4 experts, scales of 32 weights",
        bits=_experts_alone(grouped_bits(4, 8, 0, 32)),
    ),
    WeightFormat(
        name="nf4", words="bitsandbytes NF4, scales of 64 weights",
        bits=_linear(grouped_bits(4, 32, 0, 64)), vllm_argument="bitsandbytes",
    ),
)  # fmt: skip
FORMATS: Mapping[str, WeightFormat] = {one.name: one for one in _FORMATS}


def _nvfp4_of_hybrids(role: Role) -> float:
    """Returns the bits of NVIDIA's mixed checkpoints of models with states.

    Feed-forward and output in NVFP4, attention and states in FP8 (quantized_layers of the published
    nvidia/Qwen3.6-35B-A3B-NVFP4 and nvidia/Qwen3.6-27B-NVFP4, config.json).
    """
    if role in _FEED_FORWARD or role is Role.HEAD:
        return grouped_bits(4, 8, 0, 16)
    return SIXTEEN if role in _KEPT else 8.0


NVFP4_OF_HYBRIDS = WeightFormat(
    name="nvfp4", words="NVFP4, attention and states in FP8", bits=_nvfp4_of_hybrids
)

# How config.json names a format: quant_method, and the bits of it.
_METHODS: Mapping[str, str] = {
    "awq": "awq", "gptq": "gptq", "fp8": "fp8", "mxfp4": "mxfp4", "auto-round": "gptq",
}  # fmt: skip


def format_of_config(quantization: Mapping[str, Any]) -> str | None:
    """Returns the name of the format that a quantization_config states; None: it is not known."""
    method = str(quantization.get("quant_method", ""))
    if method == "bitsandbytes":
        return "nf4" if quantization.get("load_in_4bit") else "int8"
    algorithm = str(quantization.get("quant_algo", "")).lower()
    if method == "modelopt" or algorithm:
        return next((name for name in ("nvfp4", "fp8") if name in algorithm), None) or (
            "nvfp4" if algorithm == "mixed_precision" else None
        )
    if method == "compressed-tensors":
        return _of_compressed_tensors(quantization)
    found = _METHODS.get(method)
    if found in ("awq", "gptq") and quantization.get("bits", 4) != 4:
        return None
    return found


def _of_compressed_tensors(quantization: Mapping[str, Any]) -> str | None:
    groups = quantization.get("config_groups") or {}
    weights = next((one.get("weights") or {} for one in groups.values()), {})
    bits, kind = weights.get("num_bits"), weights.get("type")
    if bits == 8:
        return "fp8" if kind == "float" else "int8"
    if bits == 4:
        return "nvfp4" if kind == "float" else "w4a16"
    return None


def named_format(name: str, *, has_states: bool, has_experts: bool) -> WeightFormat:
    """Returns the format of this name, for a model with or without states and experts.

    Raises:
        UsageError: no such format, or the model has no part that is in it.
    """
    if name == "nvfp4" and has_states:
        return NVFP4_OF_HYBRIDS
    if name == "mxfp4" and not has_experts:
        raise UsageError(
            "quant mxfp4 (--quant) is a format of experts, and the model has none: leave it out, "
            "or name another one"
        )
    if name not in FORMATS:
        raise UsageError(f"no format of weights {name!r} (--quant); known are {', '.join(FORMATS)}")
    return FORMATS[name]
