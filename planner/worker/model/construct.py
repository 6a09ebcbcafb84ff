"""Builds the model and brings it to the card.

In: ModelSource, StepConfig, device. Out: Built. Convention: the card sees the allocations of
`model.to(dtype).to(device)`; the weights need no host memory unless the constructor reads them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from planner.config.step import BuildOn, StepConfig
from planner.errors import ModelError, UsageError
from planner.wire.trace import Counts
from planner.worker.drive import lightning
from planner.worker.engines import peaks
from planner.worker.model import meta, precision
from planner.worker.model.host_weights import keep_on_host
from planner.worker.model.initialisers import no_redraw_on_cuda
from planner.worker.model.pipeline_model import PipelineModel
from planner.worker.target.frames import first_line, text_of, user_frames
from planner.worker.target.source import ModelSource

# Shards a model before it has memory; returns it, and what was assumed.
Shape = Callable[[nn.Module], tuple[nn.Module, tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A model on the card, and where it was built.

    `counts` are of a model that is spread over several GPUs, before it was: FSDP1 leaves plain
    tensors of this rank alone. None: it is whole, or was not shaped yet.
    """

    model: nn.Module
    build_on: BuildOn
    counts: Counts | None = None
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def construct(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    *,
    real_values: bool = False,
    shape: Shape | None = None,
) -> Built:
    """Builds as `config.build_on` requests; None: without weights first, else on the CPU.

    With `real_values`, None means on the CPU. `shape` shards the model before it is placed.

    Raises:
        ModelError: `build_on` is META and the constructor reads parameter values.
        Exception: whatever the user's constructor raises on the CPU or on the device.
    """
    built = _constructed(source, config, device, real_values=real_values, shape=shape)
    if isinstance(built.model, PipelineModel):
        built.model.size = config.size
    return built


def _constructed(
    source: ModelSource,
    config: StepConfig,
    device: torch.device,
    *,
    real_values: bool,
    shape: Shape | None,
) -> Built:
    with no_redraw_on_cuda():
        if config.build_on is BuildOn.DEVICE:
            return _on_device(source, config, device, shape)
        if config.build_on is BuildOn.CPU or (config.build_on is None and real_values):
            return _on_cpu(source, config, device, shape)
        try:
            return _without_weights(source, config, device, shape)
        except (torch.OutOfMemoryError, UsageError):
            raise
        except Exception as error:
            reason = _reason(error)
            if config.build_on is BuildOn.META:
                raise ModelError(
                    f"the model cannot be built on meta, {reason}; use --build-on cpu",
                    user_frames(error),
                ) from error
        peaks.release(device)
        built = _on_cpu(source, config, device, shape)
        note = f"the model was built on the CPU, {reason}"
        return replace(
            built,
            build_on=BuildOn.CPU,
            assumptions=(note, *built.assumptions),
            notes=(note, *built.notes),
        )


def count(model: nn.Module) -> Counts:
    """Counts elements of parameters and buffers; a tied tensor counts once.

    A parameter that DeepSpeed has dealt out (ZeRO-3) is empty between its uses: it says its own
    number.
    """
    sizes = [
        (int(getattr(parameter, "ds_numel", parameter.numel())), parameter.requires_grad)
        for parameter in model.parameters()
    ]
    return Counts(
        parameters=sum(size for size, _ in sizes),
        trainable_parameters=sum(size for size, trainable in sizes if trainable),
        buffers=sum(buffer.numel() for buffer in model.buffers()),
        weight_dtypes=precision.weight_dtypes(model),
    )


def _without_weights(
    source: ModelSource, config: StepConfig, device: torch.device, shape: Shape | None
) -> Built:
    model = source.ahead.pop() if source.ahead else _on_meta(source)
    cast = precision.cast_model(model, config, keep_dtypes=source.settles_dtypes)
    built = _shaped(model, shape, BuildOn.META, cast)
    return _placed(built, source, config, device)


def _on_meta(source: ModelSource) -> nn.Module:
    with meta.parameters_on_meta():
        try:
            return source.build_model()
        except (MemoryError, RuntimeError) as error:
            if not _host_is_too_small(error):
                raise
            with torch.device("meta"):  # even one weight at a time is too much for this host
                return source.build_model()


def _on_cpu(
    source: ModelSource, config: StepConfig, device: torch.device, shape: Shape | None
) -> Built:
    model = source.build_model()
    without_weights = meta.has_meta(model)  # a live module arrives so
    cast = precision.cast_model(model, config, keep_dtypes=source.settles_dtypes)
    built = _shaped(model, shape, BuildOn.META if without_weights else BuildOn.CPU, cast)
    return _placed(built, source, config, device)


def _on_device(
    source: ModelSource, config: StepConfig, device: torch.device, shape: Shape | None
) -> Built:
    with torch.device(device):
        model = source.build_model()
    meta.to_device(model, device)
    cast = precision.cast_model(model, config, keep_dtypes=source.settles_dtypes)
    built = _shaped(model, shape, BuildOn.DEVICE, cast)
    lightning.placed(built.model, device)
    gc.collect()  # the constructor's garbage would hold blocks of the card
    return built


def _shaped(
    model: nn.Module, shape: Shape | None, build_on: BuildOn, cast: precision.Cast
) -> Built:
    counts: Counts | None = None
    said: tuple[str, ...] = ()
    if shape is not None:
        counts = None if meta.lazy_parameters(model) else count(model)
        model, said = shape(model)
    return Built(
        model=model,
        build_on=build_on,
        counts=counts,
        assumptions=(*cast.assumptions, *said),
        notes=cast.notes,
        warnings=cast.warnings,
    )


def _placed(built: Built, source: ModelSource, config: StepConfig, device: torch.device) -> Built:
    """Brings the model to the device; a pipeline may leave its models on the host.

    Raises:
        UsageError: models were to stay on the host, and the target is no pipeline.
    """
    words: tuple[str, ...] = ()
    if config.pipeline_offload is not None:
        if source.offload is None or device.type != "cuda":
            raise UsageError(
                f"offload {config.pipeline_offload.value} was given (--offload), which belongs to "
                "a pipeline on a card: a target like diffusers:NAME with --task generate, or a "
                "model file with build_pipeline() that returns a pipeline of diffusers"
            )
        kept_bytes = keep_on_host(built.model)
        if isinstance(built.model, PipelineModel):
            built.model.resident_bytes = kept_bytes
        words = source.offload(built.model, config)
    else:
        meta.to_device(built.model, device)
    lightning.placed(built.model, device)
    return replace(built, assumptions=(*built.assumptions, *words))


def _host_is_too_small(error: Exception) -> bool:
    """Returns whether the CPU's allocator failed (it has no exception class of its own)."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in text_of(error)


def _reason(error: Exception) -> str:
    """Returns the reason why weights are needed, in the user's terms."""
    text = text_of(error)
    if isinstance(error, meta.NotPlaceableError):
        return f"because {text}"
    if "set_data" in text:
        return "because its constructor assigns to the .data of a parameter"
    if "copy out of meta" in text:
        return "because its constructor moves parameters, or reads their values"
    if "meta" in text.lower() or isinstance(error, NotImplementedError):
        return f"because its constructor reads parameter values ({first_line(error)})"
    return f"because it could not be built without weights ({first_line(error)})"
