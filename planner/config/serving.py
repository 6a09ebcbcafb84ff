"""What is asked of an engine that serves a language model, as data.

In: nothing; questions/serving.py fills it. Out: frozen records. Convention: None stands for the
engine's own default, which the result reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypedDict


class EngineName(str, Enum):
    """The engine that serves."""

    VLLM = "vllm"
    """vLLM: a share of the card's memory; the cache is what is left of it."""
    SGLANG = "sglang"
    """SGLang: a share of free memory for weights and cache together."""
    TRTLLM = "trtllm"
    """TensorRT-LLM: a share of the memory that is free after the weights, for the cache."""
    LLAMACPP = "llamacpp"
    """llama.cpp: the cache of the whole context, allocated at the start."""
    TRANSFORMERS = "transformers"
    """generate() of transformers: a cache that grows with each request."""


class Runner(str, Enum):
    """What an engine gives for a text, in the words of vllm's --runner."""

    GENERATE = "generate"
    """A text."""
    POOLING = "pooling"
    """A vector or a score: embedding models and rerankers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLoad:
    """Requests that are to be served at once."""

    users: int
    """How many there are at the same time."""
    prompt: int
    """Tokens of each prompt."""
    output: int
    """Tokens of each answer; 0: a vector or a score is given."""

    @property
    def length(self) -> int:
        """Returns the tokens of a request at its end."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """An engine and its settings."""

    engine: EngineName = EngineName.VLLM
    version: tuple[int, ...] | None = None
    """Of the engine; None: the newest that is known here."""
    tensor_parallel: int = 1
    """GPUs that share each layer."""
    max_model_len: int | None = None
    """Tokens of the longest request; None: all that the model can."""
    utilization: float | None = None
    """The share of memory that the engine may use, by its own rule."""
    quant: str | None = None
    """Format of the weights, like `awq` or `gguf:Q4_K_M`; None: 16 bits, or the config's own."""
    kv_dtype: str | None = None
    """Dtype of keys and values, in the words of the engine; None: that of the model."""
    max_num_seqs: int | None = None
    """Requests of a step at most."""
    max_num_batched_tokens: int | None = None
    """Tokens of a step at most."""
    enforce_eager: bool = False
    """Whether no CUDA graphs are captured."""
    prefix_caching: bool | None = None
    """Whether prefixes are kept for later requests; None: the engine's default for the model."""
    speculative_tokens: int = 0
    """Tokens that a head of the model itself (multi-token prediction) proposes for each step."""
    load: ServingLoad | None = None
    runner: Runner | None = None
    """What is given for a text; None: a text, and of an encoder a vector."""
    draft: str | None = None
    """The separate model that proposes tokens, in the caller's words."""
    lora_rank: int | None = None
    """The highest rank of LoRA adapters; None: there are none."""
    lora_max: int = 1
    """LoRA adapters of a step at most."""
    beside_bytes: int = 0
    """Memory of each card that something else holds."""
    ttft_s: float | None = None
    """The longest time to the first token that the load may have, in the mean."""
    tpot_s: float | None = None
    """The longest time per output token, in the mean."""


class ServingOptions(TypedDict, total=False):
    """The settings of an engine in the words of a caller; a missing one is the engine's default."""

    engine: str | EngineName
    """The engine: vllm, sglang, trtllm, llamacpp or transformers."""
    engine_version: str | None
    """Version of vllm, like "0.11.0"."""
    tensor_parallel: int
    """GPUs that share each layer."""
    max_model_len: int | None
    """Tokens of the longest request; without it those of the load, else all that the model can."""
    utilization: float | None
    """The share of memory that the engine may use, by its own rule."""
    quant: str | None
    """Format of the weights, like "awq" or "gguf:Q4_K_M"."""
    kv_dtype: str | None
    """Dtype of keys and values, in the words of the engine."""
    max_num_seqs: int | None
    """Requests of a step at most."""
    max_num_batched_tokens: int | None
    """Tokens of a step at most."""
    enforce_eager: bool
    """Whether no CUDA graphs are captured."""
    prefix_caching: bool | None
    """Whether prefixes are kept for later requests."""
    speculative_tokens: int
    """Tokens that a head of the model itself, or `draft`, proposes for each step."""
    runner: str | Runner | None
    """What is given for a text: "generate", or "pooling" for vectors and scores."""
    draft: str | None
    """A separate model that proposes them, like "hf:Qwen/Qwen3-0.6B"."""
    lora_rank: int | None
    """The highest rank of LoRA adapters, like 16."""
    lora_max: int | None
    """LoRA adapters of a step at most, with `lora_rank`; without it 1."""
    users: int | None
    """Requests to serve at once, with `prompt` and, where a text is written, `output`."""
    prompt: int | None
    """Tokens of each prompt."""
    output: int | None
    """Tokens of each answer."""
    ttft: str | None
    """The longest time to the first token, in the mean, like "500ms"; with a load."""
    tpot: str | None
    """The longest time per output token, in the mean, like "50ms"; with a load."""
