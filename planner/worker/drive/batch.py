"""The batch: from build_batch, the data set or the inputs named in the call to tensors on the card.

In: ModelSource, StepConfig, device. Out: BatchPlan, whose `make()` gives a new batch as the
ordinary loop moves it to the card. Convention: the batch dimension leads; tensors with values on
the host are copied from there, the others are zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from planner.config.step import StepConfig
from planner.errors import ModelError, TargetError, UsageError
from planner.worker.drive.batch_objects import is_movable, moved, samples_in, tensors_of_batch
from planner.worker.drive.host_batch import batch_from_dataset, built, from_inputs
from planner.worker.model.layout import placed_as
from planner.worker.model.precision import cast_tensor
from planner.worker.model.tensors import map_tensors
from planner.worker.target.source import (
    SEQUENCE_LENGTH,
    ModelSource,
    SequenceParameter,
    sequence_parameter,
)
from planner.worker.values import twins

_SHOWN = 3  # tensors named in a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The way in which each batch reaches the card."""

    make: Callable[[], Any]
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_batch(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    *,
    real_values: bool = False,
    with_target: bool = False,
) -> BatchPlan:
    """Determines the layout of a batch once; with `real_values`, each has build_batch's values.

    `with_target` appends a target of zeros to the inputs named in the call.

    Raises:
        TargetError: neither build_batch nor inputs were given, or the data set is missing.
        ModelError: build_batch returned no tensor.
        UsageError: some of the inputs named on the command line have a name and some do not; or a
            sequence length that build_batch does not take, or one that it needs.
    """
    build = _builder(source, config)
    template, notes = _template(source, config, build, with_target=with_target)
    _check(template, "collate" if config.batch_from_data else "build_batch")
    warnings = _leading_dimension_warnings(template, config.batch_size)
    places = {tensor.device.type for _, tensor in tensors_of_batch(template)}
    is_drawn = real_values and not config.batch_from_data
    if is_drawn and build is None:
        make = _built_on_the_card(partial(map_tensors, template, _drawn), config, device)
    elif build is not None and (is_drawn or not places <= {"meta", "cpu"}):
        make, notes = _built_on_the_card(build, config, device), () if is_drawn else notes
    else:
        return BatchPlan(
            make=partial(moved, template, device, _bring(config, device)),
            assumptions=notes,
            warnings=warnings,
        )
    if build is not None:
        del template
    return BatchPlan(make=make, assumptions=notes, warnings=warnings)


def _builder(source: ModelSource, config: StepConfig) -> Callable[[], Any] | None:
    """Returns build_batch with its arguments; None if the batch comes from elsewhere."""
    if config.inputs or config.batch_from_data or source.build_batch is None:
        return None
    return _with_sizes(source.build_batch, config, source.label)


def _template(
    source: ModelSource,
    config: StepConfig,
    build: Callable[[], Any] | None,
    *,
    with_target: bool,
) -> tuple[Any, tuple[str, ...]]:
    if config.batch_from_data:
        template, note = batch_from_dataset(source, config)
        return template, (note,)
    if config.inputs:
        notes = []
        if source.build_batch is not None:
            notes.append("the inputs named in the call replace build_batch")
        if with_target:
            notes.append(
                "batch: a target of zeros (int64, one for each sample) stands behind the inputs "
                "named in the call, as training_step unpacks one"
            )
        return from_inputs(config.inputs, config.batch_size, with_target=with_target), tuple(notes)
    if build is not None:
        return built(build)
    if config.sequence_length is not None:
        raise UsageError(
            f"a sequence length of {config.sequence_length} was given (--seq), but {source.label} "
            "has no build_batch that could take it; write `def build_batch(batch_size, "
            f"sequence_length):`, or give --input ids={config.sequence_length}:int64 in its place"
        )
    raise TargetError(
        f"{source.label} says nothing about its input; write `def build_batch(batch_size):` "
        "that returns tensors with the batch leading, or give --input 3x224x224 "
        "(or --input ids=1024:int64), without the batch"
    )


def _with_sizes(
    build_batch: Callable[..., Any], config: StepConfig, label: str
) -> Callable[[], Any]:
    """Returns build_batch with the batch size, and with the sequence length if one is given.

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


def _bring(config: StepConfig, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns a function that brings a tensor of the batch to the card, as `.to(device)` does."""

    def bring(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type not in ("meta", "cpu"):
            return tensor
        cast = cast_tensor(tensor.detach(), config)
        if cast.device.type == "meta":
            placed = placed_as(cast, device)
            twins.note_as_sent(placed)
        else:
            placed = cast.to(device)
        return placed.requires_grad_(tensor.requires_grad)

    return bring


def _built_on_the_card(
    build: Callable[[], Any], config: StepConfig, device: torch.device
) -> Callable[[], Any]:
    """Returns a maker of batches that calls `build` each time and moves the result to the card."""

    def bring(tensor: torch.Tensor) -> torch.Tensor:
        return cast_tensor(tensor.to(device), config)

    return lambda: moved(build(), device, bring)


def _drawn(tensor: torch.Tensor) -> torch.Tensor:
    """Returns noise for a float input named on the command line; others have their values."""
    if tensor.device.type != "meta":
        return tensor
    made = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return made.normal_() if made.is_floating_point() else made


def _check(template: Any, origin: str) -> None:
    if any(True for _ in tensors_of_batch(template)):
        return
    kind = type(template)
    raise ModelError(
        f"{origin} returned a {kind.__module__}.{kind.__qualname__} without a tensor in it; "
        "return a tensor, a tuple, list or dict of tensors, with the batch leading, or an object "
        "that has a .to(device)"
    )


def _leading_dimension_warnings(template: Any, batch_size: int) -> tuple[str, ...]:
    """Returns one sentence for all tensors whose leading dimension is not the batch size."""
    others = [
        f"batch{path} has shape {tuple(tensor.shape)}"
        for path, tensor in _leading(template, batch_size)
        if tensor.dim() == 0 or tensor.shape[0] != batch_size
    ]
    if not others:
        return ()
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    its = "its leading dimension is" if len(others) == 1 else "their leading dimensions are"
    return (
        f"{', '.join(others[:_SHOWN])}{more}: {its} not the batch size {batch_size}, so figures "
        "for other batch sizes may be wrong",
    )


def _leading(tree: Any, batch_size: int, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yields the tensors whose leading dimension should be the batch.

    Skips lists with an item for each sample, and objects that report that number of samples.
    """
    if isinstance(tree, PackedSequence):
        if len(tree.batch_sizes) and int(tree.batch_sizes[0]) != batch_size:
            yield f"{path}.data", tree.data
    elif is_movable(tree):
        if samples_in(tree) != batch_size:
            yield from tensors_of_batch(tree, path)
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leading(value, batch_size, f"{path}[{key!r}]")
    elif isinstance(tree, list) and len(tree) == batch_size:
        return
    elif isinstance(tree, (tuple, list)):
        for index, value in enumerate(tree):
            yield from _leading(value, batch_size, f"{path}[{index}]")
    else:
        yield from tensors_of_batch(tree, path)
