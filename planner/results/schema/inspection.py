"""`planner inspect`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import described
from planner.results.schema.job import InspectedConfigDocument, VersionsDocument
from planner.results.schema.step import InspectedCountsDocument
from planner.results.schema.values import ValuesDocument


class ModuleDocument(TypedDict):
    """One module with everything that it contains."""

    path: Annotated[str, described('dotted path; `""` is the model itself')]
    kind: Annotated[str, described("its class")]
    depth: Annotated[int, described("names in its path")]
    parameters: Annotated[int, described("elements of its parameters")]
    trainable_parameters: Annotated[int, described("elements of those that get gradients")]
    forward_flops: Annotated[int, described("FLOPs of its forward for the batch")]
    activations: Annotated[int | None, described("elements of its outputs; null: not counted")]
    saved_bytes: Annotated[int, described("what autograd keeps for backward")]
    read_bytes: Annotated[int, described("bytes that its operators read")]
    written_bytes: Annotated[int, described("bytes that its operators write")]
    arithmetic_intensity_flops_per_byte: Annotated[
        float | None, described("FLOPs for each of these bytes; null without any")
    ]


class TensorDocument(TypedDict):
    """A tensor of an operator."""

    shape: Annotated[list[int], described("its dimensions")]
    dtype: Annotated[str, described("without `torch.`")]
    number: Annotated[int, described("equal tensors of a list")]
    channels_last: Annotated[bool, described("whether channels lie closest in memory")]


class OperatorDocument(TypedDict):
    """Equal calls of an operator on the card."""

    name: Annotated[str, described("as PyTorch names it")]
    phase: Annotated[str, described('`"forward"`, `"loss"`, `"backward"` or `"optimizer step"`')]
    inputs: Annotated[list[TensorDocument], described("its tensors")]
    outputs: Annotated[list[TensorDocument], described("its results")]
    calls: Annotated[int, described("number of such calls")]
    flops: Annotated[int | None, described("of one call; null: no formula")]
    flop_source: Annotated[
        str,
        described(
            '`"formula"`, `"elementwise"` (its time is that of its bytes) or `"unknown"` (no rule '
            "covers it)"
        ),
    ]
    read_bytes: Annotated[int, described("of one call")]
    written_bytes: Annotated[int, described("of one call")]


class InspectionDocument(TypedDict):
    """What `planner inspect --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"`')]
    gpu: Annotated[str, described("the card whose kernels ran")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[InspectedConfigDocument, described("how the step is run")]
    counts: Annotated[InspectedCountsDocument, described("parameters, FLOPs, activations")]
    structure: Annotated[
        str, described('`"torch.fx graph"`, `"module hooks"` or, for `--depth 0`, `"whole model"`')
    ]
    flop_rules: Annotated[str, described('`"fvcore"` or `"torch.utils.flop_counter"`')]
    modules: Annotated[list[ModuleDocument], described("one entry for each module, outer first")]
    operators: Annotated[
        list[OperatorDocument], described("one entry for equal calls, in order of first appearance")
    ]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[ValuesDocument, described("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
    gpu_id: Annotated[str | None, described("`id` of the card's record")]
