"""A pipeline of several models as one module, so that it is built, placed and recorded as one.

In: a pipeline, an object with models as attributes or components. Out: nn.Module whose children are
these models, under their names. Convention: the children are the stages of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from planner.config.generation import ImageSize
from planner.errors import ModelError
from planner.units import format_bytes
from planner.worker.model.host_weights import WeightCopies, moved_without_bytes

_cuda: Any = torch.cuda  # partly untyped in torch
_SMALL = 0.01  # share of the peak that steps which are not run may keep without a word


class Iterations:
    """The steps of the loop of a pipeline: each ends with a step of its scheduler.

    `skipped` are steps of a whole generation that are not run, because each is like the last one.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self.on_end: Callable[[], None] = lambda: None
        self._allocated_bytes: list[int] = []

    @contextmanager
    def noted(self, pipeline: Any) -> Iterator[None]:
        """Notes the steps within the context."""
        scheduler: Any = getattr(pipeline, "scheduler", None)
        usual = getattr(scheduler, "step", None)
        self._allocated_bytes = []
        if usual is None:
            yield
            return

        def step(*args: Any, **kwargs: Any) -> Any:
            result = usual(*args, **kwargs)
            if _cuda.is_initialized():
                self._allocated_bytes.append(torch.cuda.memory_allocated())
            self.on_end()
            return result

        scheduler.step = step
        try:
            yield
        finally:
            del scheduler.step

    def left_bytes(self) -> int:
        """Returns the memory that the skipped steps would keep, if each keeps what the last did."""
        seen = self._allocated_bytes
        return 0 if len(seen) < 2 else max(0, seen[-1] - seen[-2]) * self.skipped


class PipelineModel(nn.Module):
    """Holds a pipeline and its models; it is never called itself.

    `resident_bytes` are the weights that are kept on the host, and `copies` their moves. `size` is
    that of the image or clip of this run; None: that of the task.
    """

    resident_bytes: int
    size: ImageSize | None

    def __init__(self, pipeline: Any) -> None:
        """Takes the models of `pipeline`.

        Raises:
            ModelError: it has none.
        """
        super().__init__()
        self.pipeline = pipeline
        self.copies = WeightCopies()
        self.resident_bytes = 0
        self.size = None
        self.iterations = Iterations()
        for name, model in models_of(pipeline).items():
            self.add_module(name, model)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keeps a pipeline that is a module itself out of the children: its models are these."""
        if name in ("pipeline", "copies", "iterations", "resident_bytes", "size"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


def pipeline_step(call: Callable[[Any, Any], Any]) -> Callable[[nn.Module, Any], Any]:
    """Returns the inference_step that calls `call(pipeline, batch)`.

    It runs without gradients, and not in inference mode: a pipeline brings models to the card and
    back by their `.data`, which inference mode refuses.
    """

    def inference_step(model: nn.Module, batch: Any) -> Any:
        assert isinstance(model, PipelineModel), "build_model made it"
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            moved_without_bytes(model.copies),
            model.iterations.noted(model.pipeline),
        ):
            return call(model.pipeline, batch)

    return inference_step


def growth_warnings(model: nn.Module, peak_bytes: int) -> tuple[str, ...]:
    """Returns a warning if steps of a pipeline that were not run would keep much memory."""
    left_bytes = model.iterations.left_bytes() if isinstance(model, PipelineModel) else 0
    if left_bytes <= _SMALL * peak_bytes:
        return ()
    return (
        "denoising: each step keeps memory of its own, so the steps that were not run may need "
        f"about {format_bytes(left_bytes)} more than is said here",
    )


def models_of(pipeline: Any) -> dict[str, nn.Module]:
    """Returns the models of a pipeline by name, each once.

    Raises:
        ModelError: there is none.
    """
    named = _named(pipeline)
    found: dict[str, nn.Module] = {}
    for name, value in named.items():
        if isinstance(value, nn.Module) and not any(value is one for one in found.values()):
            found[name] = value
    if not found:
        raise ModelError(
            f"build_pipeline returned a {type(pipeline).__name__} without a model: return a "
            "pipeline of diffusers, an object with models as attributes, or a dict of models"
        )
    return found


def _named(pipeline: Any) -> Mapping[str, Any]:
    if isinstance(pipeline, Mapping):
        return pipeline
    components = getattr(pipeline, "components", None)
    if isinstance(components, Mapping):
        return components
    if isinstance(pipeline, nn.Module):
        return dict(pipeline.named_children())
    return vars(pipeline) if hasattr(pipeline, "__dict__") else {}
