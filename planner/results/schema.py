"""The JSON documents of the commands, key by key: types for programs, texts for the reference.

In: nothing. Out: TypedDicts that `to_dict` of each result returns; `json_schema` is made of them.
Convention: keys are added, never changed or removed; what is not known is null; sizes are bytes,
times seconds, ranges [low, high]. The engine "emulated" is a card that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from planner.config.target import Scalar

if TYPE_CHECKING:
    from msgspec import Meta

Range = list[float]  # low and high


def _is(description: str) -> Meta:
    """Returns the text of a key. msgspec is imported when a schema is made, not with a result."""
    from msgspec import Meta

    return Meta(description=description)


described = _is  # for the modules that have the documents of other commands


class VersionsDocument(TypedDict):
    """What the figures were made with."""

    torch: Annotated[str, _is("version of PyTorch")]
    cuda: Annotated[str, _is("version of CUDA that PyTorch was built with")]
    cudnn: Annotated[str | None, _is("version of cuDNN; null on the CPU")]
    python: Annotated[str, _is("version of Python")]
    planner: Annotated[str, _is("version of vram-planner")]


class InputDocument(TypedDict):
    """An input given with --input."""

    name: Annotated[str | None, _is("a keyword, a place in a nested batch, or null")]
    shape: Annotated[list[int], _is("without the batch dimension")]
    dtype: Annotated[str, _is("without `torch.`")]


class ConfigDocument(TypedDict):
    """How the step is run."""

    batch_size: Annotated[int, _is("samples of a micro-batch")]
    precision: Annotated[str, _is("in the words of `--precision`")]
    optimizer: Annotated[str | None, _is("its class; null: not known, `none`: nothing is stepped")]
    mode: Annotated[str, _is('`"train"` or `"infer"`')]
    optimizer_arguments: Annotated[dict[str, Scalar], _is("those of `--optimizer-arg`")]
    accumulate: Annotated[int, _is("micro-batches of an optimizer step")]
    channels_last: Annotated[bool, _is("whether weights and images are in channels_last")]
    checkpoint_activations: Annotated[bool, _is("whether backward computes activations again")]
    set_to_none: Annotated[bool, _is("whether zero_grad frees the gradients")]
    steps: Annotated[int, _is("steps of the run")]
    build_on: Annotated[str | None, _is('`"meta"`, `"cpu"` or `"device"`; null: not known')]
    alloc_conf: Annotated[str | None, _is("setting of the allocator; null: that of PyTorch")]
    inputs: Annotated[list[InputDocument], _is("those of `--input`")]
    sequence_length: Annotated[int | None, _is("null: the default of the file")]
    batch_from_data: Annotated[bool, _is("whether the batch is made of items of the data set")]
    data_dependent: Annotated[str, _is('`"typical"` or `"most"`')]
    size_at: Annotated[dict[str, int], _is("FILE:LINE and the size that was given for it")]
    clip_grad_norm: Annotated[float | None, _is("greatest norm of the gradients; null: no limit")]
    ema: Annotated[float | None, _is("decay of the average of the weights; null: no average")]
    optimizer_in_backward: Annotated[
        bool, _is("whether each parameter is stepped in backward, and its gradient freed")
    ]
    checkpoint_blocks: Annotated[
        str | None, _is("which blocks are checkpointed; null: as `checkpoint_activations` says")
    ]
    chunked_loss: Annotated[
        int | None, _is("pieces of output layer and cross-entropy; null: they are whole")
    ]
    compile: Annotated[
        str | None,
        _is('`"default"`, `"reduce-overhead"`, `"max-autotune"`, `"off"`; null: as in the file'),
    ]
    offload: Annotated[
        list[str], _is('parts in the RAM of the host: `"activations"`, `"optimizer"`')
    ]
    parallel: Annotated[ParallelDocument | None, _is("null: the job runs on one GPU")]


class FsdpDocument(TypedDict):
    """Knobs of FSDP2, under PyTorch's names; null: PyTorch's own choice, or the planner's."""

    reshard_after_forward: Annotated[bool | None, _is("null: all but the last block")]
    param_dtype: Annotated[str | None, _is("null: bf16 with amp-bf16")]
    reduce_dtype: Annotated[str | None, _is("null: fp32 with amp-bf16")]
    prefetch: Annotated[int | None, _is("blocks that are gathered ahead")]
    cpu_offload: Annotated[
        bool, _is("whether parameters, gradients and optimizer state are in the RAM of the host")
    ]
    pin_memory: Annotated[bool, _is("whether that RAM is pinned")]
    wrap: Annotated[list[str], _is("modules that are a unit; empty: the repeated blocks")]


class DdpDocument(TypedDict):
    """Knobs of DistributedDataParallel, under PyTorch's names."""

    bucket_cap_mb: Annotated[float | None, _is("MiB of a bucket; null: that of PyTorch")]
    gradient_as_bucket_view: Annotated[bool, _is("whether gradients are views of buckets")]
    static_graph: Annotated[bool, _is("whether each step uses the same parameters")]
    find_unused_parameters: Annotated[bool, _is("whether unused parameters are looked for")]


class TensorParallelDocument(TypedDict):
    """Knobs of tensor parallelism."""

    loss_parallel: Annotated[bool, _is("whether the logits stay sharded")]


class PipelineDocument(TypedDict):
    """Knobs of a pipeline."""

    schedule: Annotated[str, _is('`"gpipe"`, `"1f1b"`, `"interleaved"`, `"zb"` or `"zbv"`')]
    microbatches: Annotated[int, _is("micro-batches of a step; 1 without a pipeline")]
    stages_of_a_rank: Annotated[int, _is("stages of one rank")]
    split: Annotated[list[int], _is("blocks of each stage as asked; empty: evenly")]


class ParallelDocument(TypedDict):
    """How the job is spread over several GPUs."""

    gpus: Annotated[int, _is("GPUs of the whole job")]
    hosts: Annotated[int, _is("machines")]
    strategy: Annotated[str, _is("in the words of `--parallel`, with all degrees")]
    data: Annotated[str, _is('`"none"`, `"ddp"`, `"zero1"` or `"fsdp"`')]
    replicate: Annotated[int, _is("ranks with the same parameters and other samples")]
    shard: Annotated[int, _is("ranks over which FSDP shards")]
    context: Annotated[int, _is("ranks among which each sequence is divided")]
    tensor: Annotated[int, _is("ranks among which matrices are divided")]
    experts: Annotated[int, _is("of the ranks of FSDP, those that whole experts are dealt out to")]
    pipeline: Annotated[int, _is("ranks among which the blocks of the model are divided")]
    rank: Annotated[int, _is("the rank whose figures these are")]
    fsdp: Annotated[FsdpDocument, _is("knobs of FSDP")]
    ddp: Annotated[DdpDocument, _is("knobs of DDP")]
    tensor_options: Annotated[TensorParallelDocument, _is("knobs of tensor parallelism")]
    pipeline_options: Annotated[PipelineDocument, _is("knobs of the pipeline")]


class VerifiedConfigDocument(ConfigDocument):
    """How the verified step is run."""

    optimizer_requested: Annotated[str | None, _is("the word of `--optimizer`")]


class InspectedConfigDocument(TypedDict):
    """How the counted step is run."""

    batch_size: Annotated[int, _is("samples of the batch")]
    precision: Annotated[str, _is("in the words of `--precision`")]
    depth: Annotated[int, _is("names in the path of a module, at most")]
    build_on: Annotated[str, _is('`"meta"`, `"cpu"` or `"device"`')]
    inputs: Annotated[list[InputDocument], _is("those of `--input`")]
    sequence_length: Annotated[int | None, _is("null: the default of the file")]


# The key "bytes" is a type too: where a class has it, no annotation may name that type.
class WeightDtypeDocument(TypedDict):
    """The parameters of one dtype."""

    dtype: Annotated[str, _is("as it is stored, without `torch.`")]
    elements: Annotated[int, _is("number of elements")]
    bytes: Annotated[int, _is("their size")]


class StepCountsDocument(TypedDict):
    """What the step computes."""

    forward_flops_per_sample: Annotated[int | None, _is("of the forward; null: not counted")]
    step_flops: Annotated[
        int | None, _is("of forward and backward of the batch; null: not counted")
    ]
    recomputed_flops: Annotated[
        int | None,
        _is("those of them by which backward computes activations again; null: not counted"),
    ]
    activations_per_sample: Annotated[
        int | None,
        _is("elements that convolutions, matrix products and attention give; null: not counted"),
    ]
    uncounted_operators: Annotated[
        dict[str, int] | None, _is("operators without a rule, and their calls; null: not counted")
    ]


class CountsDocument(StepCountsDocument):
    """What the model has and what its step computes."""

    parameters: Annotated[int, _is("elements of all parameters")]
    trainable_parameters: Annotated[int, _is("elements of those that get gradients")]
    buffers: Annotated[int, _is("elements of all buffers")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]


class InspectedCountsDocument(CountsDocument):
    """What the model has and what its step computes, counted twice."""

    forward_flops_by_torch: Annotated[int, _is("of the batch, by `torch.utils.flop_counter`")]


class HeldDocument(TypedDict):
    """A block of memory at the peak."""

    bytes: Annotated[int, _is("its size")]
    category: Annotated[str, _is("what it is held for")]
    phase: Annotated[str, _is("when it was allocated")]
    module: Annotated[str, _is('path of the module; `""` is outside of any submodule')]
    tensor: Annotated[str, _is('name of the parameter or buffer that it belongs to, or `""`')]
    operator: Annotated[str, _is('operator that allocated it, or `""`')]
    source: Annotated[str, _is('FILE:LINE of the user\'s code, or `""`')]


class WhatIfDocument(TypedDict):
    """The same step under another setting of the allocator."""

    alloc_conf: Annotated[str | None, _is("the setting; null: that of PyTorch")]
    peak_allocated_bytes: Annotated[int, _is("of the batch of `--batch`")]
    peak_reserved_bytes: Annotated[int, _is("of the batch of `--batch`")]
    fits: Annotated[bool, _is("whether it fits")]
    max_batch_size: Annotated[int | None, _is("null: not searched, or it cannot be forecast")]


class GainDocument(TypedDict):
    """A change that makes the step faster."""

    change: Annotated[str, _is("the change in words")]
    factor: Annotated[float, _is("throughput with it over throughput without it")]
    is_approximate: Annotated[bool, _is("true: derived from the same run, not from one with it")]


class TimeDocument(TypedDict):
    """How fast one optimizer step is."""

    step_s: Annotated[float, _is("time of an optimizer step")]
    samples_per_s: Annotated[float, _is("throughput")]
    samples_per_s_per_gpu: Annotated[
        float | None, _is("throughput over the GPUs of the job; null: one GPU")
    ]
    tokens_per_s_per_gpu: Annotated[
        float | None, _is("tokens over time and GPUs; null: no length was given (`--seq`)")
    ]
    mfu: Annotated[
        float | None,
        _is(
            "model FLOPs utilization, from 0 to 1: FLOPs without recomputation over those of the "
            "card at its peak; null: no FLOPs, or no peak is known"
        ),
    ]
    scaling_efficiency: Annotated[
        float | None,
        _is("time of the step without other GPUs over its time with them; null: one GPU"),
    ]
    first_token_s: Annotated[
        float | None, _is("time until a generation has its first token; null: it is none")
    ]
    token_s: Annotated[
        float | None, _is("time of each later token, on average; null: no generation")
    ]
    new_tokens_per_s: Annotated[
        float | None, _is("tokens that a generation writes over its time; null: it is none")
    ]
    gpu_s: Annotated[float, _is("time that the card is busy")]
    launch_s: Annotated[float, _is("time that the CPU takes to launch all kernels")]
    loader_s: Annotated[float | None, _is("time of the loader; null: no host or no data")]
    copy_s: Annotated[float | None, _is("time of the copies to the card; null: no host or no data")]
    offload_copy_s: Annotated[
        float | None,
        _is(
            "time of the copies of what is offloaded, both ways; of FSDP's shards, as far as no "
            "kernel runs beside; null: the link is not known"
        ),
    ]
    offload_update_s: Annotated[float, _is("time of an optimizer's update on the host")]
    messages_s: Annotated[
        float | None, _is("all messages to other GPUs, one after another; null: one GPU")
    ]
    exposed_messages_s: Annotated[
        float | None, _is("those that no kernel runs beside; null: one GPU")
    ]
    bubble_s: Annotated[
        float | None, _is("time that the GPU waits for other stages; null: no pipeline")
    ]
    phases_s: Annotated[dict[str, float], _is("time of the card by phase")]
    stages_s: Annotated[
        dict[str, float] | None, _is("time of the card by stage of a pipeline; null: it is none")
    ]
    bound: Annotated[str, _is("what the step waits for")]
    shares: Annotated[
        dict[str, float], _is("share of the step by bound; what overlaps counts for each")
    ]
    runner_up: Annotated[str | None, _is("what it would wait for next")]
    takes_over_factor: Annotated[
        float | None, _is("how much faster the bound must get for the runner-up to take its place")
    ]
    interval: Annotated[Range | None, _is("deprecated: the same as `interval_s`")]
    interval_s: Annotated[
        Range | None, _is("where the step will lie in a share `interval_coverage` of cases")
    ]
    interval_coverage: Annotated[float | None, _is("that share")]
    interval_basis: Annotated[str | None, _is("what it rests on, or why it is null")]
    time_sources: Annotated[dict[str, float], _is("share of the kernels' time by where it is from")]
    gains: Annotated[list[GainDocument], _is("changes that make the step faster")]
    uncounted_operators: Annotated[
        list[str], _is("operators without a rule: their bytes alone are counted")
    ]


class HostDocument(TypedDict):
    """What the job takes of its host."""

    requested: Annotated[str | None, _is("the host's name as given; null: none")]
    ram_bytes: Annotated[int, _is("RAM of the job; of several GPUs, on one machine")]
    usable_ram_bytes: Annotated[int | None, _is("RAM that the job may take; null: not known")]
    fits: Annotated[bool | None, _is("whether it fits into RAM; null: not known")]
    verdict: Annotated[str, _is('`"fits"`, `"tight"`, `"does not fit"` or `"unknown"`')]
    ram_parts_bytes: Annotated[dict[str, int], _is("what `ram_bytes` is made of")]
    shm_peak_bytes: Annotated[int, _is("most that /dev/shm has to hold")]
    shm_bytes: Annotated[int | None, _is("size of /dev/shm; null: not known")]
    shm_verdict: Annotated[str, _is("the same four words, of /dev/shm")]
    workers: Annotated[int, _is("workers of the DataLoader")]
    cores: Annotated[float | None, _is("cores of the host; null: not known")]
    cores_needed: Annotated[
        float | None, _is("cores that keep the card busy; null: no data, or see `cores_limit`")
    ]
    cores_like: Annotated[str | None, _is("processor whose cores these are")]
    cores_limit: Annotated[str | None, _is("why no number of cores is enough, or null")]
    data: Annotated[str | None, _is("what a worker prepares; null: no data were named")]


class EpochDocument(TypedDict):
    """One pass over the dataset."""

    samples: Annotated[int, _is("samples of the dataset")]
    hours: Annotated[float, _is("time")]
    kwh: Annotated[Range, _is("energy")]
    money: Annotated[Range | None, _is("rent of the card; null: no price is known")]
    currency: Annotated[str | None, _is("of `money`")]


class CostDocument(TypedDict):
    """What the step takes in energy and money."""

    power_w: Annotated[Range, _is("mean power of card and host, W")]
    joule_per_sample: Annotated[Range, _is("energy of a sample, J")]
    samples_per_s: Annotated[float, _is("throughput that the figures are for")]
    cost_per_sample: Annotated[Range | None, _is("rent of a sample; null: no price is known")]
    price_per_hour: Annotated[Range | None, _is("rent of the card; null: no price is known")]
    currency: Annotated[str | None, _is("of the price")]
    epoch: Annotated[EpochDocument | None, _is("null without `--dataset-size`")]
    basis: Annotated[list[str], _is("what each figure rests on")]


class StagePeakDocument(TypedDict):
    """The highest moment within one stage of a pipeline."""

    stage: Annotated[str, _is("model that runs, as the pipeline names it")]
    peak_bytes: Annotated[int, _is("allocated at that moment")]
    weights_bytes: Annotated[int, _is("of it parameters and buffers, of every model on the card")]


class BreakdownDocument(TypedDict):
    """What the peak is made of."""

    breakdown_bytes: Annotated[
        dict[str, int] | None, _is("the peak allocated by category; null: it was not recorded")
    ]
    peak_phase: Annotated[str | None, _is("phase in which the peak is")]
    peak_step: Annotated[int | None, _is("step in which the peak is, from 1")]
    first_step_peak_bytes: Annotated[int | None, _is("peak of the first step")]
    steady_step_peak_bytes: Annotated[int | None, _is("peak of the last step")]
    fragmentation_bytes: Annotated[int | None, _is("peak reserved - peak allocated")]
    module_bytes: Annotated[
        dict[str, int] | None,
        _is('the peak allocated by module, two names deep; `""` is outside of any submodule'),
    ]
    stage_peaks: Annotated[
        list[StagePeakDocument] | None,
        _is("the peak within each stage of a pipeline; null: the target is none"),
    ]
    largest_tensors: Annotated[list[HeldDocument] | None, _is("the ten largest blocks at the peak")]


class IntervalDocument(TypedDict):
    """How sure the figures are."""

    verdict: Annotated[
        str,
        _is('`"fits"`, `"tight"` (not at the upper end of the interval) or `"does not fit"`'),
    ]
    device_total_interval_bytes: Annotated[
        list[int] | None, _is("where device total will lie, least and greatest")
    ]
    interval_coverage: Annotated[float | None, _is("share of cases inside, at the least")]
    interval_basis: Annotated[str | None, _is("what the interval rests on, or why it is null")]
    suggested_batch_size: Annotated[
        int | None,
        _is("largest batch that fits at the upper end too; 0: none; null: it is not known"),
    ]
    suggested_margin_bytes: Annotated[
        int | None, _is("by how much its peak reserved is less than the card could hold")
    ]
    suggested_batch_reason: Annotated[str | None, _is("why it is not known, or null")]
    calibration: Annotated[str | None, _is("the runs that corrected the figures, or null")]
    reserved_offset_bytes: Annotated[int, _is("what these add to device total")]


class FullStateDocument(TypedDict):
    """Saving and loading the whole state of a job on several GPUs; allocated bytes of the card."""

    is_divided: Annotated[bool, _is("whether ranks hold parts of the model")]
    model_bytes: Annotated[int, _is("state of the whole model, in the RAM of rank 0")]
    optimizer_bytes: Annotated[
        int | None, _is("state of the whole optimizer, likewise; null: none, or not known")
    ]
    saving_bytes: Annotated[int, _is("peak on the card with `cpu_offload=True`, after a step")]
    saving_on_card_bytes: Annotated[int, _is("peak without it, of the model alone")]
    saving_all_on_card_bytes: Annotated[
        int | None, _is("peak without it, with the optimizer; null as `optimizer_bytes`")
    ]
    loading_bytes: Annotated[
        int, _is("peak with `broadcast_from_rank0=True`, before there is an optimizer")
    ]
    loading_each_bytes: Annotated[int, _is("peak where each rank has the whole model in its RAM")]
    capacity_bytes: Annotated[int, _is("memory that PyTorch's allocator can have on the card")]
    fits: Annotated[bool, _is("whether `saving_bytes` and `loading_bytes` do")]
    fits_on_card: Annotated[bool, _is("whether `saving_on_card_bytes` does")]


class DeviceDocument(BreakdownDocument, IntervalDocument):
    """The answer for one card."""

    name: Annotated[str, _is("name of the device")]
    requested: Annotated[str, _is("the name that was given")]
    id: Annotated[str | None, _is("`id` of the card's record; null with `--device cpu`")]
    total_memory_bytes: Annotated[int, _is("memory of the card's record")]
    usable_memory_bytes: Annotated[int, _is("the same unless `--gpu-memory` was given")]
    context_overhead_bytes: Annotated[int, _is("taken by the CUDA context")]
    reserve_bytes: Annotated[int, _is("kept free on request (`--reserve`)")]
    peak_allocated_bytes: Annotated[int, _is("most that tensors held, at the batch of `--batch`")]
    peak_reserved_bytes: Annotated[int, _is("most that PyTorch's allocator held")]
    outside_bytes: Annotated[int, _is("what libraries take from CUDA outside that allocator")]
    outside_spread_bytes: Annotated[
        int, _is("how much fewer or more `outside_bytes` may be: NCCL's have two bounds")
    ]
    managed_bytes: Annotated[int, _is("how much of `outside_bytes` is unified memory")]
    device_total_bytes: Annotated[int, _is("all of it: what the driver would show")]
    fits: Annotated[bool, _is("whether the step fits")]
    missing_bytes: Annotated[int, _is("by how much it does not fit, else 0")]
    max_batch_size: Annotated[
        int | None,
        _is(
            "largest batch; null: not searched, or no memory depends on the batch; 0: not even 1 "
            "fits"
        ),
    ]
    max_batch_is_bound: Annotated[
        bool, _is("true: the search stopped at its bound with everything fitting")
    ]
    max_batch_confirmed: Annotated[
        bool | None,
        _is(
            "true: that batch was run and fits, and the next one was run and does not (so false at "
            "the search's bound)"
        ),
    ]
    max_batch_method: Annotated[str | None, _is('`"replay"` or `"runs"`')]
    max_sequence_length: Annotated[
        int | None, _is("longest sequence in tokens; null without `--seq`")
    ]
    max_sequence_confirmed: Annotated[bool | None, _is("as `max_batch_confirmed`")]
    max_image: Annotated[
        list[int] | None,
        _is("height and width of the largest image; zeros: none fits; null: not searched"),
    ]
    max_image_confirmed: Annotated[bool | None, _is("as `max_batch_confirmed`")]
    max_frames: Annotated[
        int | None, _is("most frames of a clip; 0: none fits; null: not searched")
    ]
    max_frames_confirmed: Annotated[bool | None, _is("as `max_batch_confirmed`")]
    batch_1_missing_bytes: Annotated[
        int | None, _is("by how much batch 1 does not fit, where that was found")
    ]
    attention_backends: Annotated[list[str], _is("names, in order")]
    note: Annotated[str | None, _is("what the name was taken for, or null")]
    alloc_conf_what_ifs: Annotated[
        list[WhatIfDocument], _is("the step under each other allocator setting")
    ]
    time: Annotated[TimeDocument | None, _is("speed; null: the step could not be counted")]
    host: Annotated[HostDocument | None, _is("RAM and cores of the host; null as `time`")]
    cost: Annotated[CostDocument | None, _is("energy and money; null as `time`")]
    full_state: Annotated[
        FullStateDocument | None, _is("null: the job runs on one GPU, or it is not known")
    ]


class ReadDocument(TypedDict):
    """A place that read values of the card."""

    file: Annotated[str, _is('file of the user\'s code; `""`: no line of Python is known')]
    line: Annotated[int, _is("line of that file")]
    function: Annotated[str, _is("function around it")]
    operator: Annotated[str, _is("operator as PyTorch names it")]
    count: Annotated[int, _is("reads")]
    assumed: Annotated[int, _is("reads whose value was drawn, because only a card can compute it")]
    decision: Annotated[str, _is('what they can decide: `"nothing"`, `"size"` or `"branch"`')]
    smallest: Annotated[int | None, _is("smallest size read; null: other values were read")]
    largest: Annotated[int | None, _is("largest size read; null: other values were read")]
    possible: Annotated[list[int] | None, _is("sizes that were possible at the least and most")]
    size_given: Annotated[bool, _is("true: `--size-at` gave the size")]


class ReadSiteDocument(TypedDict):
    """A line of the user's code."""

    file: Annotated[str, _is("file of the user's code")]
    line: Annotated[int, _is("line of that file")]
    function: Annotated[str, _is("function around it")]


class ValuesDocument(TypedDict):
    """How far the figures rest on values of the card."""

    state: Annotated[str, _is('`"none read"`, `"known"` or `"assumed"`')]
    decides_sizes: Annotated[bool, _is("whether a drawn number decided a size or a branch")]
    data_dependent: Annotated[str, _is('`"typical"` or `"most"`')]
    seeds: Annotated[list[int], _is("seeds of the runs that widened the interval")]
    reads: Annotated[list[ReadDocument], _is("one entry for each place")]
    parted: Annotated[
        list[ReadSiteDocument],
        _is("places where the measured run read other values than the run that computed them"),
    ]


class RankDocument(TypedDict):
    """One rank, or several that are alike."""

    first: Annotated[int, _is("the first of these ranks")]
    last: Annotated[int, _is("the last one")]
    role: Annotated[str, _is("what it has that others have not")]
    peak_allocated_bytes: Annotated[int | None, _is("null: the rank was not run")]
    peak_reserved_bytes: Annotated[int | None, _is("null: the rank was not run")]


class RanksDocument(TypedDict):
    """The ranks of a job on several GPUs."""

    worst: Annotated[int, _is("the rank with the highest peak, whose figures these are")]
    reason: Annotated[str, _is("why it is that one")]
    rows: Annotated[list[RankDocument], _is("all ranks, in order")]


class EstimateDocument(TypedDict):
    """What `planner estimate --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"` or `"cpu"`')]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[ConfigDocument, _is("how the step is run")]
    counts: Annotated[CountsDocument, _is("parameters, FLOPs, activations")]
    gpus: Annotated[list[DeviceDocument], _is("one entry for each card, in the order of `--gpu`")]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument | None, _is("null on real hardware, which has its own values")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]
    ranks: Annotated[RanksDocument | None, _is("null: the job runs on one GPU")]


class PointDocument(TypedDict):
    """One batch of a curve."""

    batch_size: Annotated[int, _is("samples of the batch")]
    step_s: Annotated[float, _is("time of a step, on a card with enough memory")]
    samples_per_s: Annotated[float, _is("throughput, on a card with enough memory")]
    device_total_bytes: Annotated[int | None, _is("null: it cannot be forecast")]
    fits: Annotated[bool, _is("whether the batch fits")]
    bound: Annotated[str, _is("what the step waits for; `VRAM capacity` where it does not fit")]
    joule_per_sample: Annotated[Range | None, _is("energy of a sample, J")]
    cost_per_sample: Annotated[Range | None, _is("rent of a sample; null: no price is known")]


class CurveDocument(TypedDict):
    """What `planner curve --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"`')]
    gpu: Annotated[str, _is("the card's name as given")]
    gpu_name: Annotated[str, _is("name of the device")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[ConfigDocument, _is("how the step is run; each point has its own batch")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, _is("memory of the card")]
    largest_batch_size: Annotated[
        int | None, _is("0: not even 1 fits; null: it was not searched; need not be a point")
    ]
    largest_batch_is_bound: Annotated[
        bool, _is("true: the search stopped at its bound with everything fitting")
    ]
    knee: Annotated[int | None, _is("smallest batch that fits with 95 % of the best throughput")]
    recommended_batch_size: Annotated[int | None, _is("the batch to take; null: none")]
    accumulate: Annotated[int | None, _is("micro-batches that keep the global batch")]
    global_batch_size: Annotated[int | None, _is("that of `--global-batch`")]
    recommendation: Annotated[str, _is("the recommendation as a sentence")]
    currency: Annotated[str | None, _is("of the costs")]
    points: Annotated[list[PointDocument], _is("one entry for each batch, rising")]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]
    gpu_id: Annotated[str | None, _is("`id` of the card's record")]


class ComparedCardDocument(TypedDict):
    """One card of a comparison."""

    requested: Annotated[str, _is("the name that was given")]
    name: Annotated[str, _is("name of the device")]
    usable_memory_bytes: Annotated[int, _is("memory of the card")]
    fits: Annotated[bool, _is("whether the step fits")]
    max_batch_size: Annotated[int | None, _is("largest batch; null: not searched")]
    max_batch_is_bound: Annotated[
        bool, _is("true: the search stopped at its bound with everything fitting")
    ]
    batch_size: Annotated[int | None, _is("batch that the times are for")]
    step_s: Annotated[float | None, _is("time of a step")]
    samples_per_s: Annotated[float | None, _is("throughput")]
    bound: Annotated[str | None, _is("what the step waits for")]
    epoch_hours: Annotated[float | None, _is("null without `--dataset-size`")]
    kwh: Annotated[Range | None, _is("energy of an epoch; null without `--dataset-size`")]
    money: Annotated[Range | None, _is("rent of an epoch; null: no price or no dataset")]
    currency: Annotated[str | None, _is("of `money`")]
    price_basis: Annotated[str | None, _is("who asks the price, and since when")]
    id: Annotated[str | None, _is("`id` of the card's record")]


class LeftOutDocument(TypedDict):
    """A card that could not be compared."""

    requested: Annotated[str, _is("the name that was given")]
    reason: Annotated[str, _is("why")]


class ComparisonDocument(TypedDict):
    """What `planner compare --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"`')]
    by: Annotated[str, _is('`"time"`, `"cost"` or `"energy"`')]
    epoch_samples: Annotated[int | None, _is("samples of the dataset; null: none was given")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[ConfigDocument, _is("how the step is run")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]
    cards: Annotated[list[ComparedCardDocument], _is("the best card first")]
    left_out: Annotated[list[LeftOutDocument], _is("cards that could not be compared")]
    remarks: Annotated[list[str], _is("what the ranking passes over, as sentences")]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]


class ModuleDocument(TypedDict):
    """One module with everything that it contains."""

    path: Annotated[str, _is('dotted path; `""` is the model itself')]
    kind: Annotated[str, _is("its class")]
    depth: Annotated[int, _is("names in its path")]
    parameters: Annotated[int, _is("elements of its parameters")]
    trainable_parameters: Annotated[int, _is("elements of those that get gradients")]
    forward_flops: Annotated[int, _is("FLOPs of its forward for the batch")]
    activations: Annotated[int | None, _is("elements of its outputs; null: not counted")]
    saved_bytes: Annotated[int, _is("what autograd keeps for backward")]
    read_bytes: Annotated[int, _is("bytes that its operators read")]
    written_bytes: Annotated[int, _is("bytes that its operators write")]
    arithmetic_intensity_flops_per_byte: Annotated[
        float | None, _is("FLOPs for each of these bytes; null without any")
    ]


class TensorDocument(TypedDict):
    """A tensor of an operator."""

    shape: Annotated[list[int], _is("its dimensions")]
    dtype: Annotated[str, _is("without `torch.`")]
    number: Annotated[int, _is("equal tensors of a list")]
    channels_last: Annotated[bool, _is("whether channels lie closest in memory")]


class OperatorDocument(TypedDict):
    """Equal calls of an operator on the card."""

    name: Annotated[str, _is("as PyTorch names it")]
    phase: Annotated[str, _is('`"forward"`, `"loss"`, `"backward"` or `"optimizer step"`')]
    inputs: Annotated[list[TensorDocument], _is("its tensors")]
    outputs: Annotated[list[TensorDocument], _is("its results")]
    calls: Annotated[int, _is("number of such calls")]
    flops: Annotated[int | None, _is("of one call; null: no formula")]
    flop_source: Annotated[
        str,
        _is(
            '`"formula"`, `"elementwise"` (its time is that of its bytes) or `"unknown"` (no rule '
            "covers it)"
        ),
    ]
    read_bytes: Annotated[int, _is("of one call")]
    written_bytes: Annotated[int, _is("of one call")]


class InspectionDocument(TypedDict):
    """What `planner inspect --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"`')]
    gpu: Annotated[str, _is("the card whose kernels ran")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[InspectedConfigDocument, _is("how the step is run")]
    counts: Annotated[InspectedCountsDocument, _is("parameters, FLOPs, activations")]
    structure: Annotated[
        str, _is('`"torch.fx graph"`, `"module hooks"` or, for `--depth 0`, `"whole model"`')
    ]
    flop_rules: Annotated[str, _is('`"fvcore"` or `"torch.utils.flop_counter"`')]
    modules: Annotated[list[ModuleDocument], _is("one entry for each module, outer first")]
    operators: Annotated[
        list[OperatorDocument], _is("one entry for equal calls, in order of first appearance")
    ]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]
    gpu_id: Annotated[str | None, _is("`id` of the card's record")]


class VerifiedDeviceDocument(TypedDict):
    """What was verified on."""

    name: Annotated[str, _is("name of the device")]
    kind: Annotated[str, _is('`"physical"`, `"emulated"` or `"cpu"`')]
    memory_bytes: Annotated[int, _is("memory of the device as PyTorch reports it, or the limit")]
    limit: Annotated[str, _is("how the limit was enforced")]
    driver: Annotated[str | None, _is("version of the driver")]
    ecc: Annotated[bool | None, _is("whether ECC is on")]
    power_limit_w: Annotated[float | None, _is("limit of its power, W")]
    other_processes_bytes: Annotated[int | None, _is("memory that other processes held")]


class FiguresDocument(TypedDict):
    """Figures of one side, predicted or measured."""

    max_batch_size: Annotated[
        int | None, _is("largest batch; 0: not even 1 fits; null: the search could not end")
    ]
    batch_size: Annotated[int | None, _is("batch of the figures below")]
    peak_allocated_bytes: Annotated[int | None, _is("most that tensors held")]
    peak_reserved_bytes: Annotated[int | None, _is("most that PyTorch's allocator held")]
    context_overhead_bytes: Annotated[int | None, _is("held outside of that allocator")]
    device_total_bytes: Annotated[int | None, _is("all of it")]
    step_s: Annotated[float | None, _is("time of a step")]
    breakdown_bytes: Annotated[
        dict[str, int] | None, _is("the peak allocated by category; null: it was not recorded")
    ]


class ProbeDocument(TypedDict):
    """One run of the step in a process of its own."""

    batch_size: Annotated[int, _is("samples of the batch")]
    outcome: Annotated[
        str,
        _is('`"fits"`, `"oom"`, `"cuda-error"`, `"killed"`, `"time-out"` or `"model-error"`'),
    ]
    seconds: Annotated[float, _is("time of the whole run")]
    peak_allocated_bytes: Annotated[int | None, _is("most that tensors held")]
    peak_reserved_bytes: Annotated[int | None, _is("most that PyTorch's allocator held")]
    peak_device_bytes: Annotated[int | None, _is("most that the whole device held")]
    device_before_bytes: Annotated[int | None, _is("what it held before the run")]
    context_overhead_bytes: Annotated[int | None, _is("held outside of PyTorch's allocator")]
    step_s: Annotated[float | None, _is("median of the steps after the first")]
    detail: Annotated[str, _is("the error, or empty")]


class VerificationDocument(TypedDict):
    """What `planner verify --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    device: Annotated[VerifiedDeviceDocument, _is("what was verified on")]
    config: Annotated[VerifiedConfigDocument, _is("how the step is run")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]
    predicted: Annotated[FiguresDocument, _is("what planner predicts")]
    measured: Annotated[FiguresDocument, _is("what the runs show")]
    max_batch_of_all_ranks: Annotated[
        int | None, _is("least answer of the processes that torchrun started; null without it")
    ]
    error: Annotated[
        dict[str, float | None], _is("(predicted - measured) / measured of each figure")
    ]
    tolerance: Annotated[float, _is("largest share by which device total may differ")]
    confirmed: Annotated[bool, _is("whether everything is within tolerance")]
    complaints: Annotated[list[str], _is("what is not, as sentences")]
    stopped: Annotated[str, _is("why the search ended before it had an answer, or empty")]
    bound: Annotated[str, _is("what other than memory ended the search, or empty")]
    probes: Annotated[list[ProbeDocument], _is("the runs, in order")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the prediction rests on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]


class LeverDocument(TypedDict):
    """A change of the step that was tried, or could not be."""

    name: Annotated[str, _is("its name, as in `--try`")]
    flags: Annotated[
        list[str], _is("its words on the command line; none: an option must be left out")
    ]
    code: Annotated[list[str], _is("lines for a plain PyTorch loop")]
    effect: Annotated[str, _is('`"none"`, `"small"` or `"large"`: what it may do to training')]
    note: Annotated[str, _is("the same as a sentence")]


class TrialDocument(TypedDict):
    """A lever, or several together, with the figures of the step."""

    levers: Annotated[list[str], _is("names of the levers; none: the step as requested")]
    state: Annotated[str, _is('`"tried"`, `"failed"`, `"cannot apply"` or `"not tried"`')]
    reason: Annotated[str, _is("why there are no figures, or empty")]
    method: Annotated[str | None, _is('`"emulated run"` or `"replay"`; null: no figures')]
    batch_size: Annotated[int | None, _is("samples of a micro-batch")]
    peak_reserved_bytes: Annotated[
        int | None, _is("most that PyTorch's allocator holds, on a card with enough memory")
    ]
    device_total_bytes: Annotated[int | None, _is("with all that others take of the card")]
    saved_bytes: Annotated[int | None, _is("device total as requested, minus this one")]
    fits: Annotated[bool | None, _is("whether it fits on the card")]
    step_s: Annotated[float | None, _is("time of an optimizer step")]
    time_factor: Annotated[
        float | None, _is("time for a sample over that as requested; above 1 is slower")
    ]
    max_batch_size: Annotated[
        int | None, _is("largest batch that fits, by replay; null: not searched")
    ]
    offload_s: Annotated[float | None, _is("part of the step that waits for the host")]
    offloaded_bytes: Annotated[int | None, _is("RAM of the host in place of memory of the card")]


class PlanDocument(TypedDict):
    """What to do: run on the card with exactly these flags."""

    levers: Annotated[list[str], _is("names of the levers; none: nothing has to change")]
    flags: Annotated[list[str], _is("their words on the command line")]
    command: Annotated[str, _is("the whole command that gives the same estimate")]
    code: Annotated[list[str], _is("lines for a plain PyTorch loop")]
    gpu: Annotated[str, _is("the card")]
    batch_size: Annotated[int, _is("samples of a micro-batch")]
    sequence_length: Annotated[int | None, _is("that of `--seq`")]
    peak_reserved_bytes: Annotated[int, _is("most that PyTorch's allocator holds, on the card")]
    device_total_bytes: Annotated[int, _is("with all that others take of the card")]
    usable_memory_bytes: Annotated[int, _is("memory of the card")]
    max_batch_size: Annotated[int | None, _is("largest batch that fits; null: not searched")]
    max_batch_confirmed: Annotated[
        bool, _is("it was run and fits, and the next was run and does not")
    ]
    max_sequence_length: Annotated[
        int | None, _is("longest sequence that fits; null: not searched")
    ]
    max_sequence_confirmed: Annotated[bool, _is("the same for the sequence")]
    step_s: Annotated[float | None, _is("time of an optimizer step")]
    time_factor: Annotated[
        float | None, _is("time for a sample over that as requested; above 1 is slower")
    ]


class CardChoiceDocument(TypedDict):
    """Another card on which the step fits as requested."""

    id: Annotated[str, _is("`id` of the card's record")]
    name: Annotated[str, _is("name of the device")]
    usable_memory_bytes: Annotated[int, _is("memory of the card")]
    device_total_bytes: Annotated[int, _is("what the step takes of it")]
    price_per_hour: Annotated[Range | None, _is("rent; null: none is known")]
    currency: Annotated[str | None, _is("of the rent")]
    step_s: Annotated[float | None, _is("time of an optimizer step")]


class AdviceDocument(TypedDict):
    """What `planner advise --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"`')]
    goal: Annotated[str, _is("that of `--goal`")]
    gpu: Annotated[str, _is("the card's name as given")]
    gpu_name: Annotated[str, _is("name of the device")]
    gpu_id: Annotated[str, _is("`id` of the card's record")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[ConfigDocument, _is("how the step was requested")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, _is("memory of the card")]
    reserve_bytes: Annotated[int, _is("memory to be kept free")]
    baseline: Annotated[TrialDocument, _is("the step as requested")]
    plan: Annotated[PlanDocument | None, _is("what to do; null: nothing that was tried fits")]
    trials: Annotated[list[TrialDocument], _is("single levers and combinations, the best first")]
    levers: Annotated[list[LeverDocument], _is("the levers that the trials name")]
    other_cards: Annotated[
        list[CardChoiceDocument], _is("cards on which it fits as requested, the cheapest first")
    ]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]


class SpreadDocument(TypedDict):
    """One way to use the GPUs; figures of a card are those of the worst rank."""

    gpus: Annotated[int, _is("GPUs of the job")]
    hosts: Annotated[int, _is("machines")]
    parallel: Annotated[str, _is("the strategy in the words of `--parallel`; empty: one GPU")]
    arguments: Annotated[list[str], _is("knobs in the words of `--parallel-arg`")]
    checkpoint: Annotated[
        str, _is('`"none"`, `"every:2"`, `"all"`, `"as requested"`, or `"any"` of these')
    ]
    levers: Annotated[list[str], _is("names of other levers")]
    state: Annotated[
        str,
        _is('`"fits"`, `"slower"`, `"does not fit"`, `"not run"`, `"failed"` or `"cannot apply"`'),
    ]
    reason: Annotated[str, _is("why, or empty")]
    method: Annotated[str, _is('`"arithmetic"` or `"emulated run"`')]
    batch_size: Annotated[int | None, _is("samples of a micro-batch of one rank")]
    accumulate: Annotated[int | None, _is("micro-batches of an optimizer step")]
    max_batch_size: Annotated[
        int | None, _is("largest micro-batch that fits, by replay; null: not searched")
    ]
    device_total_bytes: Annotated[
        int | None, _is("what it takes of a card; by arithmetic at least so much")
    ]
    over_bytes: Annotated[
        int | None, _is("beyond the memory of a card; by arithmetic at least so much")
    ]
    step_s: Annotated[float | None, _is("time of an optimizer step")]
    samples_per_s: Annotated[float | None, _is("throughput of the whole job")]
    slower_factor: Annotated[
        float | None, _is("time for a sample over that of the plan; above 1 is slower")
    ]
    cost_per_million: Annotated[
        Range | None, _is("rent of all GPUs for a million samples; null: not known")
    ]


class ParallelPlanDocument(SpreadDocument):
    """What to do: run as one rank, and on the full card, with exactly these flags."""

    flags: Annotated[list[str], _is("the words of all that differs from the request")]
    command: Annotated[str, _is("the whole command that gives the same estimate")]
    launch: Annotated[str, _is("the command that starts the job on each machine")]
    code: Annotated[
        list[str],
        _is("lines of `parallelize(model, mesh)`; none: one GPU, or the model file has its own"),
    ]
    code_flags: Annotated[list[str], _is("in place of `flags` for a file with that function")]
    script: Annotated[list[str], _is("lines of code beside the function")]
    peak_reserved_bytes: Annotated[int, _is("most that PyTorch's allocator holds")]
    usable_memory_bytes: Annotated[int, _is("memory of a card")]
    worst_rank: Annotated[int, _is("the rank of the figures, which takes most memory")]
    rank_reason: Annotated[str, _is("why it is that one, or empty on one GPU")]
    global_batch: Annotated[int, _is("samples of an optimizer step of all ranks")]
    next_batch_size: Annotated[
        int | None,
        _is("the next larger micro-batch, which a run refused; null: memory is not the limit"),
    ]
    samples_per_s_per_gpu: Annotated[float | None, _is("throughput of one GPU")]
    tokens_per_s: Annotated[
        float | None, _is("tokens a second of the job; null: no `--seq` is known")
    ]
    tokens_per_s_per_gpu: Annotated[float | None, _is("the same of one GPU")]
    currency: Annotated[str | None, _is("of the cost")]


class HeldBytesDocument(TypedDict):
    """What lasts through an optimizer step, of the whole model."""

    levers: Annotated[list[str], _is("names of the levers; none: as requested")]
    parameter_bytes: Annotated[int, _is("parameters")]
    gradient_bytes: Annotated[int, _is("gradients")]
    optimizer_bytes: Annotated[int, _is("state of the optimizer")]
    total_bytes: Annotated[int, _is("all of it")]


class SmallestDocument(TypedDict):
    """The fewest of these cards that fit."""

    levers: Annotated[list[str], _is("names of the levers; none: as requested")]
    gpus: Annotated[int | None, _is("cards; null: no number that was looked at fits")]
    hosts: Annotated[int | None, _is("machines")]
    device_total_bytes: Annotated[
        int | None,
        _is("what it takes of a card without its limit, where no cached memory is given back"),
    ]
    reason: Annotated[str, _is("why fewer do not fit, or why none does")]


class ParallelizationDocument(TypedDict):
    """What `planner parallelize --json` prints."""

    schema_version: Annotated[Literal[1], _is("version of this document")]
    target: Annotated[str, _is("the target as given")]
    engine: Annotated[str, _is('`"emulated"`')]
    by: Annotated[str, _is("that of `--by`")]
    gpu: Annotated[str, _is("the card's name as given")]
    gpu_name: Annotated[str, _is("name of the device")]
    gpu_id: Annotated[str, _is("`id` of the card's record")]
    versions: Annotated[VersionsDocument, _is("what the figures were made with")]
    config: Annotated[ConfigDocument, _is("how the step was requested")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], _is("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, _is("memory of a card")]
    reserve_bytes: Annotated[int, _is("memory to be kept free")]
    num_gpus: Annotated[int, _is("GPUs of the job as requested")]
    num_hosts: Annotated[int, _is("machines")]
    global_batch: Annotated[int | None, _is("that of `--global-batch`; null: as many as fit")]
    plan: Annotated[ParallelPlanDocument | None, _is("what to do; null: nothing fits")]
    runner_up: Annotated[SpreadDocument | None, _is("the next best that fits; null: none does")]
    spreads: Annotated[
        list[SpreadDocument], _is("all that were looked at: those that fit first, the best first")
    ]
    held: Annotated[
        list[HeldBytesDocument], _is("what lasts through a step, as requested and with levers")
    ]
    smallest: Annotated[
        list[SmallestDocument], _is("the fewest cards, as requested and with the plan's levers")
    ]
    levers: Annotated[list[LeverDocument], _is("the levers that the spreads name")]
    assumptions: Annotated[list[str], _is("sentences")]
    warnings: Annotated[list[str], _is("sentences")]
    values: Annotated[ValuesDocument, _is("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], _is("those of `--model-arg`")]
