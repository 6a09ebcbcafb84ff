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
from planner.errors import PlannerError
from planner.results.serving import ServingPlan
from planner.units import GIB

# Models of several kinds (dense, experts, sliding window, 4-bit experts), cards of five
# architectures. A model that reads images, or that no single card holds, is not started alone.
STARTS: tuple[tuple[str, str, str | None], ...] = (
    ("hf:meta-llama/Llama-3.1-8B", "h100", None),
    ("hf:Qwen/Qwen3-8B", "l40s", None),
    ("hf:Qwen/Qwen3-30B-A3B", "h100", None),
    ("hf:google/gemma-3-1b-it", "rtx5090", None),
    ("hf:Qwen/Qwen2.5-1.5B-Instruct", "t4", None),
    ("hf:meta-llama/Meta-Llama-3-8B", "a100-80gb", None),
    ("hf:openai/gpt-oss-20b", "h100", None),
    ("hf:HuggingFaceTB/SmolLM3-3B", "l4", None),
    ("hf:meta-llama/Llama-3.1-8B", "l40s", "fp8"),
)
LENGTH = 8192
TIMEOUT_S = 1800.0
COLUMNS = (
    "model, card | fitted GiB | own GiB | of the card | in the interval | weights | tokens | s"
)


def main() -> int:
    """Prints a row for each start whose model or card has the filter in its name."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(COLUMNS)
    failed = 0
    for target, gpu, quant in STARTS:
        if wanted not in f"{target} {gpu}":
            continue
        try:
            print(" | ".join(_row(target, gpu, quant)), flush=True)
        except PlannerError as error:
            failed += 1
            print(f"{target}, {gpu} | {error}", flush=True)
    return 1 if failed else 0


def _row(target: str, gpu: str, quant: str | None) -> Iterator[str]:
    fitted = planner.serving(target, gpu=gpu, max_model_len=LENGTH, quant=quant)
    began = time.monotonic()
    own = planner.serving(
        target, gpu=gpu, max_model_len=LENGTH, quant=quant, own_start=True, timeout_s=TIMEOUT_S
    )
    seconds = time.monotonic() - began
    yield f"{target}{f', {quant}' if quant else ''}, {gpu}"
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
