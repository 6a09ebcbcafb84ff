"""Models that give vectors or scores: without an output layer, and encoders without a cache.

In: ServedModel. Out: the model as it is served; NoCache, the CachePool of an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.roles import Role, role_of


def pooled(model: ServedModel) -> ServedModel:
    """Returns the model without its output layer (vllm/model_executor/models/adapters.py)."""
    kept = tuple(tensor for tensor in model.tensors if role_of(tensor) is not Role.HEAD)
    return replace(model, tensors=kept, is_pooled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCache:
    """What an encoder keeps of its tokens: nothing. A step has `step_tokens` of them at most."""

    step_tokens: int
    sequences: int

    def request_bytes(self, length: int) -> int:
        """Returns 0."""
        return 0

    def requests_at_once(self, cache_bytes: int, length: int) -> float:
        """Returns the requests of a step, if anything is left for the engine at all."""
        return float(min(self.sequences, self.step_tokens // length)) if cache_bytes >= 0 else 0.0

    def tokens(self, cache_bytes: int, length: int) -> int:
        """Returns the tokens of these."""
        return int(self.requests_at_once(cache_bytes, length)) * length

    def longest(self, cache_bytes: int, limit: int) -> int:
        """Returns the longest request: a step is made for a whole one."""
        return limit if cache_bytes >= 0 else 0
