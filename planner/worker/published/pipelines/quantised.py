"""The denoiser of a pipeline in 4 or 8 bits, by bitsandbytes through diffusers.

In: a model of diffusers without weights, Quant. Out: the same model with quantised linear layers.
Convention: each weight is quantised on its way to the card, by bitsandbytes itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from planner.config.published import Quant
from planner.worker.published.constructing import built_in
from planner.worker.published.quantisation import bitsandbytes_options


def halve_int8_weights(model: nn.Module) -> None:
    """Gives the weights that become 8 bits float16, in which bitsandbytes brings them to the card.

    It casts others on the host (Int8Params in bitsandbytes/nn/modules.py), where their bytes are
    never there; the card sees the same.
    """
    from bitsandbytes.nn import Int8Params

    for parameter in model.parameters():
        if isinstance(parameter, Int8Params) and parameter.dtype is not torch.float16:
            parameter.data = parameter.data.to(torch.float16)


def quantised_denoiser(model: nn.Module, quant: Quant, dtype: torch.dtype) -> nn.Module:
    """Returns the model with its linear layers quantised; products are in `dtype`."""
    from diffusers import BitsAndBytesConfig
    from diffusers.quantizers.bitsandbytes.utils import replace_with_bnb_linear

    with built_in(dtype):
        replaced: Any = replace_with_bnb_linear(
            model,
            modules_to_not_convert=[],
            quantization_config=BitsAndBytesConfig(**bitsandbytes_options(quant, dtype)),
        )
    found: nn.Module = replaced
    if quant is Quant.INT8:
        halve_int8_weights(found)
    return found.requires_grad_(False)
