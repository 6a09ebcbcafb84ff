"""The task generate: a prompt, then tokens one by one, by generate() of transformers itself.

In: TaskConfig, a maker of batches. Out: the step and its batches. Convention: greedy, or with
beams; a run of a window has a prompt that is longer by the tokens that the window skips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import torch
from torch import nn

from planner.config.generation import KvCache
from planner.config.published import TaskConfig
from planner.worker.drive.token_loop import loops
from planner.worker.published.tokens import BuildBatch

_DECODER = "decoder_input_ids"
_PROMPT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


def generation_step(task: TaskConfig) -> Callable[[nn.Module, Any], Any]:
    """Returns the step that writes the new tokens after the prompt of each sample."""
    options: dict[str, Any] = {
        "do_sample": False,
        "num_beams": task.num_beams or 1,
        "use_cache": True,
    }
    if task.kv_cache is KvCache.STATIC:
        options |= {"cache_implementation": "static", "disable_compile": True}

    def inference_step(model: nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        from transformers import GenerationMixin

        written: torch.Tensor = GenerationMixin.generate(  # Whisper has one of its own around it
            model, **batch, **options, max_new_tokens=task.tokens_written - _skipped()
        )
        return written

    return inference_step


def prompt_batches(build: BuildBatch) -> BuildBatch:
    """Returns a maker of batches with a mask, as a tokenizer gives it, and with longer prompts."""

    @wraps(build)  # a sequence length is passed to what has a parameter for it
    def build_batch(*sizes: int, **named: int) -> dict[str, Any]:
        batch = build(*sizes, **named)
        if "input_ids" in batch:
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        longer = (_DECODER,) if _DECODER in batch else _PROMPT
        for name in longer:
            if name in batch and _skipped():
                last = batch[name][:, -1:]
                batch[name] = torch.cat([batch[name], last.expand(-1, _skipped())], dim=1)
        return batch

    return build_batch


def drop_masks(model: nn.Module) -> None:
    """Lets the model be called without a mask of ones, which it would read from the card to drop.

    A mask that generate() has made of it, for a cache with places that are not filled, stays.
    """
    changed: Any = model
    original: Callable[..., Any] = changed.prepare_inputs_for_generation

    def prepare_inputs_for_generation(*args: Any, **kwargs: Any) -> Any:
        inputs = original(*args, **kwargs)
        mask = inputs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            inputs["attention_mask"] = None
        return inputs

    changed.prepare_inputs_for_generation = prepare_inputs_for_generation


def generation_words(task: TaskConfig) -> str:
    """Says what is generated."""
    how = f"{task.num_beams} beams" if (task.num_beams or 1) > 1 else "greedy"
    cache = (task.kv_cache or KvCache.DYNAMIC).value
    return f"generate: {task.tokens_written} tokens after the prompt, {how}, {cache} cache"


def _skipped() -> int:
    return 0 if loops.window is None else loops.window.skipped
