"""`planner advise`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.config.target import Scalar
from planner.results.schema.described import Range, described
from planner.results.schema.job import ConfigDocument, VersionsDocument
from planner.results.schema.step import WeightDtypeDocument
from planner.results.schema.values import ValuesDocument


class LeverDocument(TypedDict):
    """A change of the step that was tried, or could not be."""

    name: Annotated[str, described("its name, as in `--try`")]
    flags: Annotated[
        list[str], described("its words on the command line; none: an option must be left out")
    ]
    code: Annotated[list[str], described("lines for a plain PyTorch loop")]
    effect: Annotated[
        str, described('`"none"`, `"small"` or `"large"`: what it may do to training')
    ]
    note: Annotated[str, described("the same as a sentence")]


class TrialDocument(TypedDict):
    """A lever, or several together, with the figures of the step."""

    levers: Annotated[list[str], described("names of the levers; none: the step as requested")]
    state: Annotated[str, described('`"tried"`, `"failed"`, `"cannot apply"` or `"not tried"`')]
    reason: Annotated[str, described("why there are no figures, or empty")]
    method: Annotated[str | None, described('`"emulated run"` or `"replay"`; null: no figures')]
    batch_size: Annotated[int | None, described("samples of a micro-batch")]
    peak_reserved_bytes: Annotated[
        int | None, described("most that PyTorch's allocator holds, on a card with enough memory")
    ]
    device_total_bytes: Annotated[int | None, described("with all that others take of the card")]
    saved_bytes: Annotated[int | None, described("device total as requested, minus this one")]
    fits: Annotated[bool | None, described("whether it fits on the card")]
    step_s: Annotated[float | None, described("time of an optimizer step")]
    time_factor: Annotated[
        float | None, described("time for a sample over that as requested; above 1 is slower")
    ]
    max_batch_size: Annotated[
        int | None, described("largest batch that fits, by replay; null: not searched")
    ]
    offload_s: Annotated[float | None, described("part of the step that waits for the host")]
    offloaded_bytes: Annotated[
        int | None, described("RAM of the host in place of memory of the card")
    ]


class PlanDocument(TypedDict):
    """What to do: run on the card with exactly these flags."""

    levers: Annotated[list[str], described("names of the levers; none: nothing has to change")]
    flags: Annotated[list[str], described("their words on the command line")]
    command: Annotated[str, described("the whole command that gives the same estimate")]
    code: Annotated[list[str], described("lines for a plain PyTorch loop")]
    gpu: Annotated[str, described("the card")]
    batch_size: Annotated[int, described("samples of a micro-batch")]
    sequence_length: Annotated[int | None, described("that of `--seq`")]
    peak_reserved_bytes: Annotated[
        int, described("most that PyTorch's allocator holds, on the card")
    ]
    device_total_bytes: Annotated[int, described("with all that others take of the card")]
    usable_memory_bytes: Annotated[int, described("memory of the card")]
    max_batch_size: Annotated[int | None, described("largest batch that fits; null: not searched")]
    max_batch_confirmed: Annotated[
        bool, described("it was run and fits, and the next was run and does not")
    ]
    max_sequence_length: Annotated[
        int | None, described("longest sequence that fits; null: not searched")
    ]
    max_sequence_confirmed: Annotated[bool, described("the same for the sequence")]
    step_s: Annotated[float | None, described("time of an optimizer step")]
    time_factor: Annotated[
        float | None, described("time for a sample over that as requested; above 1 is slower")
    ]


class CardChoiceDocument(TypedDict):
    """Another card on which the step fits as requested."""

    id: Annotated[str, described("`id` of the card's record")]
    name: Annotated[str, described("name of the device")]
    usable_memory_bytes: Annotated[int, described("memory of the card")]
    device_total_bytes: Annotated[int, described("what the step takes of it")]
    price_per_hour: Annotated[Range | None, described("rent; null: none is known")]
    currency: Annotated[str | None, described("of the rent")]
    step_s: Annotated[float | None, described("time of an optimizer step")]


class AdviceDocument(TypedDict):
    """What `planner advise --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    engine: Annotated[str, described('`"emulated"`')]
    goal: Annotated[str, described("that of `--goal`")]
    gpu: Annotated[str, described("the card's name as given")]
    gpu_name: Annotated[str, described("name of the device")]
    gpu_id: Annotated[str, described("`id` of the card's record")]
    versions: Annotated[VersionsDocument, described("what the figures were made with")]
    config: Annotated[ConfigDocument, described("how the step was requested")]
    weight_dtypes: Annotated[
        list[WeightDtypeDocument], described("the parameters by dtype, most bytes first")
    ]
    usable_memory_bytes: Annotated[int, described("memory of the card")]
    reserve_bytes: Annotated[int, described("memory to be kept free")]
    baseline: Annotated[TrialDocument, described("the step as requested")]
    plan: Annotated[PlanDocument | None, described("what to do; null: nothing that was tried fits")]
    trials: Annotated[
        list[TrialDocument], described("single levers and combinations, the best first")
    ]
    levers: Annotated[list[LeverDocument], described("the levers that the trials name")]
    other_cards: Annotated[
        list[CardChoiceDocument],
        described("cards on which it fits as requested, the cheapest first"),
    ]
    assumptions: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
    values: Annotated[ValuesDocument, described("how far the figures rest on values of the card")]
    model_arguments: Annotated[dict[str, Scalar], described("those of `--model-arg`")]
