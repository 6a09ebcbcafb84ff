"""`planner curve`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import Range, described
from planner.results.schema.job import ConfigDocument, VersionsDocument
from planner.results.schema.step import WeightDtypeDocument
from planner.results.schema.values import ValuesDocument


class PointDocument(TypedDict):
    """One batch of a curve."""

    batch_size: Annotated[int, described("samples of the batch")]
    step_s: Annotated[float, described("time of a step, on a card with enough memory")]
    samples_per_s: Annotated[float, described("throughput, on a card with enough memory")]
    device_total_bytes: Annotated[int | None, described("null: it cannot be forecast")]
    fits: Annotated[bool, described("whether the batch fits")]
    bound: Annotated[
        str, described("what the step waits for; `VRAM capacity` where it does not fit")
    ]
    joule_per_sample: Annotated[Range | None, described("energy of a sample, J")]
    cost_per_sample: Annotated[Range | None, described("rent of a sample; null: no price is known")]


class CurveDocument(TypedDict):
    """What `planner curve --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"`')]
    gpu: Annotated[str, described("the card's name as given")]
    gpu_name: Annotated[str, described("name of the device")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[
        ConfigDocument, described("how the step is run; each point has its own batch")
    ]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, described("memory of the card")]
    largest_batch_size: Annotated[
        int | None, described("0: not even 1 fits; null: it was not searched; need not be a point")
    ]
    largest_batch_is_bound: Annotated[
        bool, described("true: the search stopped at its bound with everything fitting")
    ]
    knee: Annotated[
        int | None, described("smallest batch that fits with 95 % of the best throughput")
    ]
    recommended_batch_size: Annotated[int | None, described("the batch to take; null: none")]
    accumulate: Annotated[int | None, described("micro-batches that keep the global batch")]
    global_batch_size: Annotated[int | None, described("that of `--global-batch`")]
    recommendation: Annotated[str, described("the recommendation as a sentence")]
    currency: Annotated[str | None, described("of the costs")]
    points: Annotated[list[PointDocument], described("one entry for each batch, rising")]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[ValuesDocument, described("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
    gpu_id: Annotated[str | None, described("`id` of the card's record")]
