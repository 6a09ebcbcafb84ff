"""The memory of a step on one card: its parts, its interval, its largest batch."""

from __future__ import annotations

from typing import Annotated, TypedDict

from planner.results.schema.described import described
from planner.results.schema.step import CostDocument, HostDocument, TimeDocument, WhatIfDocument


class HeldDocument(TypedDict):
    """A block of memory at the peak."""

    bytes: Annotated[int, described("its size")]
    category: Annotated[str, described("what it is held for")]
    phase: Annotated[str, described("when it was allocated")]
    module: Annotated[str, described('path of the module; `""` is outside of any submodule')]
    tensor: Annotated[str, described('name of the parameter or buffer that it belongs to, or `""`')]
    operator: Annotated[str, described('operator that allocated it, or `""`')]
    source: Annotated[str, described('FILE:LINE of the user\'s code, or `""`')]


class StagePeakDocument(TypedDict):
    """The highest moment within one stage of a pipeline."""

    stage: Annotated[str, described("model that runs, as the pipeline names it")]
    peak_bytes: Annotated[int, described("allocated at that moment")]
    weights_bytes: Annotated[
        int, described("of it parameters and buffers, of every model on the card")
    ]


class BreakdownDocument(TypedDict):
    """What the peak is made of."""

    breakdown_bytes: Annotated[
        dict[str, int] | None,
        described("the peak allocated by category; null: it was not recorded"),
    ]
    peak_phase: Annotated[str | None, described("phase in which the peak is")]
    peak_step: Annotated[int | None, described("step in which the peak is, from 1")]
    first_step_peak_bytes: Annotated[int | None, described("peak of the first step")]
    steady_step_peak_bytes: Annotated[int | None, described("peak of the last step")]
    fragmentation_bytes: Annotated[int | None, described("peak reserved - peak allocated")]
    module_bytes: Annotated[
        dict[str, int] | None,
        described('the peak allocated by module, two names deep; `""` is outside of any submodule'),
    ]
    stage_peaks: Annotated[
        list[StagePeakDocument] | None,
        described("the peak within each stage of a pipeline; null: the target is none"),
    ]
    largest_tensors: Annotated[
        list[HeldDocument] | None, described("the ten largest blocks at the peak")
    ]


class IntervalDocument(TypedDict):
    """How sure the figures are."""

    verdict: Annotated[
        str,
        described('`"fits"`, `"tight"` (not at the upper end of the interval) or `"does not fit"`'),
    ]
    device_total_interval_bytes: Annotated[
        list[int] | None, described("where device total will lie, least and greatest")
    ]
    interval_coverage: Annotated[float | None, described("share of cases inside, at the least")]
    interval_basis: Annotated[
        str | None, described("what the interval rests on, or why it is null")
    ]
    suggested_batch_size: Annotated[
        int | None,
        described("largest batch that fits at the upper end too; 0: none; null: it is not known"),
    ]
    suggested_margin_bytes: Annotated[
        int | None, described("by how much its peak reserved is less than the card could hold")
    ]
    suggested_batch_reason: Annotated[str | None, described("why it is not known, or null")]
    calibration: Annotated[str | None, described("the runs that corrected the figures, or null")]
    reserved_offset_bytes: Annotated[int, described("what these add to device total")]


class FullStateDocument(TypedDict):
    """Saving and loading the whole state of a job on several GPUs; allocated bytes of the card."""

    is_divided: Annotated[bool, described("whether ranks hold parts of the model")]
    model_bytes: Annotated[int, described("state of the whole model, in the RAM of rank 0")]
    optimizer_bytes: Annotated[
        int | None, described("state of the whole optimizer, likewise; null: none, or not known")
    ]
    saving_bytes: Annotated[
        int, described("peak on the card with `cpu_offload=True`, after a step")
    ]
    saving_on_card_bytes: Annotated[int, described("peak without it, of the model alone")]
    saving_all_on_card_bytes: Annotated[
        int | None, described("peak without it, with the optimizer; null as `optimizer_bytes`")
    ]
    loading_bytes: Annotated[
        int, described("peak with `broadcast_from_rank0=True`, before there is an optimizer")
    ]
    loading_each_bytes: Annotated[
        int, described("peak where each rank has the whole model in its RAM")
    ]
    capacity_bytes: Annotated[
        int, described("memory that PyTorch's allocator can have on the card")
    ]
    fits: Annotated[bool, described("whether `saving_bytes` and `loading_bytes` do")]
    fits_on_card: Annotated[bool, described("whether `saving_on_card_bytes` does")]


class DeviceDocument(BreakdownDocument, IntervalDocument):
    """The answer for one card."""

    name: Annotated[str, described("name of the device")]
    requested: Annotated[str, described("the name that was given")]
    id: Annotated[str | None, described("`id` of the card's record; null with `--device cpu`")]
    total_memory_bytes: Annotated[int, described("memory of the card's record")]
    usable_memory_bytes: Annotated[int, described("the same unless `--gpu-memory` was given")]
    context_overhead_bytes: Annotated[int, described("taken by the CUDA context")]
    reserve_bytes: Annotated[int, described("kept free on request (`--reserve`)")]
    peak_allocated_bytes: Annotated[
        int, described("most that tensors held, at the batch of `--batch`")
    ]
    peak_reserved_bytes: Annotated[int, described("most that PyTorch's allocator held")]
    outside_bytes: Annotated[int, described("what libraries take from CUDA outside that allocator")]
    outside_spread_bytes: Annotated[
        int, described("how much fewer or more `outside_bytes` may be: NCCL's have two bounds")
    ]
    managed_bytes: Annotated[int, described("how much of `outside_bytes` is unified memory")]
    device_total_bytes: Annotated[int, described("all of it: what the driver would show")]
    fits: Annotated[bool, described("whether the step fits")]
    missing_bytes: Annotated[int, described("by how much it does not fit, else 0")]
    max_batch_size: Annotated[
        int | None,
        described(
            "largest batch; null: not searched, or no memory depends on the batch; 0: not even 1 "
            "fits"
        ),
    ]
    max_batch_is_bound: Annotated[
        bool, described("true: the search stopped at its bound with everything fitting")
    ]
    max_batch_confirmed: Annotated[
        bool | None,
        described(
            "true: that batch was run and fits, and the next one was run and does not (so false at "
            "the search's bound)"
        ),
    ]
    max_batch_method: Annotated[str | None, described('`"replay"` or `"runs"`')]
    max_sequence_length: Annotated[
        int | None, described("longest sequence in tokens; null without `--seq`")
    ]
    max_sequence_confirmed: Annotated[bool | None, described("as `max_batch_confirmed`")]
    max_image: Annotated[
        list[int] | None,
        described("height and width of the largest image; zeros: none fits; null: not searched"),
    ]
    max_image_confirmed: Annotated[bool | None, described("as `max_batch_confirmed`")]
    max_frames: Annotated[
        int | None, described("most frames of a clip; 0: none fits; null: not searched")
    ]
    max_frames_confirmed: Annotated[bool | None, described("as `max_batch_confirmed`")]
    batch_1_missing_bytes: Annotated[
        int | None, described("by how much batch 1 does not fit, where that was found")
    ]
    attention_backends: Annotated[list[str], described("names, in order")]
    note: Annotated[str | None, described("what the name was taken for, or null")]
    alloc_conf_what_ifs: Annotated[
        list[WhatIfDocument], described("the step under each other allocator setting")
    ]
    time: Annotated[TimeDocument | None, described("speed; null: the step could not be counted")]
    host: Annotated[HostDocument | None, described("RAM and cores of the host; null as `time`")]
    cost: Annotated[CostDocument | None, described("energy and money; null as `time`")]
    full_state: Annotated[
        FullStateDocument | None, described("null: the job runs on one GPU, or it is not known")
    ]
