"""Reads rows of published figures of memory as cases.

In: a row of a file in benchmarks/measurements. Out: its Cases; most rows have one. Convention: a
reader is a field of its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.accuracy.records import Case, Quantity, Source
from benchmarks.record.h100_training import training_step
from benchmarks.record.records import Row, Step
from benchmarks.record.rows import rows
from planner.units import MIB

# Parameters, in millions, of networks that timm has corrected since they were measured, for sources
# that publish none. Its results of 2022 to 2025 and timm 1.0.11 have this one with half its depth.
PARAMETERS_MILLIONS_THEN = {"ecaresnext50t_32x4d": 15.41}

# Columns that only some files have: arguments of build_model, yes or no, and words.
_SWITCHES = ("tf32", "half_images", "lora", "amp", "checkpointed")
_WORDS = ("experiment",)


def saturated(source: Source) -> frozenset[str]:
    """Returns the names of cases whose figure is the size of the card, not of the step."""
    return frozenset(
        row["case"] for row in rows(source.measurements) if row.get("saturated") == "yes"
    )


def family(model: str) -> str:
    """Returns the first letters of a model's name, without the origin of its weights."""
    found = re.match(r"[a-z]+", model.lower().removeprefix("tf_"))
    return found[0] if found else model


def figure(source: Source, row: Row) -> Iterator[Case]:
    """Yields the one figure of a row: memory, or that a batch fits or does not."""
    parameters = row.get("parameters_millions")
    yield Case(
        source=source.name,
        name=row["case"],
        step=_step(source, row),
        family=row.get("family") or family(row["model"]),
        quantity=Quantity(row["quantity"]),
        measured_bytes=_measured_bytes(row),
        parameters_millions=(
            PARAMETERS_MILLIONS_THEN.get(row["model"]) if parameters is None else float(parameters)
        ),
    )


def allocator_peaks(source: Source, row: Row) -> Iterator[Case]:
    """Yields peak allocated and peak reserved of a run, in bytes.

    Allocated equals active: no block is freed with work of another stream pending.
    """
    for quantity, column in (
        (Quantity.PEAK_ALLOCATED, "peak_active_bytes"),
        (Quantity.PEAK_RESERVED, "peak_reserved_bytes"),
    ):
        yield Case(
            source=source.name,
            name=f"{row['case']} {quantity.value}",
            step=training_step(row, *source.options),
            family=row["network"],
            quantity=quantity,
            measured_bytes=int(row[column]),
        )


def _measured_bytes(row: Row) -> int | None:
    """Returns the figure of a file that has it in bytes or in MiB."""
    if "measured_bytes" in row:
        return int(row["measured_bytes"])
    return round(float(row["measured_mib"]) * MIB) if "measured_mib" in row else None


def _step(source: Source, row: Row) -> Step:
    return Step(
        model=row["model"],
        card=row["card"],
        batch_size=int(row["batch_size"]),
        model_file=source.model_file,
        arguments=(
            ("name", row["model"]),
            *((key, row[key] == "yes") for key in _SWITCHES if key in row),
            *((key, row[key]) for key in _WORDS if key in row),
        ),
        options=(("precision", row.get("precision", "fp32")), *source.options),
        variables=source.variables,
        image_size=int(row["image_size"]) if "image_size" in row else None,
    )
