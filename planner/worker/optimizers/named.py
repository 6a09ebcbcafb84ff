"""Optimizers by name: the class of each, and how it is made.

In: OptimizerName, the model on the card, arguments for the class. Out: Named. Convention: learning
rates, foreach and all else are the defaults of the class; a package is imported when it is
needed, and the report names its version.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any

import torch
from torch import nn

from planner.config.step import OptimizerName
from planner.config.target import Scalar
from planner.errors import UsageError
from planner.worker.optimizers.muon import muon_and_adamw
from planner.worker.optimizers.shards import WORDS, over_shards
from planner.worker.ranks.dtensors import is_divided
from planner.worker.target.frames import text_of

_TORCH = "torch.optim"
# Packages other than torch: the name to import, and pip's name.
_PIP_NAMES = {"bitsandbytes": "bitsandbytes", "lion_pytorch": "lion-pytorch"}
_BITSANDBYTES_PACKAGE = "bitsandbytes"
_BITSANDBYTES = f"{_BITSANDBYTES_PACKAGE}.optim"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A class by module and name, and arguments implied by the name or without torch's default."""

    module: str
    name: str
    arguments: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The package that must be installed."""
        return self.module.partition(".")[0]


# The first whose package is installed.
_KINDS: dict[OptimizerName, tuple[_Kind, ...]] = {
    OptimizerName.SGD: (_Kind(module=_TORCH, name="SGD", arguments={"lr": 0.01}),),
    OptimizerName.SGD_MOMENTUM: (
        _Kind(module=_TORCH, name="SGD", arguments={"lr": 0.01, "momentum": 0.9}),
    ),
    OptimizerName.SGD_FUSED: (
        _Kind(module=_TORCH, name="SGD", arguments={"lr": 0.01, "fused": True}),
    ),
    OptimizerName.ADAM: (_Kind(module=_TORCH, name="Adam"),),
    OptimizerName.ADAM8BIT: (_Kind(module=_BITSANDBYTES, name="Adam8bit"),),
    OptimizerName.ADAMW: (_Kind(module=_TORCH, name="AdamW"),),
    OptimizerName.ADAMW_FUSED: (_Kind(module=_TORCH, name="AdamW", arguments={"fused": True}),),
    OptimizerName.ADAMW8BIT: (_Kind(module=_BITSANDBYTES, name="AdamW8bit"),),
    OptimizerName.PAGED_ADAMW8BIT: (_Kind(module=_BITSANDBYTES, name="PagedAdamW8bit"),),
    OptimizerName.ADAFACTOR: (_Kind(module=_TORCH, name="Adafactor"),),
    OptimizerName.ADAGRAD: (_Kind(module=_TORCH, name="Adagrad"),),
    OptimizerName.LION: (
        _Kind(module="lion_pytorch", name="Lion"),
        _Kind(module=_BITSANDBYTES, name="Lion"),
    ),
    OptimizerName.MUON: (_Kind(module=_TORCH, name="Muon"),),
    OptimizerName.RMSPROP: (_Kind(module=_TORCH, name="RMSprop"),),
}
_PAGED = (
    "the state of tensors with 100000 elements and more is in CUDA's managed memory, which the "
    "driver moves between card and RAM: PyTorch's allocator does not hold it, and peak allocated "
    "and peak reserved are without it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An optimizer, its name in the report, and the sentences on it."""

    optimizer: Any
    name: str
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def named(
    name: OptimizerName,
    model: nn.Module,
    given: Mapping[str, Scalar],
    parameters: Sequence[nn.Parameter] | None = None,
) -> Named:
    """Returns the optimizer of that name over `parameters`; None: all of the model's.

    Raises:
        UsageError: its package is not installed; an argument that the class does not take, or a
            value it refuses; muon of a model without hidden matrices.
    """
    kind, make = _installed(name)
    known = [key for key in inspect.signature(make).parameters if key != "params"]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise UsageError(
            f"optimizer {name.value} has no argument {unknown[0]!r}; it has {', '.join(known)}"
        )
    try:
        arguments = {**kind.arguments, **given}
        if name is OptimizerName.MUON:
            both, note = muon_and_adamw(model, arguments)
            return Named(optimizer=both, name=both.name, assumptions=(note,), notes=(note,))
        trained = list(model.parameters() if parameters is None else parameters)
        return _made(name, kind, make, trained, arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not given:
            raise
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        reason = text_of(error) or type(error).__name__
        raise UsageError(f"optimizer {name.value} refuses {shown}: {reason}") from None


def _made(
    name: OptimizerName,
    kind: _Kind,
    make: Any,
    parameters: list[nn.Parameter],
    arguments: Mapping[str, Scalar],
) -> Named:
    takes_parts = kind.package == _BITSANDBYTES_PACKAGE and any(map(is_divided, parameters))
    if takes_parts:
        optimizer = over_shards(lambda shards: make(shards, **arguments), parameters)
    else:
        optimizer = make(parameters, **arguments)
    class_name = type(optimizer).__name__
    notes: list[str] = []
    if kind.package in _PIP_NAMES:
        version = metadata.version(_PIP_NAMES[kind.package])
        notes.append(f"optimizer {name.value}: {class_name} of {kind.package} {version}")
    paged = [f"optimizer {name.value}: {_PAGED}"] if name is OptimizerName.PAGED_ADAMW8BIT else []
    shown = f"{class_name} (fused)" if arguments.get("fused") is True else class_name
    said = [f"optimizer {name.value}: {WORDS}"] if takes_parts else []
    return Named(
        optimizer=optimizer, name=shown, assumptions=(*notes, *said, *paged), notes=tuple(notes)
    )


def _installed(name: OptimizerName) -> tuple[_Kind, Any]:
    """Returns the first kind whose package can be imported, and its class.

    Raises:
        UsageError: none can, or the package is too old for it.
    """
    kinds = _KINDS[name]
    for kind in kinds:
        try:
            module = import_module(kind.module)
        except ModuleNotFoundError as error:
            if error.name not in (kind.package, kind.module):
                raise  # the package is there, and lacks another one
            continue
        if not hasattr(module, kind.name):
            version = metadata.version(_PIP_NAMES.get(kind.package, kind.package))
            raise UsageError(
                f"optimizer {name.value} is {kind.module}.{kind.name}, which {kind.package} "
                f"{version} does not have; a later version may: pip install --upgrade "
                f"{_PIP_NAMES.get(kind.package, kind.package)}"
            )
        return kind, getattr(module, kind.name)
    packages = [_PIP_NAMES[kind.package] for kind in kinds]
    others = f" (or {' or '.join(packages[1:])})" if packages[1:] else ""
    raise UsageError(
        f"optimizer {name.value} needs a package that is not installed: pip install "
        f"{packages[0]}{others}"
    )
