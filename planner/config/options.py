"""The typed options of the public functions: editors and mypy find a wrong name.

In: nothing. Out: TypedDicts for `**options: Unpack[...]`. Convention: values are checked when they
are used (config/parse.py, estimation/job.py); this module has the types that a caller may write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from planner.config.generation import JobMode, KvCache
from planner.config.inputs import Inputs
from planner.config.published import Attention, Decoding, Like, Quant, Task
from planner.config.step import (
    BuildOn,
    CompileMode,
    DataDependent,
    Mode,
    Offload,
    OptimizerName,
    Precision,
    SizeAt,
)
from planner.config.target import Scalar

Progress = Callable[[str], None]
# In a line "CARD: FOUND; now NEXT" the part before this is a final result.
FOUND_BEFORE = "; now "
Arguments = Mapping[str, Scalar] | str | Sequence[str | tuple[str, Scalar]]


class StepOptions(TypedDict, total=False):
    """How the step is run; see StepConfig."""

    sequence_length: int | None
    """Tokens of a sample, for a build_batch that takes a sequence length; None: its own."""
    mode: str | Mode | JobMode
    """"train", "infer", or "generate" of a published model."""
    precision: str | Precision | None
    """"fp32", "amp-bf16" ...; None casts nothing."""
    optimizer: str | OptimizerName | None
    """An optimizer by name; None: the model file's, else AdamW."""
    optimizer_arguments: Arguments
    """Its arguments, as {"lr": 0.1}."""
    inputs: Inputs
    """Example tensors, or shapes without the batch, like (3, 224, 224); none: build_batch."""
    channels_last: bool
    """Weights and images in channels_last."""
    checkpoint_activations: bool
    """Recomputes the activations of blocks in backward."""
    accumulate: int
    """Micro-batches of a step."""
    set_to_none: bool
    """True: zero_grad drops gradients; False: it fills them with zeros."""
    steps: int
    """Number of steps to run."""
    build_on: str | BuildOn | None
    """"meta", "cpu" or "device"; None: without weights if that is possible."""
    data_dependent: str | DataDependent
    """"typical" or "most": how numbers that only a card can compute decide sizes."""
    size_at: Mapping[str, int] | str | SizeAt | Sequence[str | SizeAt]
    """Sizes at lines of the code, like {"net.py:20": 512}."""
    batch_from_data: bool
    """Makes the batch of items of the user's data set."""
    clip_grad_norm: float | None
    """Greatest norm of all gradients; None: they are not clipped."""
    ema: float | bool | None
    """Decay of a moving average of the weights; None or False: there is none."""
    checkpoint_blocks: str | None
    """Which blocks do: "all", "every:2", "first:8" or names of modules like "layers.3"."""
    chunked_loss: int | None
    """Pieces in which output layer and cross-entropy are computed; None: whole."""
    compile: str | CompileMode | bool | None
    """"default", "reduce-overhead" or "max-autotune" of torch.compile, "off"; None: as written."""
    optimizer_in_backward: bool
    """Steps each parameter in backward, as soon as its gradient is there."""
    offload: str | Offload | Sequence[str | Offload]
    """Parts that are kept in the RAM of the host: "activations", "optimizer" or both."""


class ParallelOptions(TypedDict, total=False):
    """How the job is spread over several GPUs; see ParallelConfig."""

    num_gpus: int | None
    """GPUs of the whole job; None: one, or the product of the degrees in `parallel`."""
    num_hosts: int | None
    """Machines, with equally many GPUs each; None: as few as have at most 8."""
    parallel: str | None
    """The strategy, like "fsdp", "ddp", "fsdp=8,tp=4" or "pp=4,1f1b"; None: ddp on several GPUs."""
    parallel_arguments: Arguments
    """Knobs of the strategy under PyTorch's names, like {"reshard_after_forward": False}."""
    microbatches: int | None
    """Micro-batches of `batch_size` samples in a step of a pipeline; None: twice its ranks."""


class ModelOptions(TypedDict, total=False):
    """Functions and arguments of the model, if its file does not have them."""

    build_batch: Callable[..., Any] | None
    """Function (batch_size) that returns a batch."""
    training_step: Callable[..., Any] | None
    """Function (model, batch) that returns a loss."""
    build_optimizer: Callable[..., Any] | None
    """Function (parameters) that returns an optimizer; an argument named model gets the model."""
    inference_step: Callable[[Any, Any], Any] | None
    """Function (model, batch); any result is accepted."""
    model_arguments: Mapping[str, Scalar] | None
    """Arguments of the function or class that builds the model."""


class TaskOptions(TypedDict, total=False):
    """The task of a published model (hf:org/name, timm:resnet50 ...); see TaskConfig."""

    task: str | Task | None
    """"pretrain", "finetune", "lora", "qlora", "embed", "generate" or "infer"; None: finetune."""
    lora_rank: int | None
    """Rank of the adapters; None: that of peft."""
    lora_alpha: int | None
    """Scale of the adapters; None: that of peft."""
    lora_targets: str | Sequence[str] | None
    """Names of the modules with adapters, or "all-linear"; None: those of peft."""
    quant: str | Quant | None
    """"nf4" or "int8": how frozen weights are quantised."""
    freeze: str | Sequence[str] | None
    """Patterns of names of parameters that do not train, like "model.embed_tokens*"."""
    image: str | tuple[int, int] | None
    """Height and width of an image, like "1024x1024"."""
    frames: int | None
    """Frames of a clip."""
    new_tokens: int | None
    """Tokens that the task generate writes."""
    num_beams: int | None
    """Beams of the task generate; None: one, greedy."""
    kv_cache: str | KvCache | None
    """"dynamic" or "static": whether the cache of the task generate grows."""
    attention: str | Attention | None
    """"sdpa" or "eager"; of a pipeline "sliced", too."""
    denoise_steps: int | None
    """Steps of denoising of a pipeline of diffusers."""
    vae: str | Sequence[str | Decoding] | None
    """How the decoder of a pipeline saves memory: "slicing", "tiling" or both."""
    like: str | Like | None
    """The training program whose habits are taken: "trainer" or "loop"."""


class RunOptions(TypedDict, total=False):
    """How long a run may take, and where its progress is reported."""

    timeout_s: float
    """Seconds after which a run is stopped."""
    on_progress: Progress | None
    """Called with a line at each stage, from any thread."""


class KeptOptions(TypedDict, total=False):
    """Answers of runs that are kept on disk; verify() takes and keeps none."""

    cache: bool
    """Takes answers of earlier runs where nothing has changed, and keeps new ones."""


class CardOptions(TypedDict, total=False):
    """The memory of the card that the job may use."""

    gpu_memory: str | int | None
    """Memory instead of the card's own, in bytes or like "24GiB"."""
    reserve: str | int
    """Memory that is kept free, like "5%" or "1GiB"."""
    calibration: bool
    """Corrects the estimate by past verifications on this card."""


class DataOptions(TypedDict, total=False):
    """Data, host and money; planner.estimation.job checks what they need."""

    data: str | float | None
    """Cost of an item of the data, like "imagenet-jpeg" or in milliseconds."""
    measure_data: bool
    """Measures the time of items of the user's own data set."""
    workers: int | str | None
    """Workers of the DataLoader; "none": the training process loads."""
    prefetch_factor: int | None
    """Batches that each worker holds ready."""
    pin_memory: bool
    """Whether batches are pinned."""
    cpu: str | None
    """The processor of the host, by name."""
    host: str | None
    """The host, by name; "this" is this machine."""
    ram: str | int | None
    """RAM of the host, in bytes or like "64GiB"."""
    price: str | None
    """Price of an hour, like "2.49 USD/h"."""
    prices: str | None
    """Rents of a catalogue on this machine, "sky" or "gpuhunt"."""
    pue: float
    """Power of the data centre for each watt of its machines, at least 1."""
    power_limit: float | None
    """Power limit of each card in watts, as of `nvidia-smi --power-limit`; None: as shipped."""


class InspectOptions(StepOptions, ModelOptions, TaskOptions, RunOptions, KeptOptions, total=False):
    """Options of inspect() and verify()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""


class EstimateOptions(
    StepOptions,
    ParallelOptions,
    ModelOptions,
    TaskOptions,
    RunOptions,
    KeptOptions,
    CardOptions,
    DataOptions,
    total=False,
):
    """Options of estimate()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | Sequence[str] | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; of several the first counts, others are compared."""
    dataset_size: str | int | None
    """Samples of an epoch, as 50_000 or "1.28M"."""
    hardware_db: str | os.PathLike[str] | None
    """A folder with records of the user's own."""


class CurveOptions(
    StepOptions,
    ModelOptions,
    TaskOptions,
    RunOptions,
    KeptOptions,
    CardOptions,
    DataOptions,
    total=False,
):
    """Options of curve()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""
    dataset_size: str | int | None
    """Samples of an epoch, as 50_000 or "1.28M"."""
    hardware_db: str | os.PathLike[str] | None
    """A folder with records of the user's own."""


class CompareOptions(
    StepOptions,
    ModelOptions,
    TaskOptions,
    RunOptions,
    KeptOptions,
    CardOptions,
    DataOptions,
    total=False,
):
    """Options of compare()."""

    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""


class ScriptOptions(RunOptions, CardOptions, total=False):
    """Options of run()."""

    hardware_db: str | os.PathLike[str] | None
    """A folder with records of the user's own."""
