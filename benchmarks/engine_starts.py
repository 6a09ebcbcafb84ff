"""Compares the fitted memory of a start of vLLM with what vLLM itself says on the emulated card.

Run it in an environment that has vllm: `python -m benchmarks.engine_starts [FILTER]`. Each start
takes one to ten minutes; the first one for an architecture of cards compiles FlashInfer's kernels
where there is a CUDA toolkit (VLLM_USE_FLASHINFER_SAMPLER=0 does without them).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import planner
from planner.config.serving import ServingOptions
from planner.errors import PlannerError
from planner.results.serving import ServingPlan
from planner.units import GIB

# Models of several kinds (dense, experts, sliding window, states, a latent), formats of weights and
# cache, adapters; cards of five architectures. A model that reads images, or that no single card
# holds, is not started alone.
LENGTH = 8192
SMALL_STEP: ServingOptions = {
    "max_model_len": LENGTH, "enforce_eager": True, "max_num_seqs": 64,
    "max_num_batched_tokens": 2048,
}  # fmt: skip
STARTS: tuple[tuple[str, str, ServingOptions], ...] = (
    ("hf:meta-llama/Llama-3.1-8B", "h100", {}),
    ("hf:Qwen/Qwen3-8B", "l40s", {"max_model_len": LENGTH}),
    ("hf:Qwen/Qwen3-30B-A3B", "h100", {"max_model_len": LENGTH}),
    ("hf:google/gemma-3-1b-it", "rtx5090", {"max_model_len": LENGTH}),
    ("hf:Qwen/Qwen2.5-1.5B-Instruct", "t4", {"max_model_len": LENGTH}),
    ("hf:openai/gpt-oss-20b", "h100", SMALL_STEP),
    ("hf:google/gemma-2-2b-it", "h100", SMALL_STEP),
    ("hf:mistralai/Mistral-7B-v0.1", "h100", SMALL_STEP),
    ("hf:nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "h100", SMALL_STEP),
    ("hf:deepseek-ai/DeepSeek-V2-Lite", "h100", SMALL_STEP),
    ("hf:meta-llama/Llama-3.1-8B", "h100", {**SMALL_STEP, "lora_rank": 16, "lora_max": 2}),
    ("hf:Qwen/Qwen3-30B-A3B", "h100", {**SMALL_STEP, "lora_rank": 8}),
    ("hf:Qwen/Qwen3-8B", "h100", {**SMALL_STEP, "quant": "fp8"}),
    ("hf:Qwen/Qwen3-30B-A3B", "h100", {**SMALL_STEP, "quant": "fp8"}),
    ("hf:Qwen/Qwen3-8B", "l40s", {**SMALL_STEP, "kv_dtype": "fp8"}),
)
_NAMED = ("quant", "kv_dtype", "lora_rank")
TIMEOUT_S = 1800.0
COLUMNS = (
    "model, card | fitted GiB | own GiB | of the card | in the interval | weights | tokens | s"
)


def main() -> int:
    """Prints a row for each start whose model or card has the filter in its name."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(COLUMNS)
    failed = 0
    for target, gpu, options in STARTS:
        if wanted not in f"{target} {gpu}":
            continue
        try:
            print(" | ".join(_row(target, gpu, options)), flush=True)
        except PlannerError as error:
            failed += 1
            print(f"{target}, {gpu} | {error}", flush=True)
    return 1 if failed else 0


def _row(target: str, gpu: str, options: ServingOptions) -> Iterator[str]:
    fitted = planner.serving(target, gpu=gpu, **options)
    began = time.monotonic()
    own = planner.serving(target, gpu=gpu, own_start=True, timeout_s=TIMEOUT_S, **options)
    seconds = time.monotonic() - began
    named = [f"{name} {value}" for name, value in options.items() if name in _NAMED]
    yield ", ".join([target, *named, gpu])
    yield f"{fitted.cache.middle / GIB:.2f}"
    yield f"{own.cache.middle / GIB:.2f}"
    yield f"{(fitted.cache.middle - own.cache.middle) / own.total_bytes:+.2%}"
    yield "yes" if fitted.cache.low <= own.cache.middle <= fitted.cache.high else "no"
    yield f"{fitted.parts[0].size_bytes / own.parts[0].size_bytes - 1:+.2%}"
    said = _said_tokens(own)
    yield "-" if said is None else f"{own.middle.tokens / said - 1:+.2%}"
    yield f"{seconds:.0f}"


def _said_tokens(own: ServingPlan) -> int | None:
    """Returns the tokens that vLLM says of its cache."""
    for note in own.notes:
        if "itself says" in note and " tokens" in note:
            return int(note.partition(" tokens")[0].rpartition(" ")[2].replace(",", ""))
    return None


if __name__ == "__main__":
    sys.exit(main())
