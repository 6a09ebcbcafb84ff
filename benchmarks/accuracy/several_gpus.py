"""Reads rows of published runs on several GPUs as cases.

In: a row of measurements/several_gpus.csv or several_gpus_fits.csv. Out: its Case. Convention: the
figure is that of one GPU, and the batch that of each rank with samples of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.accuracy.records import Case, Quantity, Source
from benchmarks.record.records import Row, Step

_WORDS = ("loop", "norm", "checkpointing", "sharding")  # arguments of build_model


def figure_of_a_rank(source: Source, row: Row) -> Iterator[Case]:
    """Yields the one figure of a row: a peak of PyTorch's allocator, or that the step fits."""
    measured, behind = row.get("measured_bytes"), row.get("launches_behind")
    yield Case(
        source=source.name,
        name=row["case"],
        step=_step(source, row),
        family=row["family"],
        quantity=Quantity(row["quantity"]),
        measured_bytes=None if measured is None else int(measured),
        chosen_on=row["chosen_on"] == "yes",
        launches_behind=int(behind) if behind else None,
    )


def _step(source: Source, row: Row) -> Step:
    return Step(
        model=row["model"],
        card=row["card"],
        batch_size=int(row["batch_size"]),
        model_file=source.model_file,
        arguments=(
            ("name", row["model"]),
            *((key, row[key]) for key in _WORDS),
            ("reduces_apart", row["reduces_apart"] == "yes"),
            ("sequence_length", int(row["sequence_length"])),
        ),
        options=(
            # The plan of the model file casts: planner is to do nothing more.
            ("precision", "fp32"),
            ("steps", int(row["steps"])),
            ("num_gpus", int(row["num_gpus"])),
            ("parallel", row["parallel"]),
            *source.options,
        ),
        variables=source.variables,
    )
