"""The task generate: a prompt, then tokens one by one with a growing cache.

In: number of new tokens. Out: an inference_step. Convention: greedy, and without the reads by which
generate() of transformers ends early: every sample gets all its tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

DEFAULT_NEW_TOKENS = 128
_KEEP = "logits_to_keep"


def generation_step(new_tokens: int) -> Callable[[nn.Module, Any], Any]:
    """Returns the step that writes `new_tokens` tokens after the prompt of each sample."""

    def inference_step(model: nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        options: dict[str, Any] = {"use_cache": True}
        if _KEEP in inspect.signature(model.forward).parameters:
            options[_KEEP] = 1  # as generate() does
        inputs = dict(batch)
        key = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
        written: torch.Tensor = inputs[key]
        for _ in range(new_tokens):
            output = model(**inputs, **options)
            token = output.logits[:, -1, :].float().argmax(-1, keepdim=True)
            written = torch.cat([written, token], dim=-1)
            inputs = _next(inputs, output, key, token)
            del output
        return written

    return inference_step


def _next(inputs: Mapping[str, Any], output: Any, key: str, token: torch.Tensor) -> dict[str, Any]:
    """Returns the inputs for the next token: the cache has what came before."""
    following: dict[str, Any] = {key: token, "past_key_values": output.past_key_values}
    encoded = getattr(output, "encoder_last_hidden_state", None)
    if encoded is not None:
        following["encoder_outputs"] = (encoded,)
    return following
