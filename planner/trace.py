"""What one run in the child reports: plain records without torch, sent to the parent as JSON.

In: nothing. Out: StepTrace and its parts. Sizes are bytes of the card, counts are elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(str, Enum):
    """How a run ended when the child lived to say so."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "oom"  # torch.OutOfMemoryError from PyTorch's own allocator, nothing else
    MODEL_ERROR = "model-error"  # the user's code, or PyTorch on its behalf, raised


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRead:
    """A place where a value on the card was read on the host; on the emulated device it is zero."""

    file: str
    line: int
    function: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Elements of the model's parameters and buffers."""

    parameters: int
    trainable_parameters: int
    buffers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run did not complete. `frames` is the user's own part of the traceback."""

    kind: str  # class name of the exception
    message: str
    frames: str = ""
    during: str = ""  # "build", "step 1" ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """Figures of one run: `torch.cuda.memory_stats()` of the child, byte for byte.

    `step_peak_allocated_bytes` has one entry for each step that ended.
    """

    outcome: Outcome
    batch_size: int
    peak_allocated_bytes: int
    peak_active_bytes: int
    peak_reserved_bytes: int
    step_peak_allocated_bytes: tuple[int, ...] = ()
    alloc_retries: int = 0
    optimizer: str = ""  # what stepped: a class name, "none"
    build_on: str = ""  # where the model was built in the end: meta, cpu or device
    counts: Counts | None = None
    attention_backends: tuple[str, ...] = ()
    value_reads: tuple[ValueRead, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
