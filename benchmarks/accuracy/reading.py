"""Reads published figures as cases, and draws reproducible samples and the halves of a fit.

In: CSV files of benchmarks/measurements. Out: Cases, in the order of the file. Convention: samples
and halves are of whole models, so that no model is in both halves.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.accuracy.records import Case, Quantity
from benchmarks.accuracy.sources import PARAMETERS_MILLIONS_THEN, Source
from planner.config.target import Scalar
from planner.units import MIB

# The parts of a row that change the step, and how they are read.
_SETTINGS = (
    "image_size", "precision", "tf32", "half_images", "experiment", "lora", "amp", "checkpointed",
)  # fmt: skip
_YES = {"yes": True, "no": False}
H100_QUANTITIES = (Quantity.PEAK_ALLOCATED, Quantity.PEAK_RESERVED)


def read_cases(source: Source) -> list[Case]:
    """Returns all published cases of a source."""
    with source.measurements.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if source.name == "h100-peaks":
        return [case for row in rows for case in _h100_cases(source, row)]
    return [_case(source, row) for row in rows]


def saturated(source: Source) -> frozenset[str]:
    """Returns the names of cases whose figure is the size of the card, not of the step."""
    with source.measurements.open(newline="") as file:
        return frozenset(
            row["case"] for row in csv.DictReader(file) if row.get("saturated") == "yes"
        )


def family(model: str) -> str:
    """Returns the first letters of a model's name, without the origin of its weights."""
    found = re.match(r"[a-z]+", model.lower().removeprefix("tf_"))
    return found[0] if found else model


def sample(cases: Sequence[Case], number: int | None, seed: int) -> list[Case]:
    """Draws whole models until there are `number` cases; keeps the order of `cases`."""
    if number is None or not cases:
        return list(cases)
    models = sorted({case.model for case in cases})
    random.Random(f"{seed}:{cases[0].source}").shuffle(models)
    drawn: set[str] = set()
    for model in models:
        if sum(case.model in drawn for case in cases) >= number:
            break
        drawn.add(model)
    return [case for case in cases if case.model in drawn]


def fitting_half(names: Iterable[str], seed: int) -> frozenset[str]:
    """Returns the names on which constants are fitted: about half, each drawn on its own.

    So a name stays in its half, whatever else has been run.
    """
    return frozenset(name for name in names if random.Random(f"{seed}:{name}").random() < 0.5)


def _case(source: Source, row: Mapping[str, str]) -> Case:
    parameters = row.get("parameters_millions")
    return Case(
        source=source.name,
        name=row["case"],
        family=family(row["model"]),
        model=row["model"],
        batch_size=int(row["batch_size"]),
        card=row["card"],
        quantity=Quantity(row["quantity"]),
        measured_bytes=_measured_bytes(row),
        settings=tuple(_settings(row)),
        parameters_millions=(
            PARAMETERS_MILLIONS_THEN.get(row["model"]) if parameters is None else float(parameters)
        ),
    )


def _measured_bytes(row: Mapping[str, str]) -> int | None:
    if "measured_bytes" in row:
        return int(row["measured_bytes"])
    mib = row.get("measured_mib")
    return None if mib is None else round(float(mib) * MIB)


def _settings(row: Mapping[str, str]) -> Iterator[tuple[str, Scalar]]:
    for key in _SETTINGS:
        if key in row:
            text = row[key]
            yield key, _YES[text] if text in _YES else int(text) if text.isdigit() else text


def _h100_cases(source: Source, row: Mapping[str, str]) -> Iterator[Case]:
    measured = (row["peak_active_bytes"], row["peak_reserved_bytes"])
    for quantity, figure in zip(H100_QUANTITIES, measured, strict=True):
        yield Case(
            source=source.name,
            name=f"{row['case']} {quantity.value}",
            family=row["network"],
            model=row["network"],
            batch_size=int(row["batch_size"]),
            card="h100",
            quantity=quantity,
            measured_bytes=int(figure),
            settings=(("case", row["case"]),),
        )
