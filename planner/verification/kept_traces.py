"""The form in which the kernels of a trace are kept, and the factors that follow from it.

In: MeasuredKernels of a card. Out: a JSON document, TraceEntry, CardKernels. Convention: operators
are kept with their measured times, not only factors: a later planner predicts them in another way,
and compares them anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from planner.hardware.specs import GpuSpec
from planner.memory.budget import CardKernels
from planner.verification.kernel_factors import (
    KernelComparison,
    MeasuredKernels,
    kernel_factors,
)

KIND = "trace"  # the key "kind" of the document; a verification has none
_MOST_OPERATORS = 2000  # those with the most time: a trace with changing shapes has many


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """Kernels of a trace as they were kept.

    `recorded_at` is UTC, like 2026-11-24T22:30:05Z. `card` is the name of the card's record,
    `card_id` its id. `target` names the trace by a digest. `factors` are those of the planner that
    kept it. `document` is its JSON text.
    """

    id: int
    recorded_at: str
    card: str
    driver: str | None
    torch: str
    target: str
    card_id: str
    steps: int
    step_s: float | None
    kernels: MeasuredKernels
    factors: tuple[KernelComparison, ...]
    document: str

    def to_dict(self) -> dict[str, Any]:
        """Returns `id`, `recorded_at` and the keys of the document."""
        return {"id": self.id, "recorded_at": self.recorded_at, **json.loads(self.document)}


def trace_document(
    kernels: MeasuredKernels,
    card: GpuSpec,
    factors: Sequence[KernelComparison],
    *,
    target: str,
    step_s: float | None,
    device: str,
    cuda: str | None,
    planner: str,
) -> dict[str, Any]:
    """Returns the document that is kept."""
    return {
        "kind": KIND,
        "target": target,
        "card": card.name,
        "card_id": card.id,
        "device": device,
        "cuda": cuda,
        "planner": planner,
        "steps": kernels.steps,
        "step_s": step_s,
        "factors": [one.to_dict() for one in factors],
        "kernels": msgspec.to_builtins(
            MeasuredKernels(
                steps=kernels.steps,
                kernels_s=kernels.kernels_s,
                shortest_s=kernels.shortest_s,
                operators=kernels.operators[:_MOST_OPERATORS],
            )
        ),
    }


def trace_entry(row: Mapping[str, Any], document: Mapping[str, Any]) -> TraceEntry:
    """Reads an entry.

    Raises:
        KeyError, TypeError, ValueError: it is not such a document.
    """
    try:
        kernels = msgspec.convert(document["kernels"], type=MeasuredKernels)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return TraceEntry(
        id=row["id"],
        recorded_at=row["recorded_at"],
        card=row["card"],
        driver=row["driver"],
        torch=row["torch"],
        target=row["target"],
        card_id=str(document["card_id"]),
        steps=int(document["steps"]),
        step_s=document["step_s"],
        kernels=kernels,
        factors=tuple(
            KernelComparison(
                kind=str(one["kind"]),
                calls=int(one["calls"]),
                measured_s=float(one["measured_s"]),
                predicted_s=float(one["predicted_s"]),
            )
            for one in document["factors"]
        ),
        document=row["document"],
    )


def card_kernels(traces: Sequence[TraceEntry], card: GpuSpec) -> CardKernels | None:
    """Returns the factors of a card from its traces; None: they have none."""
    own = [one for one in traces if one.card_id == card.id]
    factors = kernel_factors([one.kernels for one in own], card)
    return CardKernels(factors=factors, traces=len(own)) if factors else None
