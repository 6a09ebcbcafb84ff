"""The three terms of vLLM's memory that shapes alone do not give, each by a small model.

In: ServedModel, VllmSettings, the card. Out: bytes on one rank, and the share that the sum of the
three may be less or more. Convention: the constants are medians of published starts
(vllm_terms.json, written by `python -m benchmarks.serving --fit`); docs/serving-record.md has the
rows and what remains.

1. Outside PyTorch: CUDA's workspaces, NCCL's buffers with several ranks.
2. The peak of the profile run: a forward of a whole step, or sampling for all sequences of a step,
   whichever is larger. Sampling sorts all logits up to 0.16 (v1/sample/ops/topk_topp_sampler.py),
   and has a kernel for it from 0.17 on (topk_topp_triton.py).
   Before it the largest image is read, where a model reads some (vision.py).
3. CUDA graphs, captured for each batch size, in pieces and, up to the number of sequences, whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.vision import image_bytes
from planner.memory.serving.vllm_rules import VllmSettings
from planner.units import GIB

FILE = Path(__file__).with_name("vllm_terms.json")
SWITCHED_BYTES_PER_S = 300e9  # NVLink of cards on an NVSwitch; a bridge of two has less
_COVERAGE_RANK = 0.05  # from each end: 90 % between
FLOOR_BYTES = (
    GIB  # added to both sums, so that a small one does not decide the bounds of large ones
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TermConstants:
    """The constants of the three terms, in bytes."""

    alone: float
    """Outside PyTorch, with one rank."""
    ranks_by_switch: float
    """The same with several ranks on NVLink through a switch."""
    ranks_by_bus: float
    """The same with several ranks on PCIe or a bridge, before 0.20."""
    ranks_by_bus_now: float
    """The same from 0.20 on."""
    sorted_logit: float
    """Of sampling, for each logit, up to 0.16."""
    kernel_logit: float
    """The same from 0.17 on."""
    forward_factor: float
    """Of a forward: peak over the widest tensors of a layer."""
    graph: float
    """Of a CUDA graph, for each layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTerms:
    """The constants, and measured over predicted sums of the terms in the published starts."""

    constants: TermConstants
    ratios: tuple[float, ...]
    """Measured over predicted sums of the terms, with FLOOR_BYTES added to both; ascending."""
    starts: int
    sources: int
    inside: int
    """Starts inside the bounds of constants and ratios from all other sources."""

    def bounds(self, sum_bytes: int) -> tuple[int, int]:
        """Returns the least and the greatest sum that a start with this predicted sum has.

        Nine of ten are between: the k-th ratio from each end, k a twentieth of their number and
        one (conformal prediction, as in planner/memory/interval.py); with under 40 ratios the ends.
        """
        place = max(0, int(_COVERAGE_RANK * (len(self.ratios) + 1)) - 1)
        low, high = self.ratios[place], self.ratios[-1 - place]
        scaled = sum_bytes + FLOOR_BYTES
        return max(0, round(low * scaled) - FLOOR_BYTES), round(high * scaled) - FLOOR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The three terms of one rank, in bytes."""

    outside: int
    peak: int
    graphs: int


@cache
def fitted_terms() -> FittedTerms:
    """Returns the terms that are shipped."""
    return terms_from(json.loads(FILE.read_text(encoding="utf-8")))


def terms_from(document: Mapping[str, Any]) -> FittedTerms:
    """Returns the terms of the document of vllm_terms.json."""
    values = {field.name: document["constants"][field.name] for field in fields(TermConstants)}
    return FittedTerms(
        constants=TermConstants(**values),
        ratios=tuple(sorted(document["ratios"])),
        starts=document["starts"],
        sources=document["sources"],
        inside=document["inside"],
    )


def vllm_terms(
    model: ServedModel,
    settings: VllmSettings,
    *,
    ranks: int,
    nvlink_bytes_per_s: float,
    constants: TermConstants,
) -> Terms:
    """Returns the three terms of a start."""
    outside = constants.alone
    if ranks > 1:
        switched = nvlink_bytes_per_s >= SWITCHED_BYTES_PER_S
        by_bus = constants.ranks_by_bus
        if settings.rules.version >= (0, 20):
            by_bus = constants.ranks_by_bus_now
        outside = constants.ranks_by_switch if switched else by_bus
    forward = constants.forward_factor * forward_bytes(model, settings.step_tokens, ranks)
    sampling = 0.0
    if not model.is_pooled:
        sampling = _logit(settings, constants) * logits(model, settings)
    image = image_bytes(model, ranks) if settings.rules.is_v1 else None
    kept, read = (0, 0) if image is None else (image.kept, image.peak)
    return Terms(
        outside=round(outside),
        peak=round(max(forward + kept, sampling + kept, read)),
        graphs=round(constants.graph * graph_layers(model, settings)),
    )


def _logit(settings: VllmSettings, constants: TermConstants) -> float:
    """Returns the bytes of sampling for each logit.

    From 0.7 on V0 samples with FlashInfer, whose peak is under that of a forward.
    """
    if settings.rules.version >= (0, 7) and not settings.rules.is_v1:
        return 0.0
    return constants.kernel_logit if settings.rules.has_sampling_kernel else constants.sorted_logit


def logits(model: ServedModel, settings: VllmSettings) -> int:
    """Returns the logits of a step with all sequences; each rank gathers the whole vocabulary."""
    return settings.sequences * model.vocabulary


def forward_bytes(model: ServedModel, tokens: int, ranks: int) -> int:
    """Returns the bytes of the widest tensors of a layer, in 16 bits.

    A dense layer: both halves of the wide part and their product, and three of the hidden size. A
    layer of experts: the same for each chosen expert, and its output before the sum.
    """
    dense = 3 * model.intermediate_size // ranks
    chosen = model.experts_per_token * (3 * model.expert_size // ranks + model.hidden_size)
    wide = chosen if model.experts else dense
    return 2 * tokens * (wide + 3 * model.hidden_size)


def graph_layers(model: ServedModel, settings: VllmSettings) -> int:
    """Returns the layers of all captured graphs: in pieces for each size, whole up to `sequences`.

    vllm/config/compilation.py, FULL_AND_PIECEWISE, the default since 0.11.
    """
    whole = sum(size <= settings.sequences for size in settings.graph_sizes)
    layers = model.num_layers if model.draft is None else (
        model.num_layers + model.draft.num_layers
    )  # fmt: skip
    return settings.graph_sets * layers * (len(settings.graph_sizes) + whole)
