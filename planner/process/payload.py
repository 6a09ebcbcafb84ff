"""Makes the child's target: packs live objects of the caller into a private file.

In: the target as the caller passed it, and the functions given with it. Out: a Target. This
process makes the file for its own children. The file has no name: it is gone when this process
ends in any way. The children open it through /proc, which admits only this user.
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
        """Returns whether any function was given."""
        return any(
            (self.build_batch, self.training_step, self.build_optimizer, self.inference_step)
        )


@contextmanager
def child_target(
    target: Any, functions: ModelFunctions, arguments: tuple[tuple[str, Scalar], ...] = ()
) -> Iterator[Target]:
    """Yields a Target for the child; it is valid within the context.

    Raises:
        UsageError: not a path, a name, a module or a function; or functions together with a file.
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
    # Imports torch: a caller with a live model or a builder has imported it already.
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
