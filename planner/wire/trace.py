"""What one run in the child reports: plain records without torch, sent to the parent as JSON.

In: nothing. Out: StepTrace and its parts. Sizes are bytes of the card, counts are elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.weights import WeightDtype
from planner.wire.value_reads import ReadSite, ValueRead


class Outcome(str, Enum):
    """How a run ended when the child lived to say so."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "oom"  # PyTorch's own allocator said so (on the CPU: malloc), nothing else
    MODEL_ERROR = "model-error"  # the user's code, or PyTorch on its behalf, raised
    CUDA_ERROR = "cuda-error"  # a kernel or a library of a physical card failed


class EventKind(str, Enum):
    """What the allocator was asked for."""

    ALLOC = "alloc"
    FREE = "free"  # given back, and free at once
    FREE_REQUESTED = "free requested"  # given back, while another stream still uses it
    FREE_COMPLETED = "free completed"  # the other stream is done
    EMPTY_CACHE = "empty cache"  # the user's code gave cached segments back; of no block


class Phase(str, Enum):
    """The part of a step in which something happened."""

    BUILD = "build"  # before the first step: model, batch, optimizer
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER_STEP = "optimizer step"
    BETWEEN_STEPS = "between steps"  # moving the batch, zero_grad; it opens a step


class TensorCategory(str, Enum):
    """What memory is held for."""

    PARAMETER = "parameter"
    BUFFER = "buffer"  # also what the model's code keeps from step to step
    GRADIENT = "gradient"
    OPTIMIZER_STATE = "optimizer state"
    SAVED_ACTIVATION = "saved activation"  # made in forward or loss, alive when backward begins
    TEMPORARY = "temporary"  # ends in the phase that made it, or with the next step
    WORKSPACE = "workspace"  # asked for by cuBLAS or cuDNN
    INPUT = "input"  # the batch
    UNATTRIBUTED = "unattributed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where memory was asked for; "" where that is not known.

    `module` is the dotted path in the model, `tensor` the name there of the parameter or buffer
    that it is, or is a gradient or state of; `operator` as torch names it (aten::conv2d or the
    name of an autograd node), `source` the user's FILE:LINE.
    """

    module: str = ""
    tensor: str = ""
    operator: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationEvent:
    """One request to the caching allocator, in order.

    `block` numbers the allocation: an ALLOC and its FREE have the same. `size_bytes` is what was
    asked for, before rounding; `block_bytes` what the allocator took for it, 0 where that is not
    known. `origin` is an index into AllocationTrace.origins.
    """

    kind: EventKind
    block: int
    size_bytes: int
    block_bytes: int = 0
    stream: int = 0
    step: int = 0  # 0 is the build, steps count from 1
    phase: Phase = Phase.BUILD
    category: TensorCategory = TensorCategory.UNATTRIBUTED
    origin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationTrace:
    """Every request of a run, from the first parameter to the end of the last step."""

    events: tuple[AllocationEvent, ...]
    origins: tuple[Origin, ...] = (Origin(),)


class Recording(str, Enum):
    """What of a run is recorded; its figures are the same."""

    NOTHING = "nothing"  # the figures alone
    REQUESTS = "requests"  # a RequestLog: costs milliseconds
    EVENTS = "events"  # an AllocationTrace: costs about as much as the run itself


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLog:
    """Every request of a run without its meaning: the events of AllocationTrace, in columns.

    Entry i of each column belongs to request i. A block is numbered in order of allocation, and
    its end has the number and size of its beginning; stream 0 is the default one.
    `workspace_sizes_bytes` are the sizes that cuDNN has named for workspaces.
    """

    kinds: tuple[EventKind, ...]
    blocks: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    streams: tuple[int, ...]
    workspace_sizes_bytes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        columns = (self.kinds, self.blocks, self.sizes_bytes, self.streams)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of {', '.join(str(len(c)) for c in columns)} entries")


class FlopSource(str, Enum):
    """What is known of the FLOPs of an operator."""

    FORMULA = "formula"  # matrix products, convolutions, attention, recurrent layers
    ELEMENTWISE = "elementwise"  # a few for each element or none: its time is that of its bytes
    UNKNOWN = "unknown"  # no rule covers it: there may be any number


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShape:
    """A tensor of an operator, or `number` alike ones of one of its lists of tensors.

    `channels_last`: its channels, the second dimension of four or five, lie closest in memory.
    """

    shape: tuple[int, ...]
    dtype: str  # as in torch.bfloat16, without "torch."
    number: int = 1
    channels_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRecord:
    """`calls` alike calls of an operator on the card in one phase.

    `name` as torch has it (aten::addmm). `flops`, `read_bytes` and `written_bytes` are of one
    call; flops is None unless `flop_source` is FORMULA.
    """

    name: str
    phase: Phase
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    calls: int
    flops: int | None
    flop_source: FlopSource
    read_bytes: int
    written_bytes: int

    @property
    def total_flops(self) -> int:
        """FLOPs of all calls, as far as there is a formula."""
        return self.calls * (self.flops or 0)

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `operators`."""
        return {
            "name": self.name,
            "phase": self.phase.value,
            "inputs": [_as_dict(tensor) for tensor in self.inputs],
            "outputs": [_as_dict(tensor) for tensor in self.outputs],
            "calls": self.calls,
            "flops": self.flops,
            "flop_source": self.flop_source.value,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
        }


def _as_dict(tensor: TensorShape) -> dict[str, Any]:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "number": tensor.number,
        "channels_last": tensor.channels_last,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Elements of the model's parameters and buffers; the parameters by dtype, most bytes first."""

    parameters: int
    trainable_parameters: int
    buffers: int
    weight_dtypes: tuple[WeightDtype, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run did not complete. `frames` is the user's own part of the traceback."""

    kind: str  # class name of the exception
    message: str
    frames: str = ""
    during: str = ""  # "build", "step 1" ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReading:
    """What a physical card and this process held when the last step had ended.

    `used_bytes` is of all processes: total - free as cudaMemGetInfo says; `reserved_bytes` is what
    PyTorch's allocator had reserved at that moment.
    """

    used_bytes: int
    total_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuReading:
    """What the process of a run on the CPU held in RAM, as /proc/self/status tells it.

    `base_bytes` is resident before the model is built, `peak_bytes` the most that ever was. At the
    end of the last step `file_bytes` of it are pages of files, code above all. Of private memory
    that is mapped, written or not (what RLIMIT_DATA counts), there are `data_bytes` before the
    model is built and `end_data_bytes` at the end of the last step.
    """

    base_bytes: int
    peak_bytes: int
    file_bytes: int
    data_bytes: int
    end_data_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideMemory:
    """Memory of the card that PyTorch's allocator did not hand out, at the most.

    `total_bytes` is of other libraries' cudaMalloc and of unified memory together, `managed_bytes`
    of unified memory (cudaMallocManaged). `beyond_bytes` is by how much all memory together
    exceeded the card, because unified memory is never refused.
    """

    total_bytes: int = 0
    managed_bytes: int = 0
    beyond_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """Figures of one run: `torch.cuda.memory_stats()` of the child, byte for byte.

    `step_peak_allocated_bytes` has one entry for each step that ended, `step_s` too where the run
    was timed. `card` is there on a physical GPU alone, `host` on the CPU. `outside` is what the
    emulated card gave to others than PyTorch's allocator.
    """

    outcome: Outcome
    batch_size: int
    peak_allocated_bytes: int
    peak_active_bytes: int
    peak_reserved_bytes: int
    step_peak_allocated_bytes: tuple[int, ...] = ()
    step_s: tuple[float, ...] = ()
    card: CardReading | None = None
    host: CpuReading | None = None
    outside: OutsideMemory = OutsideMemory()
    alloc_retries: int = 0
    optimizer: str = ""  # what stepped: a class name, "none"
    build_on: str = ""  # where the model was built in the end: meta, cpu or device
    counts: Counts | None = None
    attention_backends: tuple[str, ...] = ()
    value_reads: tuple[ValueRead, ...] = ()
    parted_reads: tuple[ReadSite, ...] = ()  # places that read otherwise than the values pass
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # those of the assumptions that can make no figure wrong
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None


def weight_dtypes(trace: StepTrace) -> tuple[WeightDtype, ...]:
    """The parameters of the model by dtype; none where it was not built."""
    return () if trace.counts is None else trace.counts.weight_dtypes
