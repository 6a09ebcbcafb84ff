"""The command line of an engine for the settings of a start.

In: the name of the model, ServingConfig, EngineMemory. Out: text to paste. Convention: settings
that were given, and those that the answer rests on; a quantised checkpoint has a name of its own,
which is marked.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from planner.config.serving import EngineName, Runner, ServingConfig
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.formats import FORMATS

_WITH_RUNNER = (0, 10, 1)  # before, vllm has --task (its PR 21470)
_HEADS = {
    EngineName.VLLM: ("vllm", "serve"),
    EngineName.SGLANG: ("python", "-m", "sglang.launch_server", "--model-path"),
    EngineName.TRTLLM: ("trtllm-serve",),
    EngineName.LLAMACPP: ("llama-server", "-m"),
}
_RANKS = {
    EngineName.VLLM: "--tensor-parallel-size",
    EngineName.SGLANG: "--tp",
    EngineName.TRTLLM: "--tp_size",
}
_KV = {
    EngineName.VLLM: ("--kv-cache-dtype",),
    EngineName.SGLANG: ("--kv-cache-dtype",),
    EngineName.TRTLLM: ("--kv_cache_dtype",),
    EngineName.LLAMACPP: ("--cache-type-k", "--cache-type-v"),
}


def command_of(name: str, config: ServingConfig, memory: EngineMemory) -> str:
    """Returns the command that starts the engine so."""
    if config.engine is EngineName.TRANSFORMERS:
        return (
            f"AutoModelForCausalLM.from_pretrained({name!r}, dtype='auto', device_map='cuda')"
            f".generate(..., max_length={memory.max_model_len})"
        )
    model = f"{name}.gguf" if config.engine is EngineName.LLAMACPP else name
    words = [*_HEADS[config.engine], model, *_flags(config, memory)]
    return shlex.join(words)


def _flags(config: ServingConfig, memory: EngineMemory) -> Iterator[str]:
    if config.tensor_parallel > 1:
        yield from (_RANKS[config.engine], str(config.tensor_parallel))
    for setting in memory.settings:
        is_length = setting.name in ("max-model-len", "context-length", "max_seq_len", "ctx-size")
        if setting.is_given or is_length:
            yield from (f"--{setting.name}", setting.value)
    if config.kv_dtype is not None:
        for flag in _KV[config.engine]:
            yield from (flag, config.kv_dtype)
    if config.engine is EngineName.LLAMACPP:
        yield from ("--n-gpu-layers", "999")
    if config.engine is EngineName.VLLM:
        yield from _of_vllm(config)


def _of_vllm(config: ServingConfig) -> Iterator[str]:
    known = FORMATS.get(config.quant or "")
    if known is not None and known.vllm_argument is not None:
        yield from ("--quantization", known.vllm_argument)
    if config.enforce_eager:
        yield "--enforce-eager"
    if config.prefix_caching is not None:
        yield "--enable-prefix-caching" if config.prefix_caching else "--no-enable-prefix-caching"
    if config.lora_rank is not None:
        yield "--enable-lora"
    if config.runner is Runner.POOLING:
        is_old = config.version is not None and config.version < _WITH_RUNNER
        yield from ("--task", "embed") if is_old else ("--runner", "pooling")
    if config.speculative_tokens:
        proposer = {"method": "mtp"} if config.draft is None else {
            "model": config.draft.removeprefix("hf:")
        }  # fmt: skip
        words = {**proposer, "num_speculative_tokens": config.speculative_tokens}
        yield from ("--speculative-config", json.dumps(words))
