"""What one run in the child reports: plain records without torch, sent to the parent as JSON.

In: nothing. Out: StepTrace and its parts. Sizes are bytes of the card, counts are elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
    """A block is requested."""
    FREE = "free"
    """A block is given back, and free at once."""
    FREE_REQUESTED = "free requested"
    """A block is given back, while another stream still uses it."""
    FREE_COMPLETED = "free completed"
    """The other stream no longer uses it."""
    EMPTY_CACHE = "empty cache"
    """The user's code gives cached segments back; of no block."""


class Phase(str, Enum):
    """The part of a step in which something happened."""

    BUILD = "build"
    """Before the first step: model, batch, optimizer."""
    FORWARD = "forward"
    """The model's forward."""
    LOSS = "loss"
    """The loss of its output."""
    BACKWARD = "backward"
    """Gradients."""
    OPTIMIZER_STEP = "optimizer step"
    """The optimizer's step, and what belongs to it."""
    BETWEEN_STEPS = "between steps"
    """The copy of the batch, and zero_grad; it opens a step."""


class TensorCategory(str, Enum):
    """What memory is held for."""

    PARAMETER = "parameter"
    """Parameters of the model."""
    BUFFER = "buffer"
    """Buffers, and what the model's code keeps from step to step."""
    GRADIENT = "gradient"
    """Gradients of parameters."""
    OPTIMIZER_STATE = "optimizer state"
    """What the optimizer keeps from step to step."""
    SAVED_ACTIVATION = "saved activation"
    """Made in forward or loss, and alive when backward begins."""
    TEMPORARY = "temporary"
    """Ends in the phase that made it, or with the next step."""
    WORKSPACE = "workspace"
    """Requested by cuBLAS or cuDNN."""
    INPUT = "input"
    """The batch."""
    UNATTRIBUTED = "unattributed"
    """Not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where memory was requested; "" where that is not known."""

    module: str = ""
    """Dotted path in the model; "" is outside of any submodule too."""
    tensor: str = ""
    """Name of the parameter or buffer that it is, or is a gradient or state of."""
    operator: str = ""
    """As torch names it: aten::conv2d, or the name of an autograd node."""
    source: str = ""
    """FILE:LINE of the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationEvent:
    """One request to the caching allocator, in order."""

    kind: EventKind
    """What was requested."""
    block: int
    """Number of the allocation: an ALLOC and its FREE have the same."""
    size_bytes: int
    """Requested size, before rounding."""
    block_bytes: int = 0
    """What the allocator took for it; 0: not known."""
    stream: int = 0
    """Number of the CUDA stream; 0 is the default one."""
    step: int = 0
    """0 is the build; steps count from 1."""
    phase: Phase = Phase.BUILD
    """Phase in which it was requested."""
    category: TensorCategory = TensorCategory.UNATTRIBUTED
    """What the memory is held for."""
    origin: int = 0
    """Index into AllocationTrace.origins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationTrace:
    """Every request of a run, from the first parameter to the end of the last step."""

    events: tuple[AllocationEvent, ...]
    """The requests, in order."""
    origins: tuple[Origin, ...] = (Origin(),)
    """Where memory was requested; events name them by index."""


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

    FORMULA = "formula"
    """Matrix products, convolutions, attention, recurrent layers."""
    ELEMENTWISE = "elementwise"
    """A few for each element or none: its time is that of its bytes."""
    UNKNOWN = "unknown"
    """No rule covers it: there may be any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShape:
    """A tensor of an operator, or alike ones of one of its lists of tensors."""

    shape: tuple[int, ...]
    """Its sizes."""
    dtype: str
    """As in torch.bfloat16, without "torch."."""
    number: int = 1
    """How many alike tensors there are."""
    channels_last: bool = False
    """Its channels, the second dimension of four or five, are next to each other in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRecord:
    """Alike calls of an operator on the card in one phase."""

    name: str
    """As torch names it: aten::addmm."""
    phase: Phase
    """Phase of the calls."""
    inputs: tuple[TensorShape, ...]
    """Tensors that one call reads."""
    outputs: tuple[TensorShape, ...]
    """Tensors that it gives."""
    calls: int
    """How many calls there were."""
    flops: int | None
    """FLOPs of one call; None unless `flop_source` is FORMULA."""
    flop_source: FlopSource
    """What is known of its FLOPs."""
    read_bytes: int
    """Bytes that one call reads."""
    written_bytes: int
    """Bytes that it writes."""

    @property
    def total_flops(self) -> int:
        """FLOPs of all calls, as far as there is a formula."""
        return self.calls * (self.flops or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Elements of the model's parameters and buffers."""

    parameters: int
    """Elements of all parameters."""
    trainable_parameters: int
    """Those that require a gradient."""
    buffers: int
    """Elements of all buffers."""
    weight_dtypes: tuple[WeightDtype, ...] = ()
    """Parameters by dtype, most bytes first."""


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
    """Returns the parameters of the model by dtype; none where it was not built."""
    return () if trace.counts is None else trace.counts.weight_dtypes
