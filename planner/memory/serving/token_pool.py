"""A cache that is divided token by token, or by blocks of a fixed number of tokens.

In: the layers of a model. Out: TokenPool, the CachePool of engines without groups of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from planner.memory.kv_cache.layers import CacheLayers, LayerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPool:
    """What requests take, layer by layer.

    `window_share`: a WINDOW layer keeps this share of all tokens, by the engine's own division;
    None: it keeps those of its window. `beside` are bytes of a request besides the cache.
    """

    layers: tuple[CacheLayers, ...]
    ranks: int
    element_bytes: float
    block_tokens: int = 1
    window_share: float | None = None
    beside: Callable[[int], int] | None = None

    def request_bytes(self, length: int) -> int:
        """Returns the bytes of one request of `length` tokens."""
        return sum(self._layer_bytes(layer, length) for layer in self.layers) + (
            self.beside(length) if self.beside else 0
        )

    def _layer_bytes(self, layer: CacheLayers, length: int) -> int:
        if layer.state is not None:
            return layer.count * layer.state.rank_bytes(self.ranks, 2)
        whole = ceil(length / self.block_tokens) * self.block_tokens
        kept = whole
        if layer.kind is LayerKind.WINDOW:
            share = self.window_share
            kept = layer.kept_tokens(whole) if share is None else round(share * whole)
        return layer.count * kept * layer.token_bytes(self.ranks, self.element_bytes)

    def requests_at_once(self, cache_bytes: int, length: int) -> float:
        """Returns how many requests of `length` tokens the cache holds."""
        return max(0, cache_bytes) / self.request_bytes(length)

    def tokens(self, cache_bytes: int, length: int) -> int:
        """Returns the tokens of requests of `length` that the cache holds."""
        return int(self.requests_at_once(cache_bytes, length) * length)

    def longest(self, cache_bytes: int, limit: int) -> int:
        """Returns the longest request that fits, up to `limit` tokens; 0: none does."""
        return longest_request(self.request_bytes, cache_bytes, limit)


def longest_request(request_bytes: Callable[[int], int], cache_bytes: int, limit: int) -> int:
    """Returns the longest request that fits, where longer ones never take less."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if request_bytes(middle) <= cache_bytes:
            low = middle
        else:
            high = middle - 1
    return low
