"""Reads what vLLM prints about memory while it starts.

In: text of `plain`. Out: VllmBoot. Convention: where several processes print, the first one counts;
a figure that is not printed is None. Read in vLLM 0.2 to 0.33: vllm/worker/worker.py,
vllm/v1/worker/gpu_worker.py and vllm/v1/core/kv_cache_utils.py
(https://github.com/vllm-project/vllm).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from planner.units import GIB

_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?)"
_GIB = rf"{_NUMBER} ?Gi?B"
_PATTERNS: dict[str, tuple[str, ...]] = {
    "total": (
        rf"total_gpu_memory \({_GIB}\)",
        rf"Free memory on device (?:cuda:[0-9]+ )?\([0-9.]+/{_NUMBER} GiB\)",
    ),
    "utilization": (
        rf"gpu_memory_utilization \({_NUMBER}\)",
        rf"Desired GPU memory utilization is \({_NUMBER}",
    ),
    "weights": (
        rf"model weights take {_GIB}",
        rf"Actual usage is {_GIB} for weight",
        rf"Actual usage: {_GIB} for weight",
        rf"(?:Loading model weights|Model loading) took {_GIB}",
    ),
    "activation": (
        rf"PyTorch activation peak memory takes {_GIB}",
        rf"{_GIB} for peak activation",
    ),
    "outside": (rf"non_torch_memory takes {_GIB}", rf"{_GIB} for non-torch memory"),
    "consumed": (rf"{_GIB} for consumed memory",),
    "graphs_estimate": (rf"CUDA graph pool memory: [0-9.]+ GiB \(actual\), {_GIB} \(estimated\)",),
    "graphs": (
        rf"Graph capturing finished in [0-9.]+ secs?, took {_GIB}",
        rf"{_GIB} for CUDAGraph memory",
        rf"Estimated CUDA graph memory: {_GIB}",
    ),
    "kv_cache": (
        rf"Available KV cache memory: {_GIB}",
        rf"the rest of the memory reserved for KV Cache is {_GIB}",
        rf"larger than the available KV cache memory \({_GIB}\)",
    ),
    "needed": (rf"\({_GIB} KV cache is needed, which is larger",),
    "tokens": (
        r"GPU KV cache size: ([0-9,]+) tokens",
        r"tokens that can be stored in KV cache \(([0-9]+)\)",
    ),
    "blocks": (r"# (?:GPU|cuda) blocks: ([0-9]+)",),
    "length": (r"max seq len \(([0-9]+)\)", r"max_(?:seq|model)_len=([0-9]+)"),
    "fits": (r"the estimated maximum model length is ([0-9]+)",),
}
_FAILED = re.compile(
    "No available memory for the cache blocks|To serve at least one request with|"
    "is larger than the maximum number of tokens that can be stored in KV cache"
)
# One of them is in every such log; a search for numbers in a long log of something else is slow.
_WORDS = (
    "KV cache", "KV Cache", "model weights", "Model loading", "Graph capturing", "CUDA graph",
    "CUDAGraph", "GPU blocks", "cuda blocks",
)  # fmt: skip
_OWN = ("weights", "activation", "graphs", "kv_cache", "tokens", "blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmBoot:
    """The memory of one start of vLLM. None: the log does not say it."""

    total_bytes: int | None
    """Memory of the card."""
    utilization: float | None
    """Share of it that vLLM may take, gpu_memory_utilization."""
    weights_bytes: int | None
    """Weights of the model, of one process."""
    activation_bytes: int | None
    """Most that a step takes while vLLM profiles it."""
    outside_bytes: int | None
    """What stays beside the weights: memory outside of PyTorch that came after vLLM began to count,
    so without the context; in newer versions also tensors of the engine itself."""
    graphs_bytes: int | None
    """CUDA graphs."""
    graphs_estimate_bytes: int | None
    """CUDA graphs as vLLM estimates them before it captures them; a part of `activation_bytes`."""
    kv_cache_bytes: int | None
    """KV cache; negative: nothing was left for it."""
    kv_cache_needed_bytes: int | None
    """KV cache that one request of the longest length needs, where it is too small."""
    kv_cache_tokens: int | None
    """Tokens that the KV cache holds."""
    kv_cache_blocks: int | None
    """Blocks of the KV cache, as older versions print it."""
    longest_sequence: int | None
    """Tokens of the longest request that was configured."""
    fitting_sequence: int | None
    """Tokens of the longest request for which the KV cache would do, where vLLM says it."""
    has_failed: bool
    """It ended because the KV cache was too small."""

    def to_dict(self) -> dict[str, object]:
        """Returns the JSON object."""
        return asdict(self)


def vllm_boot(text: str) -> VllmBoot | None:
    """Returns what the log says; None where it is no log of vLLM's start."""
    if not any(word in text for word in _WORDS):
        return None
    found = {name: _first(patterns, text) for name, patterns in _PATTERNS.items()}
    has_failed = _FAILED.search(text) is not None
    if not has_failed and all(found[name] is None for name in _OWN):
        return None
    weights, outside = _gib(found["weights"]), _gib(found["outside"])
    consumed = _gib(found["consumed"])
    if outside is None and consumed is not None and weights is not None:
        outside = consumed - weights
    return VllmBoot(
        total_bytes=_gib(found["total"]),
        utilization=None if found["utilization"] is None else float(found["utilization"]),
        weights_bytes=weights,
        activation_bytes=_gib(found["activation"]),
        outside_bytes=outside,
        graphs_bytes=_gib(found["graphs"]),
        graphs_estimate_bytes=_gib(found["graphs_estimate"]),
        kv_cache_bytes=_gib(found["kv_cache"]),
        kv_cache_needed_bytes=_gib(found["needed"]),
        kv_cache_tokens=_whole(found["tokens"]),
        kv_cache_blocks=_whole(found["blocks"]),
        longest_sequence=_whole(found["length"]),
        fitting_sequence=_whole(found["fits"]),
        has_failed=has_failed,
    )


def _first(patterns: tuple[str, ...], text: str) -> str | None:
    matches = (re.search(pattern, text) for pattern in patterns)
    return next((match[1] for match in matches if match is not None), None)


def _gib(number: str | None) -> int | None:
    """Returns bytes; vLLM divides by 2**30 also where it prints GB."""
    return None if number is None else round(float(number) * GIB)


def _whole(number: str | None) -> int | None:
    return None if number is None else int(number.replace(",", ""))
