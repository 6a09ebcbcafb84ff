"""What a step does, and how long it takes: counts, times, host, cost."""

from __future__ import annotations

from typing import Annotated, TypedDict

from planner.results.schema.described import Range, described


# The key "bytes" is a type too: where a class has it, no annotation may name that type.
class WeightDtypeDocument(TypedDict):
    """The parameters of one dtype."""

    dtype: Annotated[str, described("as it is stored, without `torch.`")]
    elements: Annotated[int, described("number of elements")]
    bytes: Annotated[int, described("their size")]


class StepCountsDocument(TypedDict):
    """What the step computes."""

    forward_flops_per_sample: Annotated[int | None, described("of the forward; null: not counted")]
    step_flops: Annotated[
        int | None, described("of forward and backward of the batch; null: not counted")
    ]
    recomputed_flops: Annotated[
        int | None,
        described("those of them by which backward computes activations again; null: not counted"),
    ]
    activations_per_sample: Annotated[
        int | None,
        described(
            "elements that convolutions, matrix products and attention give; null: not counted"
        ),
    ]
    uncounted_operators: Annotated[
        dict[str, int] | None,
        described("operators without a rule, and their calls; null: not counted"),
    ]


class CountsDocument(StepCountsDocument):
    """What the model has and what its step computes."""

    parameters: Annotated[int, described("elements of all parameters")]
    trainable_parameters: Annotated[int, described("elements of those that get gradients")]
    buffers: Annotated[int, described("elements of all buffers")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]


class InspectedCountsDocument(CountsDocument):
    """What the model has and what its step computes, counted twice."""

    forward_flops_by_torch: Annotated[int, described("of the batch, by `torch.utils.flop_counter`")]


class WhatIfDocument(TypedDict):
    """The same step under another setting of the allocator."""

    alloc_conf: Annotated[str | None, described("the setting; null: that of PyTorch")]
    peak_allocated_bytes: Annotated[int, described("of the batch of `--batch`")]
    peak_reserved_bytes: Annotated[int, described("of the batch of `--batch`")]
    fits: Annotated[bool, described("whether it fits")]
    max_batch_size: Annotated[int | None, described("null: not searched, or it cannot be forecast")]


class GainDocument(TypedDict):
    """A change that makes the step faster."""

    change: Annotated[str, described("the change in words")]
    factor: Annotated[float, described("throughput with it over throughput without it")]
    is_approximate: Annotated[
        bool, described("true: derived from the same run, not from one with it")
    ]


class TimeDocument(TypedDict):
    """How fast one optimizer step is."""

    step_s: Annotated[float, described("time of an optimizer step")]
    samples_per_s: Annotated[float, described("throughput")]
    samples_per_s_per_gpu: Annotated[
        float | None, described("throughput over the GPUs of the job; null: one GPU")
    ]
    tokens_per_s_per_gpu: Annotated[
        float | None, described("tokens over time and GPUs; null: no length was given (`--seq`)")
    ]
    mfu: Annotated[
        float | None,
        described(
            "model FLOPs utilization, from 0 to 1: FLOPs without recomputation over those of the "
            "card at its peak; null: no FLOPs, or no peak is known"
        ),
    ]
    scaling_efficiency: Annotated[
        float | None,
        described("time of the step without other GPUs over its time with them; null: one GPU"),
    ]
    first_token_s: Annotated[
        float | None, described("time until a generation has its first token; null: it is none")
    ]
    token_s: Annotated[
        float | None, described("time of each later token, on average; null: no generation")
    ]
    new_tokens_per_s: Annotated[
        float | None, described("tokens that a generation writes over its time; null: it is none")
    ]
    gpu_s: Annotated[float, described("time that the card is busy")]
    launch_s: Annotated[float, described("time that the CPU takes to launch all kernels")]
    loader_s: Annotated[float | None, described("time of the loader; null: no host or no data")]
    copy_s: Annotated[
        float | None, described("time of the copies to the card; null: no host or no data")
    ]
    offload_copy_s: Annotated[
        float | None,
        described(
            "time of the copies of what is offloaded, both ways; of FSDP's shards, as far as no "
            "kernel runs beside; null: the link is not known"
        ),
    ]
    offload_update_s: Annotated[float, described("time of an optimizer's update on the host")]
    messages_s: Annotated[
        float | None, described("all messages to other GPUs, one after another; null: one GPU")
    ]
    exposed_messages_s: Annotated[
        float | None, described("those that no kernel runs beside; null: one GPU")
    ]
    bubble_s: Annotated[
        float | None, described("time that the GPU waits for other stages; null: no pipeline")
    ]
    phases_s: Annotated[dict[str, float], described("time of the card by phase")]
    stages_s: Annotated[
        dict[str, float] | None,
        described("time of the card by stage of a pipeline; null: it is none"),
    ]
    bound: Annotated[str, described("what the step waits for")]
    shares: Annotated[
        dict[str, float], described("share of the step by bound; what overlaps counts for each")
    ]
    runner_up: Annotated[str | None, described("what it would wait for next")]
    takes_over_factor: Annotated[
        float | None,
        described("how much faster the bound must get for the runner-up to take its place"),
    ]
    interval: Annotated[Range | None, described("deprecated: the same as `interval_s`")]
    interval_s: Annotated[
        Range | None, described("where the step will lie in a share `interval_coverage` of cases")
    ]
    interval_coverage: Annotated[float | None, described("that share")]
    interval_basis: Annotated[str | None, described("what it rests on, or why it is null")]
    time_sources: Annotated[
        dict[str, float], described("share of the kernels' time by where it is from")
    ]
    gains: Annotated[list[GainDocument], described("changes that make the step faster")]
    uncounted_operators: Annotated[
        list[str], described("operators without a rule: their bytes alone are counted")
    ]


class HostDocument(TypedDict):
    """What the job takes of its host."""

    requested: Annotated[str | None, described("the host's name as given; null: none")]
    ram_bytes: Annotated[int, described("RAM of the job; of several GPUs, on one machine")]
    usable_ram_bytes: Annotated[int | None, described("RAM that the job may take; null: not known")]
    fits: Annotated[bool | None, described("whether it fits into RAM; null: not known")]
    verdict: Annotated[str, described('`"fits"`, `"tight"`, `"does not fit"` or `"unknown"`')]
    ram_parts_bytes: Annotated[dict[str, int], described("what `ram_bytes` is made of")]
    shm_peak_bytes: Annotated[int, described("most that /dev/shm has to hold")]
    shm_bytes: Annotated[int | None, described("size of /dev/shm; null: not known")]
    shm_verdict: Annotated[str, described("the same four words, of /dev/shm")]
    workers: Annotated[int, described("workers of the DataLoader")]
    cores: Annotated[float | None, described("cores of the host; null: not known")]
    cores_needed: Annotated[
        float | None,
        described("cores that keep the card busy; null: no data, or see `cores_limit`"),
    ]
    cores_like: Annotated[str | None, described("processor whose cores these are")]
    cores_limit: Annotated[str | None, described("why no number of cores is enough, or null")]
    data: Annotated[str | None, described("what a worker prepares; null: no data were named")]


class EpochDocument(TypedDict):
    """One pass over the dataset."""

    samples: Annotated[int, described("samples of the dataset")]
    hours: Annotated[float, described("time")]
    kwh: Annotated[Range, described("energy")]
    money: Annotated[Range | None, described("rent of the card; null: no price is known")]
    currency: Annotated[str | None, described("of `money`")]


class CostDocument(TypedDict):
    """What the step takes in energy and money."""

    power_w: Annotated[Range, described("mean power of card and host, W")]
    joule_per_sample: Annotated[Range, described("energy of a sample, J")]
    samples_per_s: Annotated[float, described("throughput that the figures are for")]
    cost_per_sample: Annotated[Range | None, described("rent of a sample; null: no price is known")]
    price_per_hour: Annotated[Range | None, described("rent of the card; null: no price is known")]
    currency: Annotated[str | None, described("of the price")]
    epoch: Annotated[EpochDocument | None, described("null without `--dataset-size`")]
    basis: Annotated[list[str], described("what each figure rests on")]
