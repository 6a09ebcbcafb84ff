"""The batch: from build_batch or the inputs named on the command line to tensors on the card.

In: ModelSource, StepConfig, device. Out: BatchPlan, whose `make()` gives a new batch as the
ordinary loop moves it to the card. Convention: the batch dimension leads; the values are zeros and
cost no host memory, unless build_batch cannot run without values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch

from planner.errors import ModelError, TargetError, UsageError
from planner.step.draws import DrawNothing
from planner.step.frames import first_line
from planner.step.layout import placed_as
from planner.step.precision import cast_tensor
from planner.step.source import (
    SEQUENCE_LENGTH,
    ModelSource,
    SequenceParameter,
    sequence_parameter,
)
from planner.step.tree import map_tensors, tensors_in
from planner.workload import InputSpec, StepConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How one batch after the other reaches the card."""

    make: Callable[[], Any]
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_batch(
    source: ModelSource, config: StepConfig, device: torch.device, *, real_values: bool = False
) -> BatchPlan:
    """Find out once what a batch looks like; with `real_values` each has those of build_batch.

    Raises:
        TargetError: neither build_batch nor inputs were given.
        ModelError: build_batch returned no tensor.
        UsageError: some of the inputs named on the command line have a name and some do not; or a
            sequence length that build_batch does not take, or one that it needs.
    """
    notes: tuple[str, ...] = ()
    build: Callable[[], Any] | None = None
    if config.inputs:
        template = _from_inputs(config.inputs, config.batch_size)
        if source.build_batch is not None:
            notes = ("the inputs named in the call replace build_batch",)
    elif source.build_batch is not None:
        build = _with_sizes(source.build_batch, config, source.label)
        template, notes = _from_function(build)
    elif config.sequence_length is not None:
        raise UsageError(
            f"a sequence length of {config.sequence_length} was given (--seq), but {source.label} "
            "has no build_batch that could take it; write `def build_batch(batch_size, "
            f"sequence_length):`, or give --input ids={config.sequence_length}:int64 in its place"
        )
    else:
        raise TargetError(
            f"{source.label} says nothing about its input; write `def build_batch(batch_size):` "
            "that returns tensors with the batch leading, or give --input 3x224x224 "
            "(or --input ids=1024:int64), without the batch"
        )
    _check(template)
    warnings = _leading_dimension_warnings(template, config.batch_size)
    places = {tensor.device.type for _, tensor in tensors_in(template)}
    if real_values:
        if build is None:
            make = _built_on_the_card(partial(map_tensors, template, _drawn), config, device)
        else:
            make, notes = _built_on_the_card(build, config, device), ()
        del template
    elif build is not None and not places <= {"meta", "cpu"}:
        del template
        make = _built_on_the_card(build, config, device)
    else:
        prepared = map_tensors(template, lambda tensor: cast_tensor(tensor, config))
        make = _moved(prepared, device)
    return BatchPlan(make=make, assumptions=notes, warnings=warnings)


def _with_sizes(
    build_batch: Callable[..., Any], config: StepConfig, label: str
) -> Callable[[], Any]:
    """build_batch with its arguments: the batch size, and the sequence length where one is given.

    Raises:
        UsageError: a sequence length is given and not taken, or needed and not given.
    """
    length, parameter = config.sequence_length, sequence_parameter(build_batch)
    if length is None:
        if parameter is SequenceParameter.REQUIRED:
            raise UsageError(
                f"build_batch of {label} needs a sequence_length, and none was given; give one, as "
                "in --seq 512, or write a default: `def build_batch(batch_size, "
                "sequence_length=512):`"
            )
        return partial(build_batch, config.batch_size)
    if parameter is SequenceParameter.NONE:
        raise UsageError(
            f"a sequence length of {length} was given (--seq), but build_batch"
            f"{_signature(build_batch)} of {label} has no parameter {SEQUENCE_LENGTH} that can be "
            "passed by name; write `def build_batch(batch_size, sequence_length):`"
        )
    return partial(build_batch, config.batch_size, **{SEQUENCE_LENGTH: length})


def _signature(function: Callable[..., Any]) -> str:
    try:
        return str(signature(function))
    except (TypeError, ValueError):
        return ""


def _moved(prepared: Any, device: torch.device) -> Callable[[], Any]:
    def bring(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "meta":
            return tensor.to(device)
        placed = placed_as(tensor, device)
        return placed.requires_grad_(tensor.requires_grad)

    return lambda: map_tensors(prepared, bring)


def _built_on_the_card(
    build: Callable[[], Any], config: StepConfig, device: torch.device
) -> Callable[[], Any]:
    """For a build_batch that makes its tensors on the card itself, anew for each step."""

    def make() -> Any:
        return map_tensors(build(), lambda tensor: cast_tensor(tensor.to(device), config))

    return make


def _drawn(tensor: torch.Tensor) -> torch.Tensor:
    """Values for an input named on the command line: noise, or zeros, which any table holds."""
    made = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return made.normal_() if made.is_floating_point() else made


def _from_inputs(inputs: tuple[InputSpec, ...], batch_size: int) -> Any:
    def tensor(spec: InputSpec) -> torch.Tensor:
        dtype = getattr(torch, spec.dtype)
        return torch.empty((batch_size, *spec.shape), dtype=dtype, device="meta")

    named = {spec.name: tensor(spec) for spec in inputs if spec.name is not None}
    if not named:
        tensors = tuple(tensor(spec) for spec in inputs)
        return tensors[0] if len(tensors) == 1 else tensors
    if len(named) != len(inputs):
        raise UsageError(
            "give every input a name of its own (ids=1024:int64) or none of them: "
            "named inputs are passed by keyword, others by position"
        )
    return named


def _from_function(build: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    try:
        with torch.device("meta"), DrawNothing(meta_by_default=True):
            template = build()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = f"it does not run without values ({first_line(error)})"
    else:
        kinds = {tensor.device.type for _, tensor in tensors_in(template)}
        if kinds <= {"meta"}:
            return template, ()
        reason = "it makes its tensors from values"
    note = (
        f"build_batch was run on the CPU, because {reason}; "
        "its time and host memory grow with the batch"
    )
    return build(), (note,)


def _check(template: Any) -> None:
    if any(True for _ in tensors_in(template)):
        return
    kind = type(template)
    raise ModelError(
        f"build_batch returned a {kind.__module__}.{kind.__qualname__} without a tensor in it; "
        "return a tensor, or a tuple, list or dict of tensors, with the batch leading"
    )


def _leading_dimension_warnings(template: Any, batch_size: int) -> tuple[str, ...]:
    return tuple(
        f"batch{path} has shape {tuple(tensor.shape)}: its leading dimension is not the batch "
        f"size {batch_size}, so figures for other batch sizes may be wrong"
        for path, tensor in tensors_in(template)
        if tensor.dim() == 0 or tensor.shape[0] != batch_size
    )
