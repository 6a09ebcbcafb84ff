"""Times the attention of a step of an engine that serves, and what it keeps of its tokens.

In: layers that keep the same, the requests of a step, a card. Out: Timed. Convention: a request
that writes a token reads its whole cache; a prompt is attention among its own tokens, and over
those that earlier chunks have left.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.hardware.specs import GpuSpec
from planner.memory.kv_cache.layers import CacheLayers, LayerKind
from planner.timing.measured.attention import attention_time
from planner.timing.measured.attention_form import HALF_BYTES
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import memory_rate
from planner.timing.serving.operands import Timed, half_dtype, product_rate
from planner.wire.kernel_facts import AttentionFacts

# Where torch's and the engines' kernels take groups of warps, cuDNN's figures are those of the
# engines (FlashAttention 3, TensorRT-LLM); elsewhere all have FlashAttention 2.
_GROUPED = (9, 10)
_UNKNOWN_SHARE, _UNKNOWN_FIXED_S, _UNKNOWN_SPREAD = 0.7, 10e-6, 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The part of prompts that a step reads: `sequences` with `tokens` each, after `past` more."""

    sequences: int
    tokens: int
    past: int = 0

    @property
    def rows(self) -> int:
        """Returns the tokens of all of them."""
        return self.sequences * self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Heads on one rank, and bytes of an element of keys and values."""

    queries: int
    ranks: int
    element_bytes: float
    is_causal: bool = True
    """Whether a token sees only those before it; those of an encoder see all."""


def writing_attention(
    layer: CacheLayers, requests: int, context: float, heads: Heads, card: GpuSpec
) -> Timed:
    """Returns the attention of one layer for a token of each request, with a cache of `context`."""
    if layer.kind is LayerKind.STATE:
        return _by_bytes(2 * requests * _state_bytes(layer, heads), card)
    kept = layer.kept_tokens(round(context))
    shrunk = max(1, round(kept * heads.element_bytes / HALF_BYTES))
    kv_heads = layer.rank_heads(heads.ranks)
    if layer.kind is LayerKind.LATENT:
        return _by_bytes(requests * kept * layer.key_width * heads.element_bytes, card)
    facts = AttentionFacts(
        backend=_backend(card),
        batch=requests,
        query_heads=max(heads.queries, kv_heads),
        key_heads=kv_heads,
        queries=1,
        keys=shrunk,
        head_width=layer.key_width,
        value_width=layer.value_width,
        is_causal=True,
    )
    found = _timed(facts, card)
    moved = requests * kept * layer.token_bytes(heads.ranks, heads.element_bytes)
    return found or _by_bytes(moved, card)


def reading_attention(layer: CacheLayers, prompts: Prompts, heads: Heads, card: GpuSpec) -> Timed:
    """Returns the attention of one layer for tokens of prompts."""
    if layer.kind is LayerKind.STATE:
        moved = prompts.rows * _state_row_bytes(layer, heads)
        return _by_bytes(moved + 2 * prompts.sequences * _state_bytes(layer, heads), card)
    is_latent = layer.kind is LayerKind.LATENT
    kv_heads = heads.queries if is_latent else layer.rank_heads(heads.ranks)
    width = 192 if is_latent else layer.key_width
    own = _prompt_part(layer, prompts, kv_heads, heads, width, card, is_causal=heads.is_causal)
    past = layer.kept_tokens(prompts.past)
    if not past:
        return own
    other = _prompt_part(layer, prompts, kv_heads, heads, width, card, is_causal=False, keys=past)
    return Timed(
        seconds=own.seconds + other.seconds,
        source=own.source,
        spread=max(own.spread, other.spread),
    )


def _prompt_part(
    layer: CacheLayers,
    prompts: Prompts,
    kv_heads: int,
    heads: Heads,
    width: int,
    card: GpuSpec,
    *,
    is_causal: bool,
    keys: int | None = None,
) -> Timed:
    facts = AttentionFacts(
        backend=_backend(card),
        batch=prompts.sequences,
        query_heads=max(heads.queries, kv_heads),
        key_heads=kv_heads,
        queries=prompts.tokens,
        keys=prompts.tokens if keys is None else keys,
        head_width=width,
        value_width=width,
        is_causal=is_causal,
        window=layer.window,
    )
    found = _timed(facts, card) if prompts.tokens > 1 else None
    if found is not None:
        return found
    pairs = prompts.rows * facts.keys * facts.query_heads / (2 if is_causal else 1)
    rate = product_rate(half_dtype(card), card).flops_per_s
    return Timed(
        seconds=4 * pairs * width / (_UNKNOWN_SHARE * rate) + _UNKNOWN_FIXED_S,
        source=TimeSource.FALLBACK,
        spread=_UNKNOWN_SPREAD,
    )


def _timed(facts: AttentionFacts, card: GpuSpec) -> Timed | None:
    dtype = half_dtype(card)
    found = attention_time(facts, dtype, card, rate=product_rate(dtype, card), is_backward=False)
    if found is None:
        return None
    return Timed(seconds=found.total_s, source=found.source, spread=found.spread)


def _by_bytes(moved: float, card: GpuSpec) -> Timed:
    """Returns the time of a kernel of which only the bytes are known."""
    return Timed(
        seconds=moved / (_UNKNOWN_SHARE * memory_rate(card)) + _UNKNOWN_FIXED_S,
        source=TimeSource.FALLBACK,
        spread=_UNKNOWN_SPREAD,
    )


def _backend(card: GpuSpec) -> str:
    return "cudnn" if (card.compute_capability or (0, 0))[0] in _GROUPED else "flash"


def _state_bytes(layer: CacheLayers, heads: Heads) -> int:
    assert layer.state is not None, "a layer of states"
    return layer.state.rank_bytes(heads.ranks, HALF_BYTES)


def _state_row_bytes(layer: CacheLayers, heads: Heads) -> float:
    """Returns the bytes that the passes over a prompt move for each token, in 16 bits."""
    assert layer.state is not None, "a layer of states"
    return 6 * HALF_BYTES * layer.state.conv_channels / heads.ranks
