"""What the CPU of an engine adds to a step and to a request, and how far published loads are met.

In: speed_terms.json, written by `python -m benchmarks.serving --fit`. Out: HostTerms and
SpeedErrors, by engine. Convention: seconds; a ratio is published over predicted, so that above 1 it
is slower in truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("speed_terms.json")
_COVERAGE_RANK = 0.05  # from each end: 90 % between


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTerms:
    """CPU seconds of an engine that the card does not hide."""

    step_s: float
    """Of each step: to plan it, to prepare its inputs, to read its tokens."""
    request_s: float
    """Of each request of a step."""
    layer_s: float
    """To launch a layer outside of a CUDA graph."""
    first_s: float
    """From the request to the engine, and with the first token back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedErrors:
    """Published over predicted seconds, ascending, with each source left out of the constants."""

    ratios: tuple[float, ...]
    sources: int

    def bounds(self) -> tuple[float, float]:
        """Returns the ratios between which nine of ten published loads are."""
        place = max(0, int(_COVERAGE_RANK * (len(self.ratios) + 1)) - 1)
        return self.ratios[place], self.ratios[-1 - place]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedTerms:
    """The terms of one engine, or of those that take another's."""

    host: HostTerms
    tokens: SpeedErrors
    """Of seconds for each token: throughput, and time per output token."""
    first: SpeedErrors
    """Of the time to the first token of a request that is alone."""


@cache
def speed_terms() -> Mapping[str, SpeedTerms]:
    """Returns the terms that are shipped, by the name of an engine."""
    return terms_from(json.loads(FILE.read_text(encoding="utf-8")))


def terms_from(document: Mapping[str, Any]) -> Mapping[str, SpeedTerms]:
    """Returns the terms of a document like speed_terms.json."""
    return {
        name: SpeedTerms(
            host=HostTerms(**{f"{key[:-3]}_s": one["host"][key] / 1e6 for key in one["host"]}),
            tokens=_errors(one["tokens"]),
            first=_errors(one["first"]),
        )
        for name, one in document.items()
    }


def _errors(found: Mapping[str, Any]) -> SpeedErrors:
    ratios: Sequence[float] = found["ratios"]
    return SpeedErrors(ratios=tuple(sorted(ratios)), sources=found["sources"])
