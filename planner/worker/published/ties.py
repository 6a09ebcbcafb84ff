"""Weights of the output layer and of the input embedding, shared or not as the config says.

In: a model of transformers and the keys of its config. Out: the same model, changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def untie_as_published(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Gives the output layer a weight of its own where the config says that none is shared.

    transformers 5 ties the two in every T5, whatever its config says, and gives the tie up where
    the loaded weights differ, as those of Flan-T5 do (models/t5/configuration_t5.py). A model from
    its config alone would lack them.
    """
    if config.get("tie_word_embeddings") is not False:
        return
    given: Any = model
    if not hasattr(model, "get_output_embeddings") or not hasattr(model, "get_input_embeddings"):
        return
    output, embedding = given.get_output_embeddings(), given.get_input_embeddings()
    if output is not None and output.weight is embedding.weight:
        weight = output.weight
        output.weight = nn.Parameter(torch.empty_like(weight), requires_grad=weight.requires_grad)
