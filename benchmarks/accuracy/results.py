"""Writes the CSV file of cases: adds rows during the runs, rewrites it when all are judged.

In: Results, then Judged. Out: the file, and the rows of an earlier, interrupted run.
Convention: one row per case; bytes; errors as fractions with their sign; "" is "not known".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.accuracy.records import Case, Judged, Prediction, Quantity, Result
from benchmarks.record.rows import append_row, rows, write_rows

FIELDS = (
    "source", "case", "family", "model", "batch_size", "card", "quantity", "measured", "predicted",
    "error", "verdict", "peak_allocated_bytes", "peak_active_bytes", "peak_reserved_bytes", "fits",
    "fits_smaller", "without_workspaces_bytes", "parameters", "largest_elements", "seconds",
    "note", "warning", "trouble", "versions",
)  # fmt: skip
_IN_WORDS = {True: "yes", False: "no", None: ""}
_FROM_WORDS = {words: value for value, words in _IN_WORDS.items()}


def read_predictions(path: Path) -> dict[tuple[str, str], tuple[Prediction, str]]:
    """Reads predictions and versions of an earlier run, by source and case; empty if no file."""
    if not path.is_file():
        return {}
    return {(row["source"], row["case"]): (_prediction(row), row["versions"]) for row in rows(path)}


def append(path: Path, result: Result) -> None:
    """Adds one row that is not judged yet."""
    append_row(path, FIELDS, _row(result))


def write(path: Path, judged: Iterable[Judged]) -> None:
    """Writes the whole file, in the given order."""
    write_rows(path, FIELDS, ({**_row(one.result), **_judged_cells(one)} for one in judged))


def _row(result: Result) -> dict[str, object]:
    case, prediction = result.case, result.prediction
    return {
        "source": case.source,
        "case": case.name,
        "family": case.family,
        "model": case.step.model,
        "batch_size": case.step.batch_size,
        "card": case.step.card,
        "quantity": case.quantity.value,
        "measured": _measured(case),
        "peak_allocated_bytes": _known(prediction.peak_allocated_bytes),
        "peak_active_bytes": _known(prediction.peak_active_bytes),
        "peak_reserved_bytes": _known(prediction.peak_reserved_bytes),
        "fits": _IN_WORDS[prediction.fits],
        "fits_smaller": _IN_WORDS[prediction.fits_smaller],
        "seconds": f"{prediction.seconds:.2f}",
        "without_workspaces_bytes": _known(prediction.without_workspaces_bytes),
        "parameters": _known(prediction.parameters),
        "largest_elements": _known(prediction.largest_elements),
        "warning": prediction.warning,
        "trouble": prediction.trouble,
        "versions": result.versions,
    }


def _judged_cells(one: Judged) -> dict[str, object]:
    predicted: object = _known(one.predicted_bytes)
    fits = one.result.prediction.fits
    if one.result.case.measured_bytes is None and fits is not None:
        predicted = (Quantity.FITS if fits else Quantity.OUT_OF_MEMORY).value
    return {
        "predicted": predicted,
        "error": "" if one.error is None else f"{one.error:+.7f}",
        "verdict": one.verdict.value,
        "note": one.note,
    }


def _measured(case: Case) -> object:
    return case.quantity.value if case.measured_bytes is None else case.measured_bytes


def _known(number: int | None) -> object:
    return "" if number is None else number


def _prediction(row: dict[str, str]) -> Prediction:
    def number(key: str) -> int | None:
        return int(row[key]) if row.get(key) else None

    return Prediction(
        case=row["case"],
        peak_allocated_bytes=number("peak_allocated_bytes"),
        peak_active_bytes=number("peak_active_bytes"),
        peak_reserved_bytes=number("peak_reserved_bytes"),
        fits=_FROM_WORDS[row["fits"]],
        fits_smaller=_FROM_WORDS[row["fits_smaller"]],
        without_workspaces_bytes=number("without_workspaces_bytes"),
        parameters=number("parameters"),
        largest_elements=number("largest_elements"),
        seconds=float(row["seconds"] or 0),
        trouble=row["trouble"],
        warning=row["warning"],
    )
