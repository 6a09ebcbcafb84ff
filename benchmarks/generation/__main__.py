"""Peaks of generations that are told from their first and last tokens, against whole runs.

    python -m benchmarks.generation [--models N] [--tokens N]

In: models of the catalog, two cards, bfloat16. Out: a line for each: peak allocated and reserved of
the whole run, told over run, and what the cache held at most over the closed form of its layers.
Needs transformers. Exits with 1 where a generation fails, or parts by more than it may.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click

from planner.errors import PlannerError, UsageError
from planner.estimation.generation.runner import GenerationRunner
from planner.estimation.request import estimate_request
from planner.estimation.served_shapes import found_shapes
from planner.estimation.session import estimation_session
from planner.memory.kv_cache.facts import served_model
from planner.memory.kv_cache.layers import request_bytes
from planner.wire.trace import AllocationTrace, EventKind, RunOutcome, TensorCategory

MODELS = (
    "HuggingFaceTB/SmolLM2-135M", "openai-community/gpt2", "facebook/opt-125m",
    "EleutherAI/pythia-410m", "bigscience/bloom-560m", "google/gemma-2-2b-it",
    "google/gemma-3-1b-it", "microsoft/phi-2", "microsoft/Phi-4-mini-instruct",
    "Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-0.6B", "meta-llama/Llama-3.2-1B", "mistralai/Mistral-7B-v0.1",
    "bigcode/starcoder2-7b", "tiiuae/falcon-7b", "stabilityai/stablelm-2-zephyr-1_6b",
    "google-t5/t5-small", "facebook/bart-base", "openai/whisper-tiny", "Qwen/Qwen3-VL-2B-Instruct",
    "deepseek-ai/DeepSeek-V2-Lite", "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen3.5-27B",
)  # fmt: skip
CARDS = ("t4", "h100")
_BATCH, _PROMPT = 2, 256
_ALLOCATED, _RESERVED = 0.001, 0.02  # told and run may part by so much


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One generation. Bytes; `why` says why it could not be told, "": it could."""

    model: str
    card: str
    allocated_bytes: int
    reserved_bytes: int
    told: tuple[float, float]
    """Peak allocated and reserved, told over run."""
    cache: float | None
    """What the cache held at most, over the closed form; None: the model has none."""
    why: str

    @property
    def is_good(self) -> bool:
        """Returns whether told and run agree."""
        allocated, reserved = (abs(ratio - 1) for ratio in self.told)
        return allocated <= _ALLOCATED and reserved <= _RESERVED


def compared(model: str, card: str, tokens: int) -> Compared:
    """Runs one generation whole and in parts.

    Raises:
        PlannerError: it fails.
    """
    asked = estimate_request(
        f"hf:{model}", mode="generate", new_tokens=tokens, batch_size=_BATCH, precision="bf16",
        cache=False, **({} if "whisper" in model else {"sequence_length": _prompt_of(model)}),
    )  # fmt: skip
    with estimation_session(asked, [card]) as session:
        runs = session.setup.runner
        assert isinstance(runs, GenerationRunner), "it generates"
        profile = session.setup.cards.unlimited(session.known.budgets[0])
        told, events = runs.record(profile, asked.config)
        whole = runs.inner.run(profile, replace(asked.config, steps=2))
        for one in (told, whole):
            if one.outcome is not RunOutcome.COMPLETED:
                raise PlannerError(str(one.failure))
        return Compared(
            model=model,
            card=card,
            allocated_bytes=whole.peak_allocated_bytes,
            reserved_bytes=whole.peak_reserved_bytes,
            told=(
                told.peak_allocated_bytes / whole.peak_allocated_bytes,
                told.peak_reserved_bytes / whole.peak_reserved_bytes,
            ),
            cache=None if events is None else _cache_ratio(model, events, tokens),
            why="; ".join(runs.reasons),
        )


def _prompt_of(model: str) -> int:
    return 2 * _PROMPT if "VL" in model else _PROMPT


def _cache_ratio(model: str, events: AllocationTrace, tokens: int) -> float | None:
    """Returns the most that the cache held over what its layers keep of all tokens but the last."""
    try:
        served = served_model(found_shapes(f"hf:{model}", 60.0, lambda _: None).shapes)
    except (PlannerError, UsageError):
        return None
    held = most = 0
    for event in events.events:
        if event.category is TensorCategory.CACHE:
            held += event.size_bytes if event.kind is EventKind.ALLOC else 0
            held -= event.size_bytes if event.kind in (EventKind.FREE,) else 0
            most = max(most, held)
    length = _prompt_of(model) + tokens - 1
    return most / (_BATCH * request_bytes(served.layers, length, ranks=1, element_bytes=2))


def _all(models: tuple[str, ...], tokens: int) -> Iterator[bool]:
    print(f"{'model':34} {'card':5} {'allocated':>10} {'reserved':>10} {'told over run':>15} cache")
    for model in models:
        for card in CARDS:
            try:
                one = compared(model, card, tokens)
            except PlannerError as error:
                print(f"{model:34} {card:5} failed: {str(error)[:160]}", flush=True)
                yield False
                continue
            cache = "-" if one.cache is None else f"{one.cache:.4f}"
            sizes = f"{one.allocated_bytes / 2**20:10.1f} {one.reserved_bytes / 2**20:10.1f}"
            ratios = f"{one.told[0]:.5f} {one.told[1]:.5f}"
            print(f"{model:34} {card:5} {sizes} {ratios} {cache} {one.why}", flush=True)
            yield one.is_good


@click.command()
@click.option("--models", type=int, default=len(MODELS), help="Models from the start of the list.")
@click.option("--only", default="", help="Models whose name has this in it.")
@click.option("--tokens", type=int, default=24, help="Tokens to write.")
def main(models: int, only: str, tokens: int) -> None:
    """Compares all of them."""
    chosen = tuple(name for name in MODELS[:models] if only in name)
    sys.exit(0 if all(list(_all(chosen, tokens))) else 1)


if __name__ == "__main__":
    main()
