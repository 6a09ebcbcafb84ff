"""`planner estimate` and `planner run`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import described
from planner.results.schema.job import ConfigDocument, VersionsDocument
from planner.results.schema.memory import DeviceDocument
from planner.results.schema.step import CountsDocument
from planner.results.schema.values import ValuesDocument


class RankDocument(TypedDict):
    """One rank, or several that are alike."""

    first: Annotated[int, described("the first of these ranks")]
    last: Annotated[int, described("the last one")]
    role: Annotated[str, described("what it has that others have not")]
    peak_allocated_bytes: Annotated[int | None, described("null: the rank was not run")]
    peak_reserved_bytes: Annotated[int | None, described("null: the rank was not run")]


class RanksDocument(TypedDict):
    """The ranks of a job on several GPUs."""

    worst: Annotated[int, described("the rank with the highest peak, whose figures these are")]
    reason: Annotated[str, described("why it is that one")]
    rows: Annotated[list[RankDocument], described("all ranks, in order")]


class EstimateDocument(TypedDict):
    """What `planner estimate --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"` or `"cpu"`')]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[ConfigDocument, described("how the step is run")]
    counts: Annotated[CountsDocument, described("parameters, FLOPs, activations")]
    gpus: Annotated[
        list[DeviceDocument], described("one entry for each card, in the order of `--gpu`")
    ]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[
        ValuesDocument | None, described("null on real hardware, which has its own values")
    ]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
    ranks: Annotated[RanksDocument | None, described("null: the job runs on one GPU")]
