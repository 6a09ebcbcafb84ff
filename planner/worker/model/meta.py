"""Models without weights: parameters on the meta device, and their way from there to the card.

In: a constructor to run, or a model with meta tensors. Out: the same model, placed. Convention:
a Parameter keeps its identity throughout (its TensorImpl is swapped), so ties, plain Python
lists of parameters and attributes on them stay true.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from planner.errors import PlannerError
from planner.worker.model import stand_ins
from planner.worker.model.composite import is_wrapper
from planner.worker.model.draws import DrawNothing
from planner.worker.model.layout import placed_as
from planner.worker.ranks import dtensors

_UNINITIALIZED = (UninitializedParameter, UninitializedBuffer)  # nn.LazyLinear and its kin


class NotPlaceableError(PlannerError):
    """A model without weights cannot be brought to the card as `.to(device)` would bring it."""


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Removes the storage of every parameter as soon as a module registers it.

    Buffers and plain tensors stay real: constructors read them (`.item()`, `.tolist()`), and they
    are small. Initialisers then run on meta tensors, where they cost nothing.
    """
    handle = register_module_parameter_registration_hook(_drop_storage)
    try:
        with warnings.catch_warnings(), DrawNothing():
            # load_state_dict says this once for every parameter of the model
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter.*")
            yield
    finally:
        handle.remove()


def to_device(model: nn.Module, device: torch.device) -> None:
    """Brings `model` to `device` in the order of `.to(device)`, meta tensors without a copy.

    nn.Module._apply gives the order (children first, then own parameters, then own buffers) and
    lets modules such as nn.LSTM renew what they derive from their parameters. Meta tensors become
    zeros: embedding indices and divisions stay valid on a real card too. A tensor whose class has a
    `.to` of its own (it may quantise itself) is moved by it, from untouched host memory.

    Raises:
        NotPlaceableError: something outside the model's parameters and buffers refers to weights
            that do not exist.
    """
    _check_hooks(model)
    _forget_computed(model)
    stay_on_host = dtensors.shards_on_host(model)

    def bring(tensor: torch.Tensor) -> torch.Tensor:
        stays = id(tensor) in stay_on_host
        if not _is_meta(tensor) and not stays:
            return tensor.to(device)
        is_divided = dtensors.is_divided(tensor)
        if not is_divided and stand_ins.moves_itself(tensor):
            return _moved_by_itself(tensor, device)
        if stays:
            placed = dtensors.on_host(tensor)
        else:
            placed = (dtensors.empty_as if is_divided else placed_as)(tensor, device)
        if not isinstance(tensor, nn.Parameter):
            return placed
        try:
            become(tensor, placed)
        except RuntimeError as error:
            raise NotPlaceableError(f"a parameter is referred to from elsewhere: {error}") from None
        return tensor.detach()

    apply: Any = model._apply  # untyped in torch
    apply(bring)
    _check_attributes(model)


def _moved_by_itself(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Returns the result of the tensor's own `.to(device)`; host memory lives as in a real run."""
    on_host = stand_ins.on_host(tensor)
    if not isinstance(tensor, nn.Parameter) or is_wrapper(tensor):
        return on_host.to(device)
    try:
        become(tensor, on_host)
    except RuntimeError as error:
        raise NotPlaceableError(f"a parameter is referred to from elsewhere: {error}") from None
    del on_host
    hidden: Any = torch._C._DisableTorchDispatch
    with hidden():  # no pass of values learns bytes that were never there
        return tensor.to(device)


def has_meta(model: nn.Module) -> bool:
    """Returns whether any parameter or buffer has no storage."""
    return any(_is_meta(tensor) for tensor in (*model.parameters(), *model.buffers()))


def lazy_parameters(model: nn.Module) -> int:
    """Counts parameters whose shape the first forward decides (nn.LazyLinear ...)."""
    return sum(isinstance(tensor, _UNINITIALIZED) for tensor in model.parameters())


def _is_meta(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "meta"


def _drop_storage(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    if parameter is None or isinstance(parameter, _UNINITIALIZED):
        return
    if parameter.device.type != "cpu" or type(parameter.data) is not torch.Tensor:
        return
    try:
        become(parameter, torch.empty_like(parameter, device="meta"))
    except RuntimeError:
        return  # referred to from elsewhere: this one keeps its storage and is copied later


def become(parameter: nn.Parameter, data: torch.Tensor) -> None:
    """Gives `parameter` the tensor `data`, keeping the Python object and its attributes.

    `.data =` cannot do this: it refuses tensors of another device type.
    """
    other = nn.Parameter(data.detach(), requires_grad=parameter.requires_grad)
    if type(parameter) is not nn.Parameter:
        other.__class__ = type(parameter)
    other.__dict__.update(parameter.__dict__)
    swap: Any = torch.utils.swap_tensors  # untyped in torch
    swap(parameter, other)


def _check_hooks(model: nn.Module) -> None:
    """Refuses gradient hooks: they are part of the TensorImpl, which is swapped."""
    for name, parameter in model.named_parameters():
        if not _is_meta(parameter):
            continue
        hooks = (
            parameter._backward_hooks,
            getattr(parameter, "_post_accumulate_grad_hooks", None),
        )
        if any(hooks):
            raise NotPlaceableError(f"parameter {name!r} has a gradient hook")


def _forget_computed(model: nn.Module) -> None:
    """Cuts the graphs of weights that each forward computes anew: they hold parameters."""
    for module in model.modules():
        for key in _renewed(module):
            value = vars(module).get(key)
            if isinstance(value, torch.Tensor) and _is_meta(value):
                vars(module)[key] = value.detach()


def _check_attributes(model: nn.Module) -> None:
    """Refuses plain tensors computed from weights: `.to(device)` does not move them."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in _renewed(module):
                continue
            if isinstance(value, torch.Tensor) and _is_meta(value):
                owner = f"{name}.{key}" if name else key
                raise NotPlaceableError(f"{owner!r} is a plain tensor computed from parameters")


def _renewed(module: nn.Module) -> set[str]:
    """Returns the attributes that weight_norm and spectral_norm compute before each forward."""
    hooks = module._forward_pre_hooks.values()
    return {hook.name for hook in hooks if isinstance(hook, (WeightNorm, SpectralNorm))}
