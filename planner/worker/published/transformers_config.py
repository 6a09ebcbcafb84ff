"""The config of a transformers model, from the keys of its config.json.

In: the keys, and arguments of the caller that replace keys. Out: a config of transformers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig
from transformers import __version__ as version

from planner.config.scalars import Scalar
from planner.errors import WrongTargetError

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_PER_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers")


def transformers_config(name: str, keys: Mapping[str, Any], replaced: Mapping[str, Scalar]) -> Any:
    """Returns the config of `keys`; `replaced` are those that get another value.

    Raises:
        WrongTargetError: transformers has no class for it, or it does not take the keys.
    """
    values = dict(keys)
    of_type = values.pop("model_type")
    if of_type not in CONFIG_MAPPING:
        raise WrongTargetError(_no_class(name, of_type, values))
    values.pop("auto_map", None)  # code of the model's own repository is not run
    values.pop("quantization_config", None)  # --quant decides
    known = AutoConfig.for_model(of_type)
    for key, value in replaced.items():
        if key not in values and not hasattr(known, key):
            near = difflib.get_close_matches(key, [*values, *known.to_dict()], n=3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise WrongTargetError(f"the config of {name} has no {key!r} (--model-arg){hint}")
        values[key] = value
        if key in _LAYERS:
            _shorten(values, value)
    try:
        return AutoConfig.for_model(of_type, **values)
    except Exception as error:  # each config checks its keys in its own way
        raise WrongTargetError(
            f"transformers {version} does not take the config of {name}: "
            f"{type(error).__name__}: {error}"
        ) from None


def _no_class(name: str, of_type: str, values: Mapping[str, Any]) -> str:
    if "auto_map" in values:
        return (
            f"{name} ({of_type}) has its code in its own repository (trust_remote_code), which is "
            f"not run here, and transformers {version} has no class for it; write a model file "
            "whose build_model() builds it"
        )
    near = difflib.get_close_matches(of_type, list(CONFIG_MAPPING), n=3)
    hint = f"; near it: {', '.join(near)}" if near else ""
    return (
        f"transformers {version} has no model of type {of_type!r} ({name}){hint}; a newer "
        "transformers may have one"
    )


def _shorten(values: dict[str, Any], layers: Scalar) -> None:
    """Cuts the lists that have an item for each layer, where there are fewer layers now."""
    for key in _PER_LAYER:
        found = values.get(key)
        if isinstance(found, list) and isinstance(layers, int) and len(found) > layers:
            values[key] = found[:layers]
