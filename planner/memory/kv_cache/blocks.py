"""The paged cache of vLLM: blocks that all layers share, and what a request takes of them.

In: the layers of a model, the ranks, bytes of an element. Out: BlockPool. Convention: as vLLM's
v1/core/kv_cache_utils.py does it (versions are named at each rule): layers that keep the same are
divided into groups of equal size, a block has one page for each layer of a group, and every group
has a table of blocks of its own, drawn from one pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, lcm

from planner.errors import UsageError
from planner.memory.kv_cache.layers import CacheLayers, LayerKind

_CHECKPOINT_TOKENS = 64
BLOCK_TOKENS = 16  # CacheConfig.DEFAULT_BLOCK_SIZE, vllm/config/cache.py


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRules:
    """How a version makes its pool."""

    knows_kinds: bool = True
    """Whether windows and states have groups; else each layer keeps every token."""
    padding_factor: float = 1.5
    """A kind with up to this times the layers of the smallest makes the group (padding)."""
    states_per_request: int = 2
    """Blocks of a request in a group of states: 1, and 2 where prefixes are kept (`align`)."""
    checkpoints_mamba: bool = False
    """Whether a request of a kept prefix has a block more, for the state where its prompt ends."""
    checkpoints_delta_net: bool = False
    """The same of gated delta nets, whose blocks then have a multiple of 64 tokens."""
    tokens_by_requests: bool = True
    """Whether the printed tokens are requests at once times their length."""
    steps_in_flight: int = 1
    """Steps whose tokens a window keeps besides its own: 2 where the next one is scheduled while
    the last one runs."""

    def alignment(self, layers: tuple[CacheLayers, ...]) -> int:
        """Returns the tokens of which the block of a model with states is a multiple.

        FLASHINFER_GDN_CHECKPOINT_ALIGNMENT, v1/attention/backends/gdn_attn.py.
        """
        is_aligned = self.checkpoints_delta_net and self.states_per_request > 1
        has_nets = any(one.state is not None and one.state.is_delta_net for one in layers)
        return _CHECKPOINT_TOKENS if is_aligned and has_nets else 1

    def states_of(self, layer: CacheLayers) -> int:
        """Returns the blocks of a request in a group of these layers, if they keep states."""
        if layer.state is None or self.states_per_request == 1:
            return self.states_per_request
        is_delta_net = layer.state.is_delta_net
        checkpoints = self.checkpoints_delta_net if is_delta_net else self.checkpoints_mamba
        return self.states_per_request + checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGroup:
    """Groups of layers that are alike: `groups` tables, each of blocks of `block_tokens`."""

    kind: LayerKind
    groups: int
    block_tokens: int
    window: int | None = None
    states: int = 0

    def request_blocks(self, length: int, in_flight_tokens: int) -> int:
        """Returns the blocks of one request of `length`, over all groups.

        A window holds its own tokens and those in flight; + 1, because it may begin inside a block
        (SlidingWindowSpec.max_memory_usage_bytes, v1/kv_cache_interface.py).
        """
        if self.kind is LayerKind.STATE:
            return self.groups * self.states
        if self.window is None:
            return self.groups * ceil(length / self.block_tokens)
        kept = min(self.window - 1 + in_flight_tokens, length)
        return self.groups * (ceil(kept / self.block_tokens) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPool:
    """The pool of blocks of one rank."""

    block_bytes: int
    """Of a block, with the pages of all layers of a group."""
    groups: tuple[BlockGroup, ...]
    in_flight_tokens: int
    """Tokens of the steps that are not settled."""
    tokens_by_requests: bool

    def blocks(self, cache_bytes: int) -> int:
        """Returns the blocks that fit into `cache_bytes`."""
        return max(0, cache_bytes // self.block_bytes)

    def request_blocks(self, length: int) -> int:
        """Returns the blocks of one request of `length` tokens."""
        return sum(group.request_blocks(length, self.in_flight_tokens) for group in self.groups)

    def request_bytes(self, length: int) -> int:
        """Returns the bytes of one request of `length` tokens, in whole blocks."""
        return self.request_blocks(length) * self.block_bytes

    def requests_at_once(self, cache_bytes: int, length: int) -> float:
        """Returns how many requests of `length` tokens the cache holds, as vLLM prints it."""
        return self.blocks(cache_bytes) / self.request_blocks(length)

    def tokens(self, cache_bytes: int, length: int) -> int:
        """Returns the size of the cache in tokens, as vLLM prints it for requests of `length`.

        Where all layers keep every token, it is the whole blocks times their tokens.
        """
        blocks = self.blocks(cache_bytes)
        if self.tokens_by_requests:
            return int(blocks / self.request_blocks(length) * length)
        tables = sum(group.groups for group in self.groups)
        return blocks // tables * min(group.block_tokens for group in self.groups)

    def longest(self, cache_bytes: int, limit: int) -> int:
        """Returns the longest request that fits, up to `limit` tokens; 0: none does."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.request_bytes(middle) <= cache_bytes:
                low = middle
            else:
                high = middle - 1
        return low


def block_pool(
    layers: tuple[CacheLayers, ...],
    *,
    ranks: int,
    element_bytes: float,
    model_element_bytes: int,
    step_tokens: int,
    rules: PoolRules,
    block_tokens: int = BLOCK_TOKENS,
    speculative_tokens: int = 0,
) -> BlockPool:
    """Returns the pool of a model. `element_bytes`: of keys and values; of states: the model's.

    With `speculative_tokens`, a head of one layer more proposes tokens: it keeps keys and values as
    the others do, and a request has a state for each of the tokens.

    Raises:
        UsageError: the pages of its layers cannot be made equal.
    """
    if not rules.knows_kinds:
        layers = tuple(_keeps_all(layer) for layer in layers)
        if any(layer.kind is LayerKind.STATE for layer in layers):
            raise UsageError(
                "this version of vllm (--engine-version) does not serve a model with states "
                "(Mamba, delta net): name 0.11 or newer"
            )
    if speculative_tokens:
        layers = tuple(_with_proposals(layers, speculative_tokens))
    pages = _Pages(ranks=ranks, element_bytes=element_bytes, model_bytes=model_element_bytes)
    blocks = pages.block_tokens(layers, lcm(block_tokens, rules.alignment(layers)), block_tokens)
    page_bytes = pages.page_bytes(layers, blocks)
    counts = _merged_counts(layers)
    group_layers = _group_layers(list(counts.values()), rules.padding_factor)
    return BlockPool(
        block_bytes=page_bytes * group_layers,
        groups=tuple(
            BlockGroup(
                kind=layer.kind,
                groups=ceil(count / group_layers),
                block_tokens=pages.own_block_tokens(layer, blocks, page_bytes),
                window=layer.window,
                states=rules.states_of(layer) + speculative_tokens,
            )
            for layer, count in counts.items()
        ),
        in_flight_tokens=step_tokens * rules.steps_in_flight,
        tokens_by_requests=rules.tokens_by_requests,
    )


def _keeps_all(layer: CacheLayers) -> CacheLayers:
    if layer.kind is not LayerKind.WINDOW:
        return layer
    return CacheLayers(
        kind=LayerKind.FULL,
        count=layer.count,
        kv_heads=layer.kv_heads,
        key_width=layer.key_width,
        value_width=layer.value_width,
    )


def _with_proposals(layers: tuple[CacheLayers, ...], tokens: int) -> Iterator[CacheLayers]:
    """Yields the layers with that of the head; convolutions look back by `tokens` more."""
    last = max(
        (place for place, one in enumerate(layers) if one.kind is not LayerKind.STATE), default=-1
    )
    for place, layer in enumerate(layers):
        if layer.state is not None:
            longer = replace(layer.state, conv_tokens=layer.state.conv_tokens + tokens)
            yield replace(layer, state=longer)
        else:
            yield replace(layer, count=layer.count + (place == last))


def _merged_counts(layers: tuple[CacheLayers, ...]) -> dict[CacheLayers, int]:
    """Returns the number of layers of each sort; sorts that differ in number alone are one."""
    counts: dict[tuple[object, ...], tuple[CacheLayers, int]] = {}
    for layer in layers:
        same = (
            layer.kind, layer.kv_heads, layer.key_width, layer.value_width, layer.window,
            layer.state,
        )  # fmt: skip
        first, count = counts.get(same, (layer, 0))
        counts[same] = (first, count + layer.count)
    return dict(counts.values())


def _group_layers(counts: list[int], padding_factor: float) -> int:
    """Returns the layers of a group: those of the smallest sort, or of the largest if near.

    _get_kv_cache_groups_uniform_page_size: 1.25 times since 0.12, 1.5 times since 0.18.
    """
    fewest, most = min(counts), max(counts)
    return most if most < fewest * padding_factor else fewest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pages:
    """Bytes of a page: the tokens of a block in one layer, on one rank."""

    ranks: int
    element_bytes: float
    model_bytes: int

    def token_bytes(self, layer: CacheLayers) -> int:
        return layer.token_bytes(self.ranks, self.element_bytes)

    def state_bytes(self, layer: CacheLayers) -> int:
        assert layer.state is not None, "a layer of states"
        return layer.state.rank_bytes(self.ranks, self.model_bytes)

    def block_tokens(self, layers: tuple[CacheLayers, ...], unit: int, smallest: int) -> int:
        """Returns the tokens of a block: with states as many units as a page needs to hold one.

        Platform._align_hybrid_block_size, vllm/platforms/interface.py.
        """
        tokens = [self.token_bytes(one) for one in layers if one.kind is not LayerKind.STATE]
        states = [self.state_bytes(one) for one in layers if one.kind is LayerKind.STATE]
        if not states or not tokens:
            return smallest
        return max(smallest, unit * ceil(max(states) / (unit * max(tokens))))

    def page_bytes(self, layers: tuple[CacheLayers, ...], block_tokens: int) -> int:
        """Returns the bytes of a page, which all layers share: those of the largest."""
        return max(
            self.state_bytes(one)
            if one.kind is LayerKind.STATE and all(x.kind is LayerKind.STATE for x in layers)
            else block_tokens * self.token_bytes(one)
            for one in layers
        )

    def own_block_tokens(self, layer: CacheLayers, block_tokens: int, page_bytes: int) -> int:
        """Returns the tokens of a block of this layer, whose page has the bytes of the largest.

        unify_kv_cache_spec_page_size: more tokens where that divides the page, else padding.
        """
        if layer.kind is LayerKind.STATE:
            return block_tokens
        own = block_tokens * self.token_bytes(layer)
        return block_tokens * (page_bytes // own) if page_bytes % own == 0 else block_tokens
