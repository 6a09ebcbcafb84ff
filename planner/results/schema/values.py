"""What a step reads of the values of its tensors."""

from __future__ import annotations

from typing import Annotated, TypedDict

from planner.results.schema.described import described


class ReadDocument(TypedDict):
    """A place that read values of the card."""

    file: Annotated[str, described('file of the user\'s code; `""`: no line of Python is known')]
    line: Annotated[int, described("line of that file")]
    function: Annotated[str, described("function around it")]
    operator: Annotated[str, described("operator as PyTorch names it")]
    count: Annotated[int, described("reads")]
    assumed: Annotated[
        int, described("reads whose value was drawn, because only a card can compute it")
    ]
    decision: Annotated[str, described('what they can decide: `"nothing"`, `"size"` or `"branch"`')]
    smallest: Annotated[int | None, described("smallest size read; null: other values were read")]
    largest: Annotated[int | None, described("largest size read; null: other values were read")]
    possible: Annotated[
        list[int] | None, described("sizes that were possible at the least and most")
    ]
    size_given: Annotated[bool, described("true: `--size-at` gave the size")]


class ReadSiteDocument(TypedDict):
    """A line of the user's code."""

    file: Annotated[str, described("file of the user's code")]
    line: Annotated[int, described("line of that file")]
    function: Annotated[str, described("function around it")]


class ValuesDocument(TypedDict):
    """How far the figures rest on values of the card."""

    state: Annotated[str, described('`"none read"`, `"known"` or `"assumed"`')]
    decides_sizes: Annotated[bool, described("whether a drawn number decided a size or a branch")]
    data_dependent: Annotated[str, described('`"typical"` or `"most"`')]
    seeds: Annotated[list[int], described("seeds of the runs that widened the interval")]
    reads: Annotated[list[ReadDocument], described("one entry for each place")]
    parted: Annotated[
        list[ReadSiteDocument],
        described(
            "places where the measured run read other values than the run that computed them"
        ),
    ]
