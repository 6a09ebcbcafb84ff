"""`planner parallelize`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.advice import LeverDocument
from planner.results.schema.described import Range, described
from planner.results.schema.job import ConfigDocument, VersionsDocument
from planner.results.schema.step import WeightDtypeDocument
from planner.results.schema.values import ValuesDocument


class SpreadDocument(TypedDict):
    """One way to use the GPUs; figures of a card are those of the worst rank."""

    gpus: Annotated[int, described("GPUs of the job")]
    hosts: Annotated[int, described("machines")]
    parallel: Annotated[str, described("the strategy in the words of `--parallel`; empty: one GPU")]
    arguments: Annotated[list[str], described("knobs in the words of `--parallel-arg`")]
    checkpoint: Annotated[
        str, described('`"none"`, `"every:2"`, `"all"`, `"as requested"`, or `"any"` of these')
    ]
    levers: Annotated[list[str], described("names of other levers")]
    state: Annotated[
        str,
        described(
            '`"fits"`, `"slower"`, `"does not fit"`, `"not run"`, `"failed"` or `"cannot apply"`'
        ),
    ]
    reason: Annotated[str, described("why, or empty")]
    method: Annotated[str, described('`"arithmetic"` or `"emulated run"`')]
    batch_size: Annotated[int | None, described("samples of a micro-batch of one rank")]
    accumulate: Annotated[int | None, described("micro-batches of an optimizer step")]
    max_batch_size: Annotated[
        int | None, described("largest micro-batch that fits, by replay; null: not searched")
    ]
    device_total_bytes: Annotated[
        int | None, described("what it takes of a card; by arithmetic at least so much")
    ]
    over_bytes: Annotated[
        int | None, described("beyond the memory of a card; by arithmetic at least so much")
    ]
    step_s: Annotated[float | None, described("time of an optimizer step")]
    samples_per_s: Annotated[float | None, described("throughput of the whole job")]
    slower_factor: Annotated[
        float | None, described("time for a sample over that of the plan; above 1 is slower")
    ]
    cost_per_million: Annotated[
        Range | None, described("rent of all GPUs for a million samples; null: not known")
    ]


class ParallelPlanDocument(SpreadDocument):
    """What to do: run as one rank, and on the full card, with exactly these flags."""

    flags: Annotated[list[str], described("the words of all that differs from the request")]
    command: Annotated[str, described("the whole command that gives the same estimate")]
    launch: Annotated[str, described("the command that starts the job on each machine")]
    code: Annotated[
        list[str],
        described(
            "lines of `parallelize(model, mesh)`; none: one GPU, or the model file has its own"
        ),
    ]
    code_flags: Annotated[list[str], described("in place of `flags` for a file with that function")]
    script: Annotated[list[str], described("lines of code beside the function")]
    peak_reserved_bytes: Annotated[int, described("most that PyTorch's allocator holds")]
    usable_memory_bytes: Annotated[int, described("memory of a card")]
    worst_rank: Annotated[int, described("the rank of the figures, which takes most memory")]
    rank_reason: Annotated[str, described("why it is that one, or empty on one GPU")]
    global_batch: Annotated[int, described("samples of an optimizer step of all ranks")]
    next_batch_size: Annotated[
        int | None,
        described(
            "the next larger micro-batch, which a run refused; null: memory is not the limit"
        ),
    ]
    samples_per_s_per_gpu: Annotated[float | None, described("throughput of one GPU")]
    tokens_per_s: Annotated[
        float | None, described("tokens a second of the job; null: no `--seq` is known")
    ]
    tokens_per_s_per_gpu: Annotated[float | None, described("the same of one GPU")]
    currency: Annotated[str | None, described("of the cost")]


class HeldBytesDocument(TypedDict):
    """What lasts through an optimizer step, of the whole model."""

    levers: Annotated[list[str], described("names of the levers; none: as requested")]
    parameter_bytes: Annotated[int, described("parameters")]
    gradient_bytes: Annotated[int, described("gradients")]
    optimizer_bytes: Annotated[int, described("state of the optimizer")]
    total_bytes: Annotated[int, described("all of it")]


class SmallestDocument(TypedDict):
    """The fewest of these cards that fit."""

    levers: Annotated[list[str], described("names of the levers; none: as requested")]
    gpus: Annotated[int | None, described("cards; null: no number that was looked at fits")]
    hosts: Annotated[int | None, described("machines")]
    device_total_bytes: Annotated[
        int | None,
        described(
            "what it takes of a card without its limit, where no cached memory is given back"
        ),
    ]
    reason: Annotated[str, described("why fewer do not fit, or why none does")]


class ParallelizationDocument(TypedDict):
    """What `planner parallelize --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"`')]
    by: Annotated[str, described("that of `--by`")]
    gpu: Annotated[str, described("the card's name as given")]
    gpu_name: Annotated[str, described("name of the device")]
    gpu_id: Annotated[str, described("`id` of the card's record")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[ConfigDocument, described("how the step was requested")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, described("memory of a card")]
    reserve_bytes: Annotated[int, described("memory to be kept free")]
    num_gpus: Annotated[int, described("GPUs of the job as requested")]
    num_hosts: Annotated[int, described("machines")]
    global_batch: Annotated[int | None, described("that of `--global-batch`; null: as many as fit")]
    plan: Annotated[ParallelPlanDocument | None, described("what to do; null: nothing fits")]
    runner_up: Annotated[
        SpreadDocument | None, described("the next best that fits; null: none does")
    ]
    spreads: Annotated[
        list[SpreadDocument],
        described("all that were looked at: those that fit first, the best first"),
    ]
    held: Annotated[
        list[HeldBytesDocument],
        described("what lasts through a step, as requested and with levers"),
    ]
    smallest: Annotated[
        list[SmallestDocument],
        described("the fewest cards, as requested and with the plan's levers"),
    ]
    levers: Annotated[list[LeverDocument], described("the levers that the spreads name")]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[ValuesDocument, described("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
