"""The components of a pipeline of diffusers, from their configs alone.

In: the document of a pipeline (planner/published/pipelines.py). Out: the pipeline. Convention: each
class is that of its library; weights have the dtypes that from_pretrained would give them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from planner.config.published import Quant
from planner.errors import WrongTargetError
from planner.worker.published.constructing import built_in, known_keys
from planner.worker.published.pipelines.calls import DENOISERS
from planner.worker.published.pipelines.quantised import halve_int8_weights, quantised_denoiser
from planner.worker.published.pipelines.tokenizers import tokenizer
from planner.worker.published.quantisation import quantised
from planner.worker.published.transformers_config import transformers_config
from planner.worker.published.vision import dtype_named

_LIBRARIES: Mapping[str, Any] = {"diffusers": diffusers, "transformers": transformers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How the weights of a pipeline are kept."""

    dtype: torch.dtype
    """Dtype of every component that has none of its own."""
    is_requested: bool
    """Whether the caller chose the dtype, for every component."""
    quant: Quant | None
    """How the linear layers of denoiser and encoders are quantised; None: not."""


def build_pipeline(name: str, document: Mapping[str, Any], weights: Weights) -> Any:
    """Returns the pipeline, with parameters where the caller's context puts them.

    Raises:
        WrongTargetError: a class is not there, or does not take its config.
    """
    made = class_of("diffusers", document["_class_name"], name)
    components: dict[str, Any] = {
        role: _component(name, role, one, weights) for role, one in document["components"].items()
    }
    for role, tokens in document["tokenizers"].items():
        components[role] = tokenizer(tokens)
    parameters = inspect.signature(made.__init__).parameters
    arguments = {**document["arguments"], **components}
    if "requires_safety_checker" in parameters:
        arguments["requires_safety_checker"] = False
    for key, parameter in parameters.items():
        if key != "self" and parameter.default is parameter.empty:
            arguments.setdefault(key, None)  # a component that the pipeline can do without
    return made(**{key: value for key, value in arguments.items() if key in parameters})


def class_of(library: str, class_name: str, name: str) -> Any:
    """Returns a class of diffusers or transformers.

    Raises:
        WrongTargetError: the library is another one, or has no such class.
    """
    module = _LIBRARIES.get(library)
    found = None if module is None else getattr(module, class_name, None)
    if found is None:
        version = "" if module is None else f" {module.__version__}"
        raise WrongTargetError(
            f"{name}: {library}{version} has no class {class_name!r} that is known here; write a "
            "model file with build_pipeline()"
        )
    return found


def _component(name: str, role: str, one: Mapping[str, Any], weights: Weights) -> Any:
    made = class_of(one["library"], one["class"], name)
    own = one.get("dtype")
    dtype = dtype_named(own) if own and not weights.is_requested else weights.dtype
    if one["library"] == "transformers":
        return _of_transformers(f"{name}/{role}", made, one["config"], dtype, weights)
    if not issubclass(made, nn.Module):  # a scheduler
        return made.from_config(one["config"])
    return _of_diffusers(role, made, one["config"], dtype, weights)


def _of_transformers(
    name: str, made: Any, keys: Mapping[str, Any], dtype: torch.dtype, weights: Weights
) -> Any:
    if not issubclass(made, nn.Module):  # an image processor
        return made(**keys)
    config = transformers_config(name, keys, {})
    built: nn.Module = made._from_config(config, dtype=dtype)
    if weights.quant is not None:
        made_small = quantised(built, weights.quant, dtype=dtype, compute=dtype)
        if weights.quant is Quant.INT8:
            halve_int8_weights(made_small)
        return made_small.eval()
    if dtype is torch.float16:  # transformers/modeling_utils.py, get_init_context and dtype plan
        _keep_in_float32(built, getattr(made, "_keep_in_fp32_modules", None))
    _keep_in_float32(built, getattr(made, "_keep_in_fp32_modules_strict", None))
    return built.eval()


def _of_diffusers(
    role: str, made: Any, config: Mapping[str, Any], dtype: torch.dtype, weights: Weights
) -> nn.Module:
    with built_in(dtype):
        built: nn.Module = made.from_config(known_keys(made, config))
    if weights.quant is not None and role in DENOISERS:
        return quantised_denoiser(built, weights.quant, dtype).eval()
    _keep_in_float32(built, getattr(made, "_keep_in_fp32_modules", None))
    return built.eval()


def _keep_in_float32(model: nn.Module, names: Any) -> None:
    """Gives parameters below modules of these names float32, as from_pretrained does."""
    kept = {names} if isinstance(names, str) else set(names or ())
    if not kept:
        return
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and kept & set(name.split(".")):
            parameter.data = parameter.data.to(torch.float32)
