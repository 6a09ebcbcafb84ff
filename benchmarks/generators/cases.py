"""The cases: published peaks, with their sources, and how planner is asked for each.

In: measurements/lambda_sd14.csv. Out: Cases. Convention: GB is 10^9 bytes in Lambda's figures and
2^30 in those of diffusers' pages, whose scripts print bytes / 1024^3.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parents[1] / "measurements" / "lambda_sd14.csv"
COGVIDEOX = (
    "https://github.com/huggingface/diffusers, docs/source/en/api/pipelines/cogvideox.md at 58eb52c"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A published peak."""

    name: str
    """What was run."""
    target: str
    """Target of planner."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword options of planner.estimate."""
    published_bytes: int
    """The published peak."""
    is_reserved: bool = True
    """Whether it is of the allocator; else of tensors."""
    source: str = ""
    """Where it is published."""


def lambda_cases() -> tuple[Case, ...]:
    """Returns the runs of Stable Diffusion 1.4 that ended, each setting and batch once.

    Figures of the same setting on several cards are averaged: they differ by under 5 %, and the
    caching allocator's sizes do not depend on the card.
    """
    groups: dict[tuple[str, str, int, str], list[float]] = {}
    with ROWS.open(newline="") as opened:
        for row in csv.DictReader(opened):
            if row["reserved_gb"]:
                key = (row["precision"], row["xformers"], int(row["batch"]), row["vae_slicing"])
                groups.setdefault(key, []).append(float(row["reserved_gb"]))
    return tuple(
        _lambda_case(*key, sum(values) / len(values)) for key, values in sorted(groups.items())
    )


def _lambda_case(
    precision: str, xformers: str, batch: int, slicing: str, reserved_gb: float
) -> Case:
    options: dict[str, Any] = {
        "batch_size": batch,
        "precision": precision,
        "sequence_length": 77,
        "steps": 1,  # read after one run of the pipeline
        "attention": "sdpa" if xformers == "yes" else "eager",
    }
    if slicing == "yes":
        options["vae"] = "slicing"
    attention = "xformers" if xformers == "yes" else "plain"
    return Case(
        name=f"SD 1.4, {precision}, {attention} attention, batch {batch}"
        + (", slicing" if slicing == "yes" else ""),
        target="diffusers:CompVis/stable-diffusion-v1-4",
        options=options,
        published_bytes=round(reserved_gb * 1e9),
        source=str(ROWS.name),
    )


def offload_cases() -> tuple[Case, ...]:
    """Returns the rows of diffusers' table on CogVideoX: 49 frames of 480x720."""
    target = "diffusers:zai-org/CogVideoX-5b"
    rows = (
        ("CogVideoX-5b", {}, 33),
        ("CogVideoX-5b, offload model", {"offload": "model"}, 19),
        ("CogVideoX-5b, offload model, tiling", {"offload": "model", "vae": "tiling"}, 11),
    )
    return tuple(
        Case(
            name=name,
            target=target,
            options={"batch_size": 1, **options},
            published_bytes=gib << 30,
            is_reserved=False,
            source=COGVIDEOX,
        )
        for name, options, gib in rows
    )
