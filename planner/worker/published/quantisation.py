"""Frozen weights in 4 or 8 bits, by bitsandbytes through transformers.

In: a transformers model without weights, Quant. Out: the same model with quantised layers.
Convention: each weight is quantised on its way to the card, by bitsandbytes itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from planner.config.published import Quant


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

    is_nf4 = quant is Quant.NF4
    options: dict[str, Any] = {"load_in_8bit": not is_nf4}
    if is_nf4:
        options = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": compute,
        }
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        replaced: Any = replace_with_bnb_linear(
            model,
            modules_to_not_convert=get_keys_to_not_convert(model),
            quantization_config=BitsAndBytesConfig(**options),
        )
    finally:
        torch.set_default_dtype(usual)
    for name in ("is_loaded_in_4bit",) if is_nf4 else ("is_loaded_in_8bit",):
        setattr(replaced, name, True)
    replaced.is_quantized = True
    found: nn.Module = replaced
    return found.requires_grad_(False)
