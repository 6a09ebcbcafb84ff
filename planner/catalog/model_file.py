"""The model file that a name of the catalog stands for: to be read, changed and estimated.

In: CatalogModel. Out: Python text. Convention: the file gives the figures of the name with the
default task and habits; it is for models of text, whose batches are tokens.
"""

from __future__ import annotations

import pprint
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.catalog.records import CatalogModel, Library
from planner.config.text_lengths import OF_DECODERS, OF_ENCODERS, text_length
from planner.errors import UsageError

_LINE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How models of a kind are built and fed."""

    auto: str
    length: int
    labels: str


_CAUSAL = _Form(auto="AutoModelForCausalLM", length=OF_DECODERS, labels="ids.clone()")
_PAIRS = _Form(auto="AutoModelForSeq2SeqLM", length=OF_ENCODERS, labels="ids.clone()")
_CLASSES = _Form(
    auto="AutoModelForSequenceClassification",
    length=OF_ENCODERS,
    labels="torch.zeros(batch_size, dtype=torch.int64)",
)
_FORMS = {
    "ForCausalLM": _CAUSAL,
    "LMHeadModel": _CAUSAL,
    "ForMaskedLM": _CLASSES,
    "T5ForConditionalGeneration": _PAIRS,
}
_TEXT = '''\
"""{name} as a model file: change it, then run `planner estimate` on it.

{about}
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, {auto}

CONFIG = {config}
TOKENS = {tokens}


def build_model() -> nn.Module:
    """Builds the model from its config alone, with the weights' published dtype."""
    config = AutoConfig.for_model(**CONFIG)
    config.use_cache = False
    return {auto}.from_config(config, dtype=torch.{dtype})


def build_batch(batch_size: int, sequence_length: int = TOKENS) -> dict[str, Tensor]:
    """Makes samples without padding."""
    ids = torch.randint(1, {vocabulary}, (batch_size, sequence_length))
    return {{"input_ids": ids, "labels": {labels}}}


def training_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Returns the loss alone, so that the logits end with it."""
    return model(**batch).loss


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the optimizer that the Trainer of transformers takes."""
    return torch.optim.AdamW(parameters, fused=True)
'''


def model_file(model: CatalogModel) -> str:
    """Returns the text of a model file.

    Raises:
        UsageError: the model is not one of text.
    """
    form = next((form for end, form in _FORMS.items() if model.model_class.endswith(end)), None)
    if (
        form is None
        or model.library is not Library.TRANSFORMERS
        or "vocab_size" not in model.config
    ):
        raise UsageError(
            f"{model.name} ({model.model_class}) has other inputs than text, and files are written "
            f"for models of text; `planner estimate {model.target}` needs no file"
        )
    about = f"Config: {model.source}, read on {model.date}. {model.notes or ''}".strip()
    return _TEXT.format(
        name=model.name,
        about=textwrap.fill(about, _LINE),
        auto=form.auto,
        config=_literal(model.config),
        tokens=text_length(model.config.get, form.length),
        dtype=model.dtype,
        vocabulary=int(model.config["vocab_size"]),
        labels=form.labels,
    )


def _literal(config: Mapping[str, Any]) -> str:
    """Returns a dict as Python text, a key a line."""
    lines = (
        textwrap.indent(f"{key!r}: {pprint.pformat(value, sort_dicts=False)},", "    ")
        for key, value in config.items()
    )
    return "\n".join(["{", *lines, "}"])
