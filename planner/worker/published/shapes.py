"""The parameters of a published language model as shapes, without a byte of them.

In: Target, PublishedModel. Out: ModelShapes. Convention: the class is that of transformers for the
kind of the model, built on the meta device from the config alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from transformers import __version__ as version

from planner.config.model_shapes import ModelShapes, deciding_keys, tensor_shapes
from planner.config.published import Library, Task
from planner.config.target import Target
from planner.errors import WrongTargetError
from planner.worker.published.kinds import Kind, auto_class, class_of, kind_of
from planner.worker.published.ties import untie_as_published
from planner.worker.published.transformers_config import transformers_config

_SERVED = (Kind.CAUSAL, Kind.IMAGE_TEXT, Kind.MASKED)
_CLASSIFIER = "ForSequenceClassification"  # of a reranker


def published_shapes(target: Target) -> ModelShapes:
    """Returns the shapes of the model that `target` names.

    Raises:
        WrongTargetError: it is no language model of transformers, or cannot be built.
    """
    model = target.published
    if model is None or model.library is not Library.TRANSFORMERS:
        raise WrongTargetError(
            f"{target.label} is no language model of transformers: write hf:org/name or "
            "hf:path/to/config.json"
        )
    keys = json.loads(model.config)
    config = transformers_config(model.name, keys, dict(target.arguments))
    kind = kind_of(config, model.name)
    if kind not in _SERVED:
        raise WrongTargetError(
            f"{model.name} ({config.model_type}, {kind.value}) writes no text and embeds none: an "
            "engine serves language models and text encoders; name one, like "
            "hf:meta-llama/Llama-3.1-8B"
        )
    model_class = class_of(auto_class(kind, config, _task(kind, keys)), config)
    dtype = _dtype(config)
    with torch.device("meta"):
        built = model_class._from_config(config, dtype=dtype)
    untie_as_published(built, {**keys, **dict(target.arguments)})
    return ModelShapes(
        tensors=tensor_shapes(
            (name, tuple(parameter.shape), str(parameter.dtype).removeprefix("torch."))
            for name, parameter in built.named_parameters()
        ),
        config=json.dumps(deciding_keys(built.config.to_dict())),
        has_vision=getattr(config, "vision_config", None) is not None,
        built_by=f"{model_class.__name__} of transformers {version}",
        is_encoder=kind is Kind.MASKED,
    )


def _task(kind: Kind, keys: Mapping[str, Any]) -> Task:
    """Returns the task whose head is served: that of a reranker, none of another encoder."""
    if kind is not Kind.MASKED:
        return Task.GENERATE
    named = (keys.get("architectures") or [""])[0]
    return Task.INFER if named.endswith(_CLASSIFIER) else Task.EMBED


def _dtype(config: Any) -> torch.dtype:
    """Returns the dtype in which the model is published: float32 weights are served in 16 bits."""
    published = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    named = published if isinstance(published, torch.dtype) else None
    if isinstance(published, str):
        named = getattr(torch, published)
    return torch.float16 if named in (None, torch.float32) else named
