"""The target as the child wants it: live objects of the caller are packed into a private file.

In: what the caller passed as target, and the functions beside it. Out: a Target. The file is
made by this process for its own children and has no name: it is gone with this process, however
that ends. The children open it through /proc, which lets in nobody but this user.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from planner.config.target import Scalar, Target, TargetKind, parse_target
from planner.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFunctions:
    """Functions of the model-file contract given as live objects; None where not given."""

    build_batch: Callable[[int], Any] | None = None
    training_step: Callable[..., Any] | None = None
    build_optimizer: Callable[..., Any] | None = None
    inference_step: Callable[[Any, Any], Any] | None = None

    @property
    def given(self) -> bool:
        """Whether any was given."""
        return any(
            (self.build_batch, self.training_step, self.build_optimizer, self.inference_step)
        )


@contextmanager
def child_target(
    target: Any, functions: ModelFunctions, arguments: tuple[tuple[str, Scalar], ...] = ()
) -> Iterator[Target]:
    """A Target for the child; valid within the context.

    Raises:
        UsageError: neither a path or name, nor a module or function; or functions beside a file.
        TargetError: an object that cannot be sent to another process.
    """
    if isinstance(target, Target):
        yield target
        return
    if isinstance(target, (str, os.PathLike)):
        if functions.given:
            raise UsageError(
                "build_batch, training_step, build_optimizer and inference_step belong in the "
                f"model file when the target is the file or module {os.fspath(target)!r}"
            )
        yield parse_target(os.fspath(target), arguments)
        return
    torch = sys.modules.get("torch")
    if not callable(target) and not (torch and isinstance(target, torch.nn.Module)):
        raise UsageError(
            f"the target is a {type(target).__name__}; give a model file, package.module:NAME, "
            "an nn.Module or a function that builds one"
        )
    # Imports torch: the caller who has a live model or a builder has it already.
    from planner.worker.target.transport import pack

    payload = pack(
        target,
        functions.build_batch,
        functions.training_step,
        functions.build_optimizer,
        functions.inference_step,
    )
    with tempfile.TemporaryFile() as file:
        file.write(payload)
        file.flush()
        location = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        name = getattr(target, "__name__", type(target).__name__)
        yield Target(kind=TargetKind.PICKLE, location=location, name=name, arguments=arguments)
