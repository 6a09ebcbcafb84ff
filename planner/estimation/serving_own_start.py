"""The memory of a start of vLLM by vLLM itself: it starts on the emulated card and says it.

In: the settings, the card, the config of the model. Out: EngineMemory with vLLM's own figures in
the place of the fitted ones. Convention: weights have no values and there is no tokenizer, which
change no byte. Defaults are those of `vllm serve`, which are given to it one by one, since
vllm.LLM has others. The interval stays that of the published starts: a real card also loads
kernels, and what they take is not known.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.config.options import Progress
from planner.config.serving import EngineName, Runner, ServingConfig
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import ModelError, UsageError
from planner.estimation.context import ProfileFactory
from planner.memory.budget import MemoryBudget
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.engine import ByteSpan, EngineMemory, MemoryPart, PartKind
from planner.memory.serving.vllm_terms import fitted_terms
from planner.process.engine_start import StartLog, installed_vllm, started
from planner.units import format_bytes
from planner.verification.vllm_log import VllmBoot, vllm_boot
from planner.wire.engine_start import EngineStart

_OF_CONFIG = ("fp8",)  # what vLLM makes of 16-bit weights while it loads them
_NO_MEMORY = ("OutOfMemoryError", "CUDA out of memory")
_BUILD = "Ninja build failed"
_DOWNLOAD = "Failed to get checksums"  # of FlashInfer's compiled kernels
_NAMES = {"max-num-seqs": "max_num_seqs", "max-num-batched-tokens": "max_num_batched_tokens"}


def own_version(config: ServingConfig, model: ServedModel) -> tuple[int, ...]:
    """Returns the version of the vLLM that is installed, if it can start with these settings.

    Raises:
        UsageError: it is not installed, is another version, or such a start needs more than a
            config and one card.
    """
    for is_so, what in _refusals(config, model):
        if is_so:
            raise UsageError(f"own_start (--own-start) starts vllm with a config alone, {what}")
    found = installed_vllm()
    if found is None:
        raise UsageError(
            "own_start (--own-start) lets vllm itself start, and it is not installed beside "
            "planner: pip install vllm into this environment, or leave it out"
        )
    numbers = tuple(int(one) for one in re.findall(r"\d+", found)[:3])
    given = config.version
    if given is not None and numbers[: len(given)] != given:
        raise UsageError(
            f"engine_version {'.'.join(map(str, given))} (--engine-version) is not the vllm that "
            f"is installed, {found}: leave it out with own_start (--own-start)"
        )
    return numbers


def _refusals(config: ServingConfig, model: ServedModel) -> Iterator[tuple[bool, str]]:
    other = config.engine is not EngineName.VLLM
    yield other, f"and {config.engine.value} is another engine: take --engine vllm"
    ranks = config.tensor_parallel
    yield ranks > 1, f"on one card, not on {ranks} (--tensor-parallel)"
    proposes = config.speculative_tokens > 0 or config.draft is not None
    yield proposes, "without --speculative-tokens and --draft"
    pools = config.runner is Runner.POOLING or model.is_encoder
    yield pools, "and for text: models that give vectors are left out"
    yield model.has_vision, "and a model that reads images needs the files of its processor"


def with_own_start(
    memory: EngineMemory,
    config: ServingConfig,
    *,
    config_json: str,
    budget: MemoryBudget,
    timeout_s: float,
    progress: Progress,
) -> EngineMemory:
    """Returns `memory` with what vLLM says when it starts so, with this text of config.json.

    Raises:
        ModelError: vLLM refuses, or is out of memory before it has profiled its step.
        UsageError: this format of weights needs a config that has it.
        PlannerError: torch, the device or the process; see errors.py.
    """
    with tempfile.TemporaryDirectory(prefix="planner-engine-") as folder:
        Path(folder, "config.json").write_text(config_json, encoding="utf-8")
        torch = find_torch()
        device = emulated_device(torch, progress)
        start = EngineStart(
            libraries=tuple(str(path) for path in device.libraries),
            driver_folder=str(device.driver_folder),
            profile=ProfileFactory(torch=torch, device=device).limited(budget),
            arguments={"model": folder, **arguments(memory, config, config_json)},
        )
        progress(f"vllm {memory.version} starts on the emulated card: one to ten minutes")
        return _with_log(memory, started(start, timeout_s=timeout_s))


def arguments(memory: EngineMemory, config: ServingConfig, config_json: str) -> dict[str, Any]:
    """Returns the arguments of vllm.LLM, without the model.

    Raises:
        UsageError: see with_own_start.
    """
    settings = {one.name: one.value for one in memory.settings}
    found: dict[str, Any] = {
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "max_model_len": memory.max_model_len,
        "gpu_memory_utilization": float(settings["gpu-memory-utilization"]),
        "enforce_eager": config.enforce_eager,
        **{name: int(settings[key]) for key, name in _NAMES.items()},
    }
    if "dtype" in settings:
        found["dtype"] = settings["dtype"]
    if config.kv_dtype is not None:
        found["kv_cache_dtype"] = config.kv_dtype
    if config.prefix_caching is not None:
        found["enable_prefix_caching"] = config.prefix_caching
    if config.lora_rank is not None:
        found |= {
            "enable_lora": True, "max_loras": config.lora_max, "max_lora_rank": config.lora_rank,
        }  # fmt: skip
    if config.quant is not None and not json.loads(config_json).get("quantization_config"):
        if config.quant not in _OF_CONFIG:
            raise UsageError(
                f"own_start (--own-start) with quant {config.quant} (--quant) needs a model whose "
                "config has it: name that one, like hf:Qwen/Qwen3-8B-AWQ, without --quant; "
                f"of 16 bits vllm makes {' or '.join(_OF_CONFIG)}"
            )
        found["quantization"] = config.quant
    return found


def _with_log(memory: EngineMemory, log: StartLog) -> EngineMemory:
    boot = vllm_boot(log.text)
    if boot is None or boot.kv_cache_bytes is None or boot.weights_bytes is None:
        raise ModelError(_why(log))
    if log.error and not boot.has_failed:
        raise ModelError(_why(log))
    return with_boot(memory, boot)


def _why(log: StartLog) -> str:
    error = log.error or "it printed nothing of its memory"
    if any(word in log.text for word in _NO_MEMORY):
        return f"vllm's own start is out of the card's memory before it has any cache: {error}"
    if _BUILD in log.text:
        return (
            "vllm's own start compiles kernels of FlashInfer, and the CUDA toolkit for it is not "
            "whole here: set VLLM_USE_FLASHINFER_SAMPLER=0 in the environment, and vllm samples "
            f"without them ({error})"
        )
    if _DOWNLOAD in log.text:
        return (
            "vllm's own start has FlashInfer download kernels for this card, and it cannot: pip "
            f"install flashinfer-cubin of its version, or give it a network ({error})"
        )
    return f"vllm's own start fails: {error}"


def with_boot(memory: EngineMemory, boot: VllmBoot) -> EngineMemory:
    """Returns `memory` with the figures of a start in the place of the fitted ones."""
    assert boot.kv_cache_bytes is not None, "a start that stands says its cache"
    assert boot.weights_bytes is not None, "and its weights"
    adapters = [part for part in memory.parts if part.kind is PartKind.ADAPTERS]
    graphs = boot.graphs_estimate_bytes or 0
    activation = (boot.activation_bytes or 0) - graphs
    counted = boot.weights_bytes + activation + graphs
    outside = max(0, memory.budget_bytes - boot.kv_cache_bytes - counted)
    weights = boot.weights_bytes - sum(part.size_bytes for part in adapters)
    parts = (
        MemoryPart(kind=PartKind.WEIGHTS, size_bytes=weights),
        *adapters,
        MemoryPart(kind=PartKind.OUTSIDE, size_bytes=outside),
        MemoryPart(kind=PartKind.ACTIVATIONS, size_bytes=activation),
        MemoryPart(
            kind=PartKind.GRAPHS,
            size_bytes=graphs or boot.graphs_bytes or 0,
            is_budgeted=graphs > 0,
        ),
    )
    unknown = outside + activation + graphs
    low, high = fitted_terms().bounds(unknown)
    own = boot.kv_cache_bytes
    return replace(
        memory,
        parts=parts,
        cache=ByteSpan(
            low=own - max(0, high - unknown), middle=own, high=own + max(0, unknown - low)
        ),
        basis=(
            f"vllm {memory.version} itself, started on the emulated card; the bounds are as wide "
            f"as those of {fitted_terms().starts} published starts"
        ),
        notes=(*memory.notes, *_said(boot)),
        is_own_start=True,
    )


def _said(boot: VllmBoot) -> Iterator[str]:
    assert boot.kv_cache_bytes is not None, "a start that stands says its cache"
    tokens = "" if boot.kv_cache_tokens is None else f" and {boot.kv_cache_tokens:,} tokens"
    yield (
        f"vllm itself says a cache of {format_bytes(boot.kv_cache_bytes)}{tokens}; what a real "
        "card takes when it loads kernels is not in it"
    )
