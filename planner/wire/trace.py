"""The report of one run in the child: plain records without torch, sent to the parent as JSON.

In: nothing. Out: StepTrace and its parts. Sizes are bytes of the card, counts are elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.config.weights import WeightDtype
from planner.wire.communicators import CommunicatorUse
from planner.wire.kernel_facts import AttentionFacts, ConvolutionFacts, LoopFacts
from planner.wire.pipeline import PipelineRecord
from planner.wire.value_reads import ReadSite, ValueRead


class RunOutcome(str, Enum):
    """The end of a run, as the child reports it; a run without a limit says nothing of fitting."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "oom"  # only PyTorch's own allocator or CUDA reported it (on the CPU: malloc)
    MODEL_ERROR = "model-error"  # the user's code, or PyTorch on its behalf, raised
    CUDA_ERROR = "cuda-error"  # a kernel or a library of a physical card failed


class EventKind(str, Enum):
    """A kind of request to the allocator."""

    ALLOC = "alloc"
    """A block is requested."""
    FREE = "free"
    """A block is returned, and free at once."""
    FREE_REQUESTED = "free requested"
    """A block is returned, while another stream still uses it."""
    FREE_COMPLETED = "free completed"
    """The other stream no longer uses it."""
    EMPTY_CACHE = "empty cache"
    """The user's code releases cached segments; without a block."""


FREES = (EventKind.FREE, EventKind.FREE_REQUESTED)
"""The kinds in which the program gives a block back."""


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
    """The optimizer's step, with unscaling, clipping and the average of weights."""
    BETWEEN_STEPS = "between steps"
    """The copy of the batch, and zero_grad, at the beginning of a step."""


class TensorCategory(str, Enum):
    """The purpose of memory."""

    PARAMETER = "parameter"
    """Parameters of the model."""
    BUFFER = "buffer"
    """Buffers, and other tensors that the model's code keeps from step to step."""
    GRADIENT = "gradient"
    """Gradients of parameters."""
    OPTIMIZER_STATE = "optimizer state"
    """Tensors that the optimizer keeps from step to step."""
    SAVED_ACTIVATION = "saved activation"
    """Allocated in forward or loss, and alive when backward begins."""
    TEMPORARY = "temporary"
    """Freed in the phase that allocated it, or with the next step."""
    WORKSPACE = "workspace"
    """Requested by cuBLAS or cuDNN."""
    INPUT = "input"
    """The batch."""
    CACHE = "cache"
    """Keys, values and states that a generation keeps of its tokens."""
    UNATTRIBUTED = "unattributed"
    """Not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a request for memory; "" where that is not known."""

    module: str = ""
    """Dotted path in the model; "" also outside of any submodule."""
    tensor: str = ""
    """Name of the parameter or buffer, also for its gradient or optimizer state."""
    operator: str = ""
    """As torch names it: aten::conv2d, or the name of an autograd node."""
    source: str = ""
    """FILE:LINE in the user's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationEvent:
    """One request to the caching allocator, in order."""

    kind: EventKind
    """The kind of the request."""
    block: int
    """Number of the allocation: an ALLOC and its FREE have the same."""
    size_bytes: int
    """Requested size, before rounding."""
    block_bytes: int = 0
    """Bytes that the allocator took for it; 0: not known."""
    stream: int = 0
    """Number of the CUDA stream; 0 is the default one."""
    step: int = 0
    """0 is the build; steps count from 1."""
    phase: Phase = Phase.BUILD
    """Phase in which it was requested."""
    category: TensorCategory = TensorCategory.UNATTRIBUTED
    """The purpose of the memory."""
    origin: int = 0
    """Index into AllocationTrace.origins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMark:
    """The moment at which another model of a pipeline begins to run."""

    event: int
    """Index of its first event in AllocationTrace.events."""
    stage: str
    """Name of the model in the pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationTrace:
    """Every request of a run, from the first parameter to the end of the last step."""

    events: tuple[AllocationEvent, ...]
    """The requests, in order."""
    origins: tuple[Origin, ...] = (Origin(),)
    """Origins of the requests; events refer to them by index."""
    rounds: tuple[tuple[int, ...], ...] = ()
    """Events at which a loop that writes tokens begins a round, for each step with such a loop."""
    stages: tuple[StageMark, ...] = ()
    """Where the stages of a pipeline begin, in order; none: the target is no pipeline."""


class Recording(str, Enum):
    """The recording of a run; it does not change the figures."""

    NOTHING = "nothing"  # the figures alone
    REQUESTS = "requests"  # a RequestLog: costs milliseconds
    EVENTS = "events"  # an AllocationTrace: costs about as much as the run itself


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLog:
    """Every request of a run without its purpose: the events of AllocationTrace, in columns.

    Entry i of each column belongs to request i. A block is numbered in order of allocation, and
    its end has the number and size of its beginning; stream 0 is the default one.
    `workspace_sizes_bytes` are the sizes of workspaces that cuDNN has reported. `rounds` are the
    entries at which a loop that writes tokens begins a round, for each step with such a loop.
    """

    kinds: tuple[EventKind, ...]
    blocks: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    streams: tuple[int, ...]
    workspace_sizes_bytes: tuple[int, ...] = ()
    rounds: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        columns = (self.kinds, self.blocks, self.sizes_bytes, self.streams)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of {', '.join(str(len(c)) for c in columns)} entries")


class FlopSource(str, Enum):
    """The source of an operator's FLOPs."""

    FORMULA = "formula"
    """Matrix products, convolutions, attention, recurrent layers."""
    ELEMENTWISE = "elementwise"
    """A few for each element or none: its bytes decide its time."""
    UNKNOWN = "unknown"
    """No rule covers it: its number is not known."""


class Issuer(str, Enum):
    """Who issues a call to the card."""

    EAGER = "eager"
    """The model's own code, operator by operator, or autograd's threads."""
    COMPILED = "compiled"
    """Code that torch.compile has made."""
    GRAPH = "graph"
    """A CUDA graph, which the CPU launches as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShape:
    """A tensor of an operator, or several alike tensors in a list argument."""

    shape: tuple[int, ...]
    """Its sizes."""
    dtype: str
    """As in torch.bfloat16, without "torch."."""
    number: int = 1
    """Number of alike tensors."""
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
    """Tensors that one call returns."""
    calls: int
    """Number of calls."""
    flops: int | None
    """FLOPs of one call; None unless `flop_source` is FORMULA."""
    flop_source: FlopSource
    """The source of its FLOPs."""
    read_bytes: int
    """Bytes that one call reads."""
    written_bytes: int
    """Bytes that one call writes."""
    launches: int = 0
    """Kernels that one call launches, as the CUDA runtime sees them; 0: that is not known."""
    attention: AttentionFacts | None = None
    """Of a fused attention."""
    convolution: ConvolutionFacts | None = None
    """Of a convolution."""
    loop: LoopFacts | None = None
    """Of a kernel that Triton made."""
    issuer: Issuer = Issuer.EAGER
    """Who issues the calls."""
    stage: str = ""
    """Model of a pipeline that ran; "": the target is no pipeline."""

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
    """Elements of parameters that require a gradient."""
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
    """Memory of a physical card and of this process after the last step.

    `used_bytes` is of all processes: total - free from cudaMemGetInfo; `reserved_bytes` is the
    memory that PyTorch's allocator had reserved at that moment.
    """

    used_bytes: int
    total_bytes: int
    reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuReading:
    """Memory of the process of a run on the CPU, from /proc/self/status.

    `base_bytes` is resident before the model is built, `peak_bytes` the peak of the run.
    `file_bytes` are resident pages of files (mostly code) at the end of the last step. Mapped
    private memory, written or not (RLIMIT_DATA counts it), is `data_bytes` before the model is
    built and `end_data_bytes` at the end of the last step.
    """

    base_bytes: int
    peak_bytes: int
    file_bytes: int
    data_bytes: int
    end_data_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideMemory:
    """Peak memory of the card from other sources than PyTorch's allocator.

    `total_bytes` is of other libraries' cudaMalloc and of unified memory together, `managed_bytes`
    of unified memory (cudaMallocManaged). `beyond_bytes` is the excess of all memory over the
    card's size, because unified memory is never refused.
    """

    total_bytes: int = 0
    managed_bytes: int = 0
    beyond_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """Figures of one run: `torch.cuda.memory_stats()` of the child, byte for byte.

    `step_peak_allocated_bytes` has one entry for each step that ended; `step_s` too if the run was
    timed. `card` is only for a physical GPU, `host` only for the CPU. `outside` is memory of the
    emulated card that others than PyTorch's allocator took.
    """

    outcome: RunOutcome
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
    optimizer: str = ""  # class name of the optimizer, or "none"
    build_on: str = ""  # final place of the build: meta, cpu or device
    counts: Counts | None = None
    attention_backends: tuple[str, ...] = ()
    value_reads: tuple[ValueRead, ...] = ()
    parted_reads: tuple[ReadSite, ...] = ()  # places that read differently from the values pass
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # those of the assumptions that can make no figure wrong
    warnings: tuple[str, ...] = ()
    failure: Failure | None = None
    rest_bytes: int = 0  # in tensors after the last step that ended, with loss and output
    rank_loads: tuple[int, ...] = ()  # elements of which each rank of a ZeRO-1 job keeps the state
    communicators: tuple[CommunicatorUse, ...] = ()  # groups of ranks that have sent something
    pipeline: PipelineRecord | None = None  # of a rank with stages of the model
    sharded_units: tuple[str, ...] = ()  # modules that FSDP gathers as a unit each, usual plan
    is_compiled: bool = False  # whether the steps ran code of torch.compile


def weight_dtypes(trace: StepTrace) -> tuple[WeightDtype, ...]:
    """Returns the parameters of the model by dtype; none where it was not built."""
    return () if trace.counts is None else trace.counts.weight_dtypes
