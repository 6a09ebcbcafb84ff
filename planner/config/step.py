"""How a step is run, as data: mode, precision, optimizer, batch, and the choices for each.

In: words of the user, parsed here once. Out: frozen records that go to the child as JSON.
Convention: `None` means "not given": the model file decides, else a default that is reported.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

from planner.config.generation import ImageSize, TokenWindow
from planner.config.levers import check_levers
from planner.config.parallel import ParallelConfig
from planner.config.target import Scalar
from planner.errors import UsageError

EMA_DECAY = 0.999  # the default, as in torch.optim.swa_utils.get_ema_multi_avg_fn


DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip


class Mode(str, Enum):
    """The kind of a step."""

    TRAIN = "train"
    """Forward, loss, backward, optimizer step."""
    INFER = "infer"
    """Forward alone, under torch.inference_mode()."""


class Precision(str, Enum):
    """Dtype of weights and arithmetic."""

    AS_BUILT = "as-built"
    """Nothing is cast: each weight has the dtype that the model file gives it."""
    FP32 = "fp32"
    """Weights, gradients and optimizer state in float32."""
    FP16 = "fp16"
    """The same in float16."""
    BF16 = "bf16"
    """The same in bfloat16."""
    AMP_FP16 = "amp-fp16"
    """Weights as built, autocast to float16, GradScaler in training."""
    AMP_BF16 = "amp-bf16"
    """Weights as built, autocast to bfloat16."""


class OptimizerName(str, Enum):
    """Optimizers that can be requested by name, with the defaults of their classes."""

    SGD = "sgd"
    """torch.optim.SGD."""
    SGD_MOMENTUM = "sgd-momentum"
    """The same with momentum 0.9."""
    SGD_FUSED = "sgd-fused"
    """The same with fused=True: one kernel for many tensors."""
    ADAM = "adam"
    """torch.optim.Adam."""
    ADAM8BIT = "adam8bit"
    """Of bitsandbytes: state in 2 bytes a parameter."""
    ADAMW = "adamw"
    """torch.optim.AdamW."""
    ADAMW_FUSED = "adamw-fused"
    """The same with fused=True."""
    ADAMW8BIT = "adamw8bit"
    """Of bitsandbytes."""
    PAGED_ADAMW8BIT = "paged-adamw8bit"
    """Of bitsandbytes: state in managed memory."""
    ADAFACTOR = "adafactor"
    """torch.optim.Adafactor."""
    ADAGRAD = "adagrad"
    """torch.optim.Adagrad."""
    LION = "lion"
    """Of lion-pytorch, else of bitsandbytes."""
    MUON = "muon"
    """For the matrices of hidden layers, with AdamW for the rest."""
    RMSPROP = "rmsprop"
    """torch.optim.RMSprop."""
    NONE = "none"
    """Gradients are computed, no optimizer steps."""


class DataDependent(str, Enum):
    """How numbers that only a card could compute decide sizes."""

    TYPICAL = "typical"
    """The numbers are drawn at random, like those of an untrained network."""
    MOST = "most"
    """Each decision takes the most: masks all true, all tokens to the first expert."""


class Offload(str, Enum):
    """A part of the step that is kept in the RAM of the host."""

    ACTIVATIONS = "activations"
    """What autograd saves, by torch.autograd.graph.save_on_cpu(pin_memory=True)."""
    OPTIMIZER = "optimizer"
    """The optimizer with its states, over copies of the weights; its update runs on the host."""
    MODEL = "model"
    """In a pipeline, each model but the one that runs: enable_model_cpu_offload() of diffusers."""
    SEQUENTIAL = "sequential"
    """In a pipeline, each layer but the one that runs: enable_sequential_cpu_offload()."""


class CompileMode(str, Enum):
    """How torch.compile is used; the words are its own, but for the last one."""

    DEFAULT = "default"
    """model.compile()."""
    REDUCE_OVERHEAD = "reduce-overhead"
    """The same with CUDA graphs."""
    MAX_AUTOTUNE = "max-autotune"
    """The same with CUDA graphs, and matrix products and convolutions that are tuned."""
    OFF = "off"
    """Compiled parts of the user's model run as eager code."""


class BuildOn(str, Enum):
    """Where the model is constructed before it reaches the card."""

    META = "meta"
    """Parameters without storage; the card gets them as .to(device) would place them."""
    CPU = "cpu"
    """Ordinary construction in host memory, then .to(device)."""
    DEVICE = "device"
    """Constructed on the card itself, and cast there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input tensor."""

    shape: tuple[int, ...]
    """Sizes of one sample, without the batch dimension in front."""
    dtype: str = "float32"
    """As in torch.float32, without "torch."."""
    name: str | None = None
    """The keyword, or the place in a nested batch, like `past[0]`; None: passed by position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeAt:
    """The size that an operator at a line of the user's code must return."""

    file: str
    """The file, as the report names it."""
    line: int
    """Number of the line."""
    size: int
    """The size to return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """How the step is run."""

    batch_size: int = 8
    """Samples of one micro-batch; on several GPUs, of each rank with samples of its own."""
    sequence_length: int | None = None
    """Tokens of a sample, for a build_batch that takes one; None: its own."""
    mode: Mode = Mode.TRAIN
    """Training or inference."""
    precision: Precision | None = None
    """Dtype of weights and arithmetic; None casts nothing, as AS_BUILT. In a result it is
    settled: FP32 where all weights are float32."""
    optimizer: OptimizerName | None = None
    """An optimizer by name; None: the model file's, else AdamW."""
    optimizer_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument of the optimizer."""
    inputs: tuple[InputSpec, ...] = ()
    """Tensors of the batch; none: build_batch."""
    channels_last: bool = False
    """Weights and images in channels_last."""
    checkpoint_activations: bool = False
    """Recomputes the activations of blocks in backward."""
    accumulate: int = 1
    """Micro-batches of a step."""
    set_to_none: bool = True
    """zero_grad drops gradients; False: it fills them with zeros."""
    steps: int = 3
    """Number of steps to run."""
    build_on: BuildOn | None = None
    """Where the model is built; None: without weights if that is possible."""
    alloc_conf: str | None = None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""
    data_dependent: DataDependent = DataDependent.TYPICAL
    """How numbers that only a card can compute decide sizes."""
    size_at: tuple[SizeAt, ...] = ()
    """Sizes that operators at lines of the code must return."""
    batch_from_data: bool = False
    """Makes the batch of items of the user's data set."""
    clip_grad_norm: float | None = None
    """Greatest norm of all gradients; None: they are not clipped."""
    ema: float | None = None
    """Decay of a moving average of the weights; None: there is none."""
    checkpoint_blocks: str | None = None
    """Which blocks recompute their activations: "all", "every:2", "first:8" or names of modules
    like "layer1.*,layers.3"; None: as checkpoint_activations says."""
    chunked_loss: int | None = None
    """Pieces in which output layer and cross-entropy are computed; None: whole."""
    compile: CompileMode | None = None
    """How the model is compiled; None: as the model file has it."""
    optimizer_in_backward: bool = False
    """Each parameter is stepped in backward, as soon as its gradient is there."""
    offload: tuple[Offload, ...] = ()
    """Parts that are kept in the RAM of the host, in the order of Offload."""
    parallel: ParallelConfig | None = None
    """How the job is spread over several GPUs; None: it runs on one."""
    window: TokenWindow | None = None
    """The part of a generation that is run; None: the whole one."""
    size: ImageSize | None = None
    """Size of what a pipeline makes; None: that of its task."""

    @property
    def compiles(self) -> bool:
        """Returns whether the step compiles the model, also where its file does not."""
        return self.compile not in (None, CompileMode.OFF)

    @property
    def offloads_activations(self) -> bool:
        """Returns whether saved tensors are on the host."""
        return Offload.ACTIVATIONS in self.offload

    @property
    def offloads_optimizer(self) -> bool:
        """Returns whether the optimizer is on the host."""
        return Offload.OPTIMIZER in self.offload

    @property
    def pipeline_offload(self) -> Offload | None:
        """Returns how the models of a pipeline are on the host; None: they are on the card."""
        found = [one for one in (Offload.MODEL, Offload.SEQUENTIAL) if one in self.offload]
        return found[0] if found else None

    @property
    def precision_name(self) -> str:
        """Returns the precision in the words of --precision."""
        return (self.precision or Precision.AS_BUILT).value

    @property
    def samples_of_a_step(self) -> int:
        """Returns the samples of an optimizer step, of all ranks together."""
        parallel = self.parallel
        times = 1 if parallel is None else parallel.samples_ranks * parallel.microbatches
        return self.batch_size * self.accumulate * times

    def __post_init__(self) -> None:
        for field in ("batch_size", "sequence_length", "accumulate", "steps"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise UsageError(f"{field} must be at least 1, not {value}")
        if self.batch_from_data and (self.inputs or self.sequence_length is not None):
            given = "inputs (--input)" if self.inputs else "a sequence length (--seq)"
            raise UsageError(
                f"{given} and the batch from the data set (--batch-from-data) were asked for: the "
                "items of the data set have shapes of their own; leave one of them out"
            )
        if self.sequence_length is not None and self.inputs:
            raise UsageError(
                f"a sequence length of {self.sequence_length} was given (--seq), and inputs "
                "(--input) that have a shape of their own: leave the sequence length out, and put "
                f"it into the shape, as in --input ids={self.sequence_length}:int64"
            )
        self._check_what_follows_backward()
        check_levers(self)

    def _check_what_follows_backward(self) -> None:
        if self.clip_grad_norm is not None and not 0 < self.clip_grad_norm < math.inf:
            raise UsageError(
                f"clip_grad_norm must be a norm above 0, like 1.0, not {self.clip_grad_norm!r}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise UsageError(
                f"ema must be a decay between 0 and 1, like {EMA_DECAY}, not {self.ema!r}"
            )
        for name, option, value in (
            ("clip_grad_norm", "--clip-grad-norm", self.clip_grad_norm), ("ema", "--ema", self.ema)
        ):  # fmt: skip
            if value is not None and self.mode is Mode.INFER:
                raise UsageError(
                    f"{name} {value:g} was given ({option}), which belongs to a training step, and "
                    "mode is infer: leave one of the two out"
                )


def parse_input(text: str) -> InputSpec:
    """Parses `3x224x224`, `ids=1024:int64` or `x=128x64:float16`; the batch is not written.

    Raises:
        UsageError: not of this form, or a dtype that is not one of DTYPES.
    """
    match = re.fullmatch(r"(?:([A-Za-z_]\w*)=)?(\d+(?:x\d+)*|scalar)(?::(\w+))?", text.strip())
    if match is None:
        raise UsageError(
            f"input {text!r} is not of the form [NAME=]SHAPE[:DTYPE]; "
            "write 3x224x224 or ids=1024:int64 (without the batch)"
        )
    name, shape, dtype = match.group(1), match.group(2), match.group(3) or "float32"
    if dtype not in DTYPES:
        raise UsageError(f"input {text!r}: dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    sizes = () if shape == "scalar" else tuple(int(part) for part in shape.split("x"))
    if 0 in sizes:
        raise UsageError(f"input {text!r}: a dimension of 0 holds no data")
    return InputSpec(shape=sizes, dtype=dtype, name=name)


def parse_size_at(text: str) -> SizeAt:
    """Parses `net.py:20=512`: the operator at line 20 of net.py returns 512.

    Raises:
        UsageError: not of this form.
    """
    match = re.fullmatch(r"(.+):(\d+)=(\d+)", text.strip())
    if match is None or not int(match[2]):
        raise UsageError(
            f"a size at {text!r} is not of the form FILE:LINE=N; write net.py:20=512, with the "
            "file and line that the report names"
        )
    return SizeAt(file=match[1], line=int(match[2]), size=int(match[3]))
