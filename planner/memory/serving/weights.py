"""Bytes of the weights on one rank of a tensor-parallel group.

In: ServedModel, WeightFormat, ranks. Out: bytes. Convention: as vLLM divides a model
(model_executor/layers/linear.py, vocab_parallel_embedding.py, 0.33.0): heads and wide layers by
rank, norms and routers whole on each, a head of keys at least one to a rank, the vocabulary filled
up to a multiple of 64.
"""

from __future__ import annotations

from math import ceil, prod

from planner.config.model_shapes import WeightShape
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.kv_cache.layers import LayerKind
from planner.memory.serving.formats import WeightFormat
from planner.memory.serving.gguf import GgufModel
from planner.memory.serving.roles import Role, role_of

VOCABULARY_MULTIPLE = 64  # DEFAULT_VOCAB_PADDING_SIZE
_WHOLE = frozenset({Role.SMALL, Role.ROUTER, Role.PATCHES, Role.LATENT_DOWN})
INTO_HIDDEN = frozenset({Role.DOWN, Role.EXPERT_DOWN, Role.ATTENTION_OUT})
_BY_VOCABULARY = frozenset({Role.EMBEDDING, Role.HEAD})
_EXPERTS = frozenset({Role.EXPERT_UP, Role.EXPERT_DOWN})
_OF_A_LAYER = frozenset(
    {Role.QUERY, Role.KEY, Role.VALUE, Role.QKV, Role.ATTENTION_OUT, Role.UP, Role.DOWN, *_EXPERTS}
)
_FLOAT32 = "float32"


def weight_bytes(model: ServedModel, weights: WeightFormat, ranks: int) -> int:
    """Returns the bytes of the weights on one of `ranks`; a tied weight counts once."""
    total = 0.0
    for tensor in model.tensors:
        role = role_of(tensor)
        bits = 32.0 if tensor.dtype == _FLOAT32 else weights.bits(role)
        elements = _rank_elements(model, tensor, role, ranks)
        if weights.name == "mxfp4" and role in _EXPERTS:
            elements *= _filled_share(model, ranks)
        total += elements * bits / 8
    return round(total)


def proposing_head_bytes(model: ServedModel, ranks: int) -> int:
    """Returns the bytes on one rank of a head for multi-token prediction, in 16 bits.

    It has a layer of attention like the others, and a matrix from two hidden vectors to one
    (vllm/model_executor/models/qwen3_next_mtp.py); quantised checkpoints keep it in 16 bits.
    """
    layer = sum(
        _rank_elements(model, tensor, role, ranks) / tensor.count
        for tensor in model.tensors
        if (role := role_of(tensor)) in _OF_A_LAYER
    )
    return round(2 * (layer + 2 * model.hidden_size**2 / ranks))


def rotary_bytes(model: ServedModel) -> int:
    """Returns the bytes of the tables of cosines and sines for all positions, in 16 bits.

    vllm/model_executor/layers/rotary_embedding/base.py: a table for each set of parameters, on
    every rank whole.
    """
    return 2 * model.longest_context * sum(model.rotary_widths)


def _filled_share(model: ServedModel, ranks: int) -> float:
    """Returns stored over own elements of experts in MXFP4, whose kernels want round sizes.

    Hidden size up to a multiple of 256, the wide one of a rank up to one of 128
    (mxfp4_round_up_hidden_size_and_intermediate_size, fused_moe/oracle/mxfp4.py, vLLM 0.24.0).
    """
    wide = ceil(model.expert_size / ranks)
    hidden = ceil(model.hidden_size / 256) * 256
    return hidden / model.hidden_size * ceil(wide / 128) * 128 / wide


def _rank_elements(model: ServedModel, tensor: WeightShape, role: Role, ranks: int) -> float:
    elements = float(tensor.elements)
    if role in _BY_VOCABULARY:
        rows = tensor.shape[0]
        filled = ceil(rows / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        return filled / ranks * tensor.count * prod(tensor.shape[1:])
    if role in _WHOLE or len(tensor.shape) < 2:
        return elements
    if role in (Role.KEY, Role.VALUE):
        return elements * _kv_share(model, tensor, ranks)
    if role is Role.QKV:
        heads, kv_heads = model.attention_heads, model.kv_heads
        on_rank = heads / ranks + 2 * max(1, kv_heads // ranks)
        return elements * on_rank / (heads + 2 * kv_heads)
    return elements / ranks


def _kv_share(model: ServedModel, tensor: WeightShape, ranks: int) -> float:
    """Returns the share of a matrix for keys or values that one rank has."""
    if model.head_width * model.kv_heads in tensor.shape:
        heads = model.kv_heads
    else:  # layers of another kind have heads of their own
        widths = {
            layer.key_width * layer.kv_heads: layer.kv_heads
            for layer in model.layers
            if layer.kind is not LayerKind.STATE
        }
        heads = next((widths[one] for one in tensor.shape if one in widths), model.kv_heads)
    return max(1, heads // ranks) / heads


def out_and_in(model: ServedModel, role: Role, shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the sides of a matrix: elements that come out, and those that go in.

    A weight is (out, in) or, as in GPT-2 and gpt-oss, (in, out): the hidden size says which.
    """
    first, second = shape
    hidden = model.hidden_size
    is_turned = first == hidden != second
    if role in INTO_HIDDEN:
        is_turned = second == hidden != first
    return (second, first) if is_turned else (first, second)


def rank_sides(model: ServedModel, tensor: WeightShape, role: Role, ranks: int) -> tuple[int, int]:
    """Returns the sides of a matrix on one of `ranks`, out and in."""
    out, into = out_and_in(model, role, tensor.shape[-2:])
    share = _rank_elements(model, tensor, role, ranks) / tensor.elements
    if role in INTO_HIDDEN:
        return out, max(1, round(share * into))
    return max(1, round(share * out)), into


def check_ranks(model: ServedModel, ranks: int) -> None:
    """Refuses a number of ranks over which the model cannot be divided.

    Raises:
        UsageError: the heads are not divisible by it; the message says which numbers do.
    """
    heads, kv_heads = model.attention_heads, model.kv_heads

    def divides(number: int) -> bool:
        return heads % number == 0 and (kv_heads % number == 0 or number % kv_heads == 0)

    if not divides(ranks):
        possible = [number for number in (1, 2, 3, 4, 5, 6, 7, 8, 16) if divides(number)]
        raise UsageError(
            f"tensor_parallel {ranks} (--tensor-parallel) does not divide the heads of the model: "
            f"{heads} of attention, {kv_heads} of keys and values; possible are "
            f"{', '.join(map(str, possible))}"
        )


def gguf_model(model: ServedModel) -> GgufModel:
    """Returns what the type of a tensor in a GGUF file depends on."""
    return GgufModel(
        tensors=model.tensors,
        is_tied=model.is_tied,
        experts=model.experts,
        heads_per_kv_head=model.attention_heads // model.kv_heads,
        is_falcon=model.model_type == "falcon",
    )
