"""The options of the public functions, typed: a slip of the pen is seen in an editor and by mypy.

In: nothing. Out: TypedDicts for `**options: Unpack[...]`. Convention: what a value may be is
checked when it is used (config/parse.py, estimation/job.py); here stands what a caller may write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from planner.config.inputs import Inputs
from planner.config.step import (
    BuildOn,
    DataDependent,
    Mode,
    OptimizerName,
    Precision,
    SizeAt,
)
from planner.config.target import Scalar

Progress = Callable[[str], None]
# Of a line "CARD: FOUND; now NEXT" what is before it has been found and stays true.
FOUND_BEFORE = "; now "
Arguments = Mapping[str, Scalar] | str | Sequence[str | tuple[str, Scalar]]


class StepOptions(TypedDict, total=False):
    """How the step is run; see StepConfig."""

    sequence_length: int | None
    """Tokens of a sample, for a build_batch that takes a sequence length; None: its own."""
    mode: str | Mode
    """"train" or "infer"."""
    precision: str | Precision | None
    """"fp32", "amp-bf16" ...; None casts nothing."""
    optimizer: str | OptimizerName | None
    """An optimizer by name; None: the model file's, else AdamW."""
    optimizer_arguments: Arguments
    """Its arguments, as {"lr": 0.1}."""
    inputs: Inputs
    """Example tensors, or shapes without the batch, as (3, 224, 224); none: build_batch."""
    channels_last: bool
    """Weights and images in channels_last."""
    checkpoint_activations: bool
    """Activations of blocks are computed anew in backward."""
    accumulate: int
    """Micro-batches of a step."""
    set_to_none: bool
    """What zero_grad does with gradients."""
    steps: int
    """Steps that are run."""
    build_on: str | BuildOn | None
    """"meta", "cpu" or "device"; None: without weights where that is possible."""
    data_dependent: str | DataDependent
    """"typical" or "most": what a value that only a card computes decides."""
    size_at: Mapping[str, int] | str | SizeAt | Sequence[str | SizeAt]
    """Sizes at lines of the code, as {"net.py:20": 512}."""
    batch_from_data: bool
    """The batch is made of items of the user's data set."""
    clip_grad_norm: float | None
    """Greatest norm of all gradients; None: they are not clipped."""
    ema: float | bool | None
    """Decay of a moving average of the weights; None or False: there is none."""


class ModelOptions(TypedDict, total=False):
    """What goes with the model, where its file does not say it."""

    build_batch: Callable[..., Any] | None
    """batch_size to a batch."""
    training_step: Callable[..., Any] | None
    """(model, batch) to a loss."""
    build_optimizer: Callable[..., Any] | None
    """(parameters) to an optimizer; a parameter named model is the model."""
    inference_step: Callable[[Any, Any], Any] | None
    """(model, batch) to anything."""
    model_arguments: Mapping[str, Scalar] | None
    """Arguments for what builds the model."""


class RunOptions(TypedDict, total=False):
    """How long a run may take, and who hears of it."""

    timeout_s: float
    """Seconds after which a run is given up."""
    on_progress: Progress | None
    """Called with a line at each stage, from any thread."""


class CardOptions(TypedDict, total=False):
    """What the job has of its card."""

    gpu_memory: str | int | None
    """Memory in the place of the card's, in bytes or as "24GiB"."""
    reserve: str | int
    """Memory that is kept free, as "5%" or "1GiB"."""
    calibration: bool
    """Whether verifications of the past on this card correct what is said of it."""


class DataOptions(TypedDict, total=False):
    """Data, host and money; what they need is said by planner.estimation.job."""

    data: str | float | None
    """What an item of the data costs, as "imagenet-jpeg" or in milliseconds."""
    measure_data: bool
    """Items of the user's own data set are timed."""
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
    """RAM of the host, in bytes or as "64GiB"."""
    price: str | None
    """What an hour costs, as "2.49 USD/h"."""
    pue: float
    """Power of the data centre for each watt of its machines, from 1 on."""


class InspectOptions(StepOptions, ModelOptions, RunOptions, total=False):
    """Options of inspect() and verify()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""


class EstimateOptions(StepOptions, ModelOptions, RunOptions, CardOptions, DataOptions, total=False):
    """Options of estimate()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | Sequence[str] | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; of several the first counts, others are compared."""
    dataset_size: str | int | None
    """Samples of an epoch, as 50_000 or "1.28M"."""
    hardware_db: str | os.PathLike[str] | None
    """A folder with records of the user's own."""


class CurveOptions(StepOptions, ModelOptions, RunOptions, CardOptions, DataOptions, total=False):
    """Options of curve()."""

    batch_size: int
    """Samples of a micro-batch."""
    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""
    dataset_size: str | int | None
    """Samples of an epoch, as 50_000 or "1.28M"."""
    hardware_db: str | os.PathLike[str] | None
    """A folder with records of the user's own."""


class CompareOptions(StepOptions, ModelOptions, RunOptions, CardOptions, DataOptions, total=False):
    """Options of compare()."""

    alloc_conf: str | None
    """PYTORCH_CUDA_ALLOC_CONF of the run; None: that of the environment."""
