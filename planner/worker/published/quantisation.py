"""Frozen weights in 4 or 8 bits, by bitsandbytes through transformers.

In: a transformers model without weights, Quant. Out: the same model with quantised layers.
Convention: each weight is quantised on its way to the card, by bitsandbytes itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from planner.config.published import Quant
from planner.worker.published.constructing import built_in


def import_bitsandbytes() -> None:
    """Imports bitsandbytes before the runs, because each of them would import it again."""
    import bitsandbytes  # noqa: F401
    import transformers.integrations.bitsandbytes  # noqa: F401


def quantised(
    model: nn.Module, quant: Quant, *, dtype: torch.dtype, compute: torch.dtype
) -> nn.Module:
    """Returns the model with its linear layers quantised, but for the head.

    `dtype` is that of the weights before, `compute` that of the products.
    """
    from transformers import BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    with built_in(dtype):
        replaced: Any = replace_with_bnb_linear(
            model,
            modules_to_not_convert=get_keys_to_not_convert(model),
            quantization_config=BitsAndBytesConfig(**bitsandbytes_options(quant, compute)),
        )
    setattr(replaced, f"is_loaded_in_{4 if quant is Quant.NF4 else 8}bit", True)
    replaced.is_quantized = True
    found: nn.Module = replaced
    return found.requires_grad_(False)


def bitsandbytes_options(quant: Quant, compute: torch.dtype) -> dict[str, Any]:
    """Returns the options of a BitsAndBytesConfig; `compute` is the dtype of products of NF4."""
    if quant is not Quant.NF4:
        return {"load_in_8bit": True}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": compute,
    }
