"""The engines by name: which formats and dtypes each knows, and its memory.

In: ServedModel, the format that the config states, ServingConfig, the card. Out: EngineMemory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planner.config.serving import EngineName, ServingConfig
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving import in_transformers, llamacpp, sglang, trtllm, vllm
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.formats import FORMATS, PLAIN, WeightFormat, named_format
from planner.memory.serving.gguf import check_mixture
from planner.memory.serving.weights import check_ranks

_Memory = Callable[[ServedModel, WeightFormat, ServingConfig, ServingCard], EngineMemory]
GGUF = "gguf:"
_DEFAULT_MIXTURE = "F16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine: its formats of weights, and its dtypes of the cache with bytes of an element."""

    name: EngineName
    quants: tuple[str, ...]
    kv_bytes: Mapping[str, float]
    memory: _Memory | None
    """None: it takes GGUF files."""
    small_kv: str | None
    """The dtype of the cache with the fewest bytes that is in common use."""


ENGINES: Mapping[EngineName, Engine] = {
    one.name: one
    for one in (
        Engine(
            name=EngineName.VLLM, quants=vllm.QUANTS, kv_bytes=vllm.KV_BYTES,
            memory=vllm.vllm_memory, small_kv="fp8",
        ),
        Engine(
            name=EngineName.SGLANG, quants=sglang.QUANTS, kv_bytes=sglang.KV_BYTES,
            memory=sglang.sglang_memory, small_kv="fp8_e4m3",
        ),
        Engine(
            name=EngineName.TRTLLM, quants=trtllm.QUANTS, kv_bytes=trtllm.KV_BYTES,
            memory=trtllm.trtllm_memory, small_kv="fp8",
        ),
        Engine(
            name=EngineName.LLAMACPP, quants=(), kv_bytes=llamacpp.KV_BYTES, memory=None,
            small_kv="q8_0",
        ),
        Engine(
            name=EngineName.TRANSFORMERS, quants=in_transformers.QUANTS,
            kv_bytes=in_transformers.KV_BYTES, memory=in_transformers.transformers_memory,
            small_kv=None,
        ),
    )
}  # fmt: skip


def engine_memory(
    model: ServedModel, config: ServingConfig, card: ServingCard
) -> tuple[EngineMemory, str]:
    """Returns the memory of a start, and the format of the weights in words.

    Raises:
        UsageError: a format, a dtype, a length or a number of ranks that engine or model lack.
    """
    engine = ENGINES[config.engine]
    check_ranks(model, config.tensor_parallel)
    _check_kv_dtype(engine, config)
    _check_length(model, config)
    if engine.memory is None:
        mixture = _mixture(config)
        found = llamacpp.llamacpp_memory(model, mixture, config, card)
        return found, f"GGUF {mixture}"
    weights = weight_format(model, config)
    return engine.memory(model, weights, config, card), weights.words


def _mixture(config: ServingConfig) -> str:
    quant = config.quant or f"{GGUF}{_DEFAULT_MIXTURE}"
    if not quant.lower().startswith(GGUF):
        raise UsageError(
            f"llamacpp does not know quant {quant!r} (--quant): it takes GGUF files; write "
            "gguf:Q4_K_M, or another mixture"
        )
    return check_mixture(quant[len(GGUF) :])


def weight_format(model: ServedModel, config: ServingConfig) -> WeightFormat:
    """Returns the format of the weights, of an engine that takes no GGUF files.

    Raises:
        UsageError: the engine, or the model, does not have it.
    """
    engine = ENGINES[config.engine]
    if config.quant is None:
        return PLAIN
    name = config.quant.lower()
    if name not in engine.quants:
        others = [one.name.value for one in ENGINES.values() if name in one.quants]
        if name.startswith(GGUF):
            others = [EngineName.LLAMACPP.value]
        verb = "knows" if len(others) == 1 else "know"
        known = f"; {' and '.join(others)} {verb} it" if others else ""
        if not others and name not in FORMATS:
            known = "; no engine here does"
        raise UsageError(
            f"{engine.name.value} does not know quant {config.quant!r} (--quant): it knows "
            f"{', '.join(engine.quants)}{known}"
        )
    return named_format(name, has_states=model.has_states, has_experts=model.experts > 0)


def _check_kv_dtype(engine: Engine, config: ServingConfig) -> None:
    if config.kv_dtype is not None and config.kv_dtype not in engine.kv_bytes:
        raise UsageError(
            f"{engine.name.value} has no dtype of the cache {config.kv_dtype!r} (--kv-dtype); it "
            f"has {', '.join(engine.kv_bytes)}"
        )


def _check_length(model: ServedModel, config: ServingConfig) -> None:
    length = config.max_model_len
    if length is not None and length > model.longest_context:
        what = "max_model_len (--max-model-len)"
        if config.load is not None and config.load.length == length:
            what = "prompt and output (--prompt, --output)"
        raise UsageError(
            f"{what}: {length} tokens, and the positions of the model end at "
            f"{model.longest_context}; write at most that"
        )
