"""vLLM's defaults, version by version.

In: a version, a card, a ServingConfig. Out: VllmRules, VllmSettings. Convention: read in the
published wheels of 0.8.5, 0.10.2, 0.11.0, 0.11.2, 0.13.0, 0.16.0, 0.17.1, 0.18.1, 0.19.1, 0.20.0,
0.20.2, 0.21.0, 0.22.1, 0.24.0 to 0.29.0 and 0.33.0; a rule holds from the first version that has
it. Before 0.8 the engine is V0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.config.serving import ServingConfig
from planner.memory.kv_cache.blocks import PoolRules
from planner.units import GIB

NEWEST = (0, 33, 0)
_V1 = (0, 8)
_SMALL_STEP, _LARGE_STEP, _LARGEST_STEP = 2048, 8192, 16384
_FEW, _MANY = 256, 1024
_MOST_GRAPH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmRules:
    """The rules of one version."""

    version: tuple[int, ...]

    @property
    def is_v1(self) -> bool:
        """Returns whether the engine is V1: prefill in chunks, one profile run of a whole step."""
        return self.version >= _V1

    @property
    def utilization(self) -> float:
        """Returns the default of --gpu-memory-utilization (vllm/config/cache.py)."""
        return 0.92 if self.version >= (0, 20) else 0.90

    @property
    def counts_graphs(self) -> bool:
        """Returns whether the estimate of CUDA graphs comes out of the budget.

        VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS is on by default (vllm/envs.py).
        """
        return self.version >= (0, 20)

    @property
    def has_sampling_kernel(self) -> bool:
        """Returns whether sampling does without a sort (v1/sample/ops/topk_topp_triton.py)."""
        return self.version >= (0, 17)

    @property
    def pool(self) -> PoolRules:
        """Returns how the pool of blocks is made (vllm/v1/core/kv_cache_utils.py).

        From 0.26 on a window keeps the tokens of all steps in flight (VllmConfig.
        max_in_flight_tokens, vllm/config/vllm.py): two, since a step is scheduled while one runs.
        """
        padding = 1.0 if self.version < (0, 12) else 1.25 if self.version < (0, 18) else 1.5
        return PoolRules(
            knows_kinds=self.version >= (0, 10),
            padding_factor=padding,
            states_per_request=2 if self.keeps_prefixes_of_hybrids else 1,
            tokens_by_requests=self.version >= (0, 20, 2),
            checkpoints_mamba=self.version >= (0, 32),
            steps_in_flight=2 if self.version >= (0, 26) else 1,
        )

    def pool_on(self, compute_capability: tuple[int, int]) -> PoolRules:
        """Returns the same for a card: FlashInfer's kernels keep a state more of a delta net.

        _resolve_gdn_prefill_backend, model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, in
        the wheels for CUDA 13.
        """
        has_kernels = compute_capability == (9, 0) or compute_capability[0] in (10, 12)
        keeps = self.version >= (0, 33) and has_kernels
        return replace(self.pool, checkpoints_delta_net=keeps)

    @property
    def keeps_prefixes_of_hybrids(self) -> bool:
        """Returns whether models with states keep prefixes (vllm/config/model.py)."""
        return self.version >= (0, 26)

    def step_tokens(self, total_bytes: int, card: str, longest: int) -> int:
        """Returns the default of --max-num-batched-tokens for the server (engine/arg_utils.py).

        V0 does not cut prompts into chunks up to 32768 tokens, so a step holds a whole one.
        """
        if not self.is_v1:
            return max(longest, _SMALL_STEP) if longest <= 32768 else _SMALL_STEP
        if self.version >= (0, 28) and total_bytes >= 160 * GIB:
            return _LARGEST_STEP
        return _LARGE_STEP if self._is_large(total_bytes, card) else _SMALL_STEP

    def sequences(self, total_bytes: int, card: str) -> int:
        """Returns the default of --max-num-seqs (engine/arg_utils.py, get_batch_defaults)."""
        return _MANY if self.is_v1 and self._is_large(total_bytes, card) else _FEW

    def _is_large(self, total_bytes: int, card: str) -> bool:
        """Returns whether the card has 70 GiB; A100s are left out since 0.9 (PR 17885)."""
        is_a100 = "a100" in card.lower() and self.version >= (0, 9)
        is_gb10 = "gb10" in card.lower() and self.version >= (0, 33)
        return total_bytes >= 70 * GIB and not is_a100 and not is_gb10


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmSettings:
    """The settings of a start, each given or by default."""

    rules: VllmRules
    utilization: float
    max_model_len: int
    step_tokens: int
    sequences: int
    graph_sizes: tuple[int, ...]
    graph_sets: int = 1
    """2 with adapters: each graph is captured with and without them."""


def vllm_settings(
    config: ServingConfig,
    *,
    total_bytes: int,
    card: str,
    longest: int,
    reads_whole: bool = False,
) -> VllmSettings:
    """Returns the settings of a start; `longest`: what the model can.

    `reads_whole`: an encoder, whose texts are not cut into chunks (is_chunked_prefill_supported,
    vllm/config/model.py), so that a step holds a whole one.
    """
    rules = VllmRules(version=config.version or NEWEST)
    length = config.max_model_len or longest
    sequences = config.max_num_seqs or rules.sequences(total_bytes, card)
    tokens = config.max_num_batched_tokens
    if tokens is None:
        tokens = rules.step_tokens(total_bytes, card, length)
        tokens = min(max(tokens, length if reads_whole else 0), sequences * length)
    sequences = min(sequences, tokens)
    return VllmSettings(
        rules=rules,
        utilization=rules.utilization if config.utilization is None else config.utilization,
        max_model_len=length,
        step_tokens=tokens,
        sequences=sequences,
        graph_sizes=() if config.enforce_eager else graph_sizes(sequences, tokens),
        # cudagraph_specialize_lora, on by default (vllm/config/compilation.py, 0.33.0)
        graph_sets=1 if config.lora_rank is None else 2,
    )


def graph_sizes(sequences: int, step_tokens: int) -> tuple[int, ...]:
    """Returns the batches for which CUDA graphs are captured.

    vllm/config/vllm.py, _set_cudagraph_sizes: up to twice the sequences, at most 512.
    """
    most = min(2 * sequences, _MOST_GRAPH, step_tokens)
    sizes = [size for size in (1, 2, 4) if size <= most]
    sizes += range(8, min(most + 1, 256), 8)
    sizes += range(256, most + 1, 16)
    return tuple(sizes)
