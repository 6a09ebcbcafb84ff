"""`planner compare`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import Range, described
from planner.results.schema.job import ConfigDocument, VersionsDocument
from planner.results.schema.step import WeightDtypeDocument
from planner.results.schema.values import ValuesDocument


class ComparedCardDocument(TypedDict):
    """One card of a comparison."""

    requested: Annotated[str, described("the name that was given")]
    name: Annotated[str, described("name of the device")]
    usable_memory_bytes: Annotated[int, described("memory of the card")]
    fits: Annotated[bool, described("whether the step fits")]
    max_batch_size: Annotated[int | None, described("largest batch; null: not searched")]
    max_batch_is_bound: Annotated[
        bool, described("true: the search stopped at its bound with everything fitting")
    ]
    batch_size: Annotated[int | None, described("batch that the times are for")]
    step_s: Annotated[float | None, described("time of a step")]
    samples_per_s: Annotated[float | None, described("throughput")]
    bound: Annotated[str | None, described("what the step waits for")]
    epoch_hours: Annotated[float | None, described("null without `--dataset-size`")]
    kwh: Annotated[Range | None, described("energy of an epoch; null without `--dataset-size`")]
    money: Annotated[Range | None, described("rent of an epoch; null: no price or no dataset")]
    currency: Annotated[str | None, described("of `money`")]
    price_basis: Annotated[str | None, described("who asks the price, and since when")]
    id: Annotated[str | None, described("`id` of the card's record")]


class LeftOutDocument(TypedDict):
    """A card that could not be compared."""

    requested: Annotated[str, described("the name that was given")]
    reason: Annotated[str, described("why")]


class ComparisonDocument(TypedDict):
    """What `planner compare --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"`')]
    by: Annotated[str, described('`"time"`, `"cost"` or `"energy"`')]
    epoch_samples: Annotated[int | None, described("samples of the dataset; null: none was given")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[ConfigDocument, described("how the step is run")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]
    cards: Annotated[list[ComparedCardDocument], described("the best card first")]
    left_out: Annotated[list[LeftOutDocument], described("cards that could not be compared")]
    remarks: Annotated[list[str], described("what the ranking passes over, as sentences")]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[ValuesDocument, described("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
