"""`planner verify`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import described
from planner.results.schema.job import VerifiedConfigDocument, VersionsDocument
from planner.results.schema.step import WeightDtypeDocument
from planner.results.schema.values import ValuesDocument


class VerifiedDeviceDocument(TypedDict):
    """What was verified on."""

    name: Annotated[str, described("name of the device")]
    kind: Annotated[str, described('`"physical"`, `"emulated"` or `"cpu"`')]
    memory_bytes: Annotated[
        int, described("memory of the device as PyTorch reports it, or the limit")
    ]
    limit: Annotated[str, described("how the limit was enforced")]
    driver: Annotated[str | None, described("version of the driver")]
    ecc: Annotated[bool | None, described("whether ECC is on")]
    power_limit_w: Annotated[float | None, described("limit of its power, W")]
    other_processes_bytes: Annotated[int | None, described("memory that other processes held")]


class FiguresDocument(TypedDict):
    """Figures of one side, predicted or measured."""

    max_batch_size: Annotated[
        int | None, described("largest batch; 0: not even 1 fits; null: the search could not end")
    ]
    batch_size: Annotated[int | None, described("batch of the figures below")]
    peak_allocated_bytes: Annotated[int | None, described("most that tensors held")]
    peak_reserved_bytes: Annotated[int | None, described("most that PyTorch's allocator held")]
    context_overhead_bytes: Annotated[int | None, described("held outside of that allocator")]
    device_total_bytes: Annotated[int | None, described("all of it")]
    step_s: Annotated[float | None, described("time of a step")]
    breakdown_bytes: Annotated[
        dict[str, int] | None,
        described("the peak allocated by category; null: it was not recorded"),
    ]


class ProbeDocument(TypedDict):
    """One run of the step in a process of its own."""

    batch_size: Annotated[int, described("samples of the batch")]
    outcome: Annotated[
        str,
        described('`"fits"`, `"oom"`, `"cuda-error"`, `"killed"`, `"time-out"` or `"model-error"`'),
    ]
    seconds: Annotated[float, described("time of the whole run")]
    peak_allocated_bytes: Annotated[int | None, described("most that tensors held")]
    peak_reserved_bytes: Annotated[int | None, described("most that PyTorch's allocator held")]
    peak_device_bytes: Annotated[int | None, described("most that the whole device held")]
    device_before_bytes: Annotated[int | None, described("what it held before the run")]
    context_overhead_bytes: Annotated[int | None, described("held outside of PyTorch's allocator")]
    step_s: Annotated[float | None, described("median of the steps after the first")]
    detail: Annotated[str, described("the error, or empty")]


class VerificationDocument(TypedDict):
    """What `planner verify --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    device: Annotated[VerifiedDeviceDocument, described("what was verified on")]
    config: Annotated[VerifiedConfigDocument, described("how the step is run")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]
    predicted: Annotated[FiguresDocument, described("what planner predicts")]
    measured: Annotated[FiguresDocument, described("what the runs show")]
    max_batch_of_all_ranks: Annotated[
        int | None,
        described("least answer of the processes that torchrun started; null without it"),
    ]
    error: Annotated[
        dict[str, float | None], described("(predicted - measured) / measured of each figure")
    ]
    tolerance: Annotated[float, described("largest share by which device total may differ")]
    confirmed: Annotated[bool, described("whether everything is within tolerance")]
    complaints: Annotated[list[str], described("what is not, as sentences")]
    stopped: Annotated[str, described("why the search ended before it had an answer, or empty")]
    bound: Annotated[str, described("what other than memory ended the search, or empty")]
    probes: Annotated[list[ProbeDocument], described("the runs, in order")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[
        ValuesDocument, described("how far the prediction rests on values of the card")
    ]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
