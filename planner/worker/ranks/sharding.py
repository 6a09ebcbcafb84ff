"""Shards a model with FSDP2 in the way of torchtitan: block by block, then what is left.

In: a model without weights, the mesh, FsdpOptions. Out: the same model, sharded, and sentences.
Convention: https://github.com/pytorch/torchtitan (llama3/infra/parallelize.py, apply_fsdp): the
last block stays whole after forward, because backward needs it at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from planner.config.near_words import near
from planner.config.parallel import ComputeDtype, FsdpOptions
from planner.config.step import Precision, StepConfig
from planner.errors import UsageError
from planner.worker.model.checkpointing import repeated_blocks

_DTYPES = {
    ComputeDtype.FP32: torch.float32,
    ComputeDtype.BF16: torch.bfloat16,
    ComputeDtype.FP16: torch.float16,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtypes:
    """The dtypes of MixedPrecisionPolicy; None: those of the parameters."""

    param: torch.dtype | None
    reduce: torch.dtype | None


def dtypes_of(config: StepConfig, options: FsdpOptions) -> Dtypes:
    """Returns the dtypes of gathered parameters and of reduced gradients.

    amp-bf16 is bf16 parameters and float32 reduction, in the place of autocast, as in torchtitan.

    Raises:
        UsageError: the precision is amp-fp16, whose GradScaler needs whole gradients.
    """
    if config.precision is Precision.AMP_FP16:
        raise UsageError(
            "amp-fp16 (--precision) has a GradScaler, which does not take gradients that FSDP "
            "shards: take --precision amp-bf16, or ddp (--parallel)"
        )
    is_mixed = config.precision is Precision.AMP_BF16
    param, reduce = options.param_dtype, options.reduce_dtype
    return Dtypes(
        param=_DTYPES[param] if param is not None else torch.bfloat16 if is_mixed else None,
        reduce=_DTYPES[reduce] if reduce is not None else torch.float32 if is_mixed else None,
    )


def arguments(mesh: Any, options: FsdpOptions, dtypes: Dtypes) -> dict[str, Any]:
    """Returns what each call of fully_shard is given."""
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

    policy = MixedPrecisionPolicy(param_dtype=dtypes.param, reduce_dtype=dtypes.reduce)
    given: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    if options.cpu_offload:
        given["offload_policy"] = CPUOffloadPolicy(pin_memory=options.pin_memory)
    return given


def shard(
    model: nn.Module,
    mesh: Any,
    options: FsdpOptions,
    dtypes: Dtypes,
    blocks: Sequence[nn.Module] | None = None,
) -> tuple[str, ...]:
    """Shards `model` over `mesh`; returns what was assumed. `blocks` are those of the model.

    Raises:
        UsageError: `wrap` matches no module.
    """
    from torch.distributed.fsdp import fully_shard

    given = arguments(mesh, options, dtypes)
    if options.wrap:
        units = _wrapped(model, options.wrap)
    else:
        units = repeated_blocks(model) if blocks is None else list(blocks)
    for number, unit in enumerate(units):
        reshard = options.reshard_after_forward
        if reshard is None:
            reshard = number < len(units) - 1
        fully_shard(unit, reshard_after_forward=reshard, **given)
    fully_shard(model, reshard_after_forward=options.reshard_after_forward is not False, **given)
    if options.prefetch is not None:
        _prefetch(units, options.prefetch)
    return _words(units, options, dtypes)


def unit_names(model: nn.Module) -> tuple[str, ...]:
    """Returns the names of the modules in `model` that are a unit each."""
    from torch.distributed.fsdp import FSDPModule

    named = model.named_modules()
    return tuple(name for name, module in named if name and isinstance(module, FSDPModule))


def _prefetch(units: Sequence[Any], ahead: int) -> None:
    for number, unit in enumerate(units):
        unit.set_modules_to_forward_prefetch(list(units[number + 1 : number + 1 + ahead]))
        before = units[max(0, number - ahead) : number]
        unit.set_modules_to_backward_prefetch(list(reversed(before)))


def _wrapped(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Returns the modules whose class or name has one of the patterns, inner ones first."""
    named = [(name, module) for name, module in model.named_modules() if name]
    found: dict[int, tuple[str, nn.Module]] = {}
    for pattern in patterns:
        matched = [one for one in named if _matches(one, pattern)]
        if not matched:
            raise UsageError(_unknown(named, pattern))
        found |= {id(module): (name, module) for name, module in matched}
    called = [one for one in found.values() if type(one[1]).forward is not nn.Module.forward]
    if not called:
        raise UsageError(
            f"wrap {','.join(patterns)!r} (--parallel-arg) names only containers, which are never "
            "called: name the class of the blocks in them"
        )
    return [module for _, module in sorted(called, key=lambda one: -one[0].count("."))]


def _matches(one: tuple[str, nn.Module], pattern: str) -> bool:
    name, module = one
    return fnmatchcase(name, pattern) or fnmatchcase(type(module).__name__, pattern)


def _unknown(named: Sequence[tuple[str, nn.Module]], pattern: str) -> str:
    classes = Counter(type(module).__name__ for _, module in named)
    meant = near(pattern, [*classes, *(name for name, _ in named)])
    common = ", ".join(name for name, _ in classes.most_common(8))
    hint = f"; did you mean {meant}?" if meant else f"; its classes are {common}"
    return f"wrap {pattern!r} (--parallel-arg) is no class or name of a module of the model{hint}"


def _words(units: Sequence[nn.Module], options: FsdpOptions, dtypes: Dtypes) -> tuple[str, ...]:
    if not units:
        return (
            "FSDP: the model has no repeated blocks in an nn.Sequential or nn.ModuleList, so that "
            "it is one unit: all its parameters are gathered at once (--parallel-arg wrap=NAME "
            "divides it)",
        )
    kinds = Counter(type(unit).__name__.removeprefix("FSDP") for unit in units)
    listed = ", ".join(f"{number} x {name}" for name, number in kinds.items())
    said = [f"FSDP2: sharded by block ({listed}), then the rest of the model"]
    if options.reshard_after_forward is None:
        said[0] += "; the last block stays gathered from forward to backward"
    if dtypes.param is not None or dtypes.reduce is not None:
        param, reduce = (_name(one) for one in (dtypes.param, dtypes.reduce))
        said.append(f"FSDP2 gathers parameters in {param} and reduces gradients in {reduce}")
    return tuple(said)


def _name(dtype: torch.dtype | None) -> str:
    return "their own dtype" if dtype is None else str(dtype).removeprefix("torch.")
