"""What is asked of a step: its configuration, and how it is spread over GPUs."""

from __future__ import annotations

from typing import Annotated, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import described


class VersionsDocument(TypedDict):
    """What the figures were made with."""

    torch: Annotated[str, described("version of PyTorch")]
    cuda: Annotated[str, described("version of CUDA that PyTorch was built with")]
    cudnn: Annotated[str | None, described("version of cuDNN; null on the CPU")]
    python: Annotated[str, described("version of Python")]
    planner: Annotated[str, described("version of vram-planner")]


class InputDocument(TypedDict):
    """An input given with --input."""

    name: Annotated[str | None, described("a keyword, a place in a nested batch, or null")]
    shape: Annotated[list[int], described("without the batch dimension")]
    dtype: Annotated[str, described("without `torch.`")]


class ConfigDocument(TypedDict):
    """How the step is run."""

    batch_size: Annotated[int, described("samples of a micro-batch")]
    precision: Annotated[str, described("in the words of `--precision`")]
    optimizer: Annotated[
        str | None, described("its class; null: not known, `none`: nothing is stepped")
    ]
    mode: Annotated[str, described('`"train"` or `"infer"`')]
    optimizer_arguments: Annotated[dict[str, Scalar], described("those of `--optimizer-arg`")]
    accumulate: Annotated[int, described("micro-batches of an optimizer step")]
    channels_last: Annotated[bool, described("whether weights and images are in channels_last")]
    checkpoint_activations: Annotated[
        bool, described("whether backward computes activations again")
    ]
    set_to_none: Annotated[bool, described("whether zero_grad frees the gradients")]
    steps: Annotated[int, described("steps of the run")]
    build_on: Annotated[str | None, described('`"meta"`, `"cpu"` or `"device"`; null: not known')]
    alloc_conf: Annotated[str | None, described("setting of the allocator; null: that of PyTorch")]
    inputs: Annotated[list[InputDocument], described("those of `--input`")]
    sequence_length: Annotated[int | None, described("null: the default of the file")]
    batch_from_data: Annotated[
        bool, described("whether the batch is made of items of the data set")
    ]
    data_dependent: Annotated[str, described('`"typical"` or `"most"`')]
    size_at: Annotated[dict[str, int], described("FILE:LINE and the size that was given for it")]
    clip_grad_norm: Annotated[
        float | None, described("greatest norm of the gradients; null: no limit")
    ]
    ema: Annotated[float | None, described("decay of the average of the weights; null: no average")]
    optimizer_in_backward: Annotated[
        bool, described("whether each parameter is stepped in backward, and its gradient freed")
    ]
    checkpoint_blocks: Annotated[
        str | None,
        described("which blocks are checkpointed; null: as `checkpoint_activations` says"),
    ]
    chunked_loss: Annotated[
        int | None, described("pieces of output layer and cross-entropy; null: they are whole")
    ]
    compile: Annotated[
        str | None,
        described(
            '`"default"`, `"reduce-overhead"`, `"max-autotune"`, `"off"`; null: as in the file'
        ),
    ]
    offload: Annotated[
        list[str], described('parts in the RAM of the host: `"activations"`, `"optimizer"`')
    ]
    parallel: Annotated[ParallelDocument | None, described("null: the job runs on one GPU")]


class FsdpDocument(TypedDict):
    """Knobs of FSDP2, under PyTorch's names; null: PyTorch's own choice, or the planner's."""

    reshard_after_forward: Annotated[bool | None, described("null: all but the last block")]
    param_dtype: Annotated[str | None, described("null: bf16 with amp-bf16")]
    reduce_dtype: Annotated[str | None, described("null: fp32 with amp-bf16")]
    prefetch: Annotated[int | None, described("blocks that are gathered ahead")]
    cpu_offload: Annotated[
        bool,
        described("whether parameters, gradients and optimizer state are in the RAM of the host"),
    ]
    pin_memory: Annotated[bool, described("whether that RAM is pinned")]
    wrap: Annotated[list[str], described("modules that are a unit; empty: the repeated blocks")]


class DdpDocument(TypedDict):
    """Knobs of DistributedDataParallel, under PyTorch's names."""

    bucket_cap_mb: Annotated[float | None, described("MiB of a bucket; null: that of PyTorch")]
    gradient_as_bucket_view: Annotated[bool, described("whether gradients are views of buckets")]
    static_graph: Annotated[bool, described("whether each step uses the same parameters")]
    find_unused_parameters: Annotated[bool, described("whether unused parameters are looked for")]


class TensorParallelDocument(TypedDict):
    """Knobs of tensor parallelism."""

    loss_parallel: Annotated[bool, described("whether the logits stay sharded")]


class PipelineDocument(TypedDict):
    """Knobs of a pipeline."""

    schedule: Annotated[str, described('`"gpipe"`, `"1f1b"`, `"interleaved"`, `"zb"` or `"zbv"`')]
    microbatches: Annotated[int, described("micro-batches of a step; 1 without a pipeline")]
    stages_of_a_rank: Annotated[int, described("stages of one rank")]
    split: Annotated[list[int], described("blocks of each stage as asked; empty: evenly")]


class ParallelDocument(TypedDict):
    """How the job is spread over several GPUs."""

    gpus: Annotated[int, described("GPUs of the whole job")]
    hosts: Annotated[int, described("machines")]
    strategy: Annotated[str, described("in the words of `--parallel`, with all degrees")]
    data: Annotated[str, described('`"none"`, `"ddp"`, `"zero1"` or `"fsdp"`')]
    replicate: Annotated[int, described("ranks with the same parameters and other samples")]
    shard: Annotated[int, described("ranks over which FSDP shards")]
    context: Annotated[int, described("ranks among which each sequence is divided")]
    tensor: Annotated[int, described("ranks among which matrices are divided")]
    experts: Annotated[
        int, described("of the ranks of FSDP, those that whole experts are dealt out to")
    ]
    pipeline: Annotated[int, described("ranks among which the blocks of the model are divided")]
    rank: Annotated[int, described("the rank whose figures these are")]
    fsdp: Annotated[FsdpDocument, described("knobs of FSDP")]
    ddp: Annotated[DdpDocument, described("knobs of DDP")]
    tensor_options: Annotated[TensorParallelDocument, described("knobs of tensor parallelism")]
    pipeline_options: Annotated[PipelineDocument, described("knobs of the pipeline")]


class VerifiedConfigDocument(ConfigDocument):
    """How the verified step is run."""

    optimizer_requested: Annotated[str | None, described("the word of `--optimizer`")]


class InspectedConfigDocument(TypedDict):
    """How the counted step is run."""

    batch_size: Annotated[int, described("samples of the batch")]
    precision: Annotated[str, described("in the words of `--precision`")]
    depth: Annotated[int, described("names in the path of a module, at most")]
    build_on: Annotated[str, described('`"meta"`, `"cpu"` or `"device"`')]
    inputs: Annotated[list[InputDocument], described("those of `--input`")]
    sequence_length: Annotated[int | None, described("null: the default of the file")]
