"""Reads the published figures, and computes the error of a prediction.

In: measurements.csv (each row with its source). Out: Measurement, Comparison. Convention: signed
relative error = (predicted - measured) / measured.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from statistics import median

FILE = Path(__file__).with_name("measurements.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One published run on an H100 80GB. `sequence_length` is 0 for images."""

    case: str
    network: str
    batch_size: int
    sequence_length: int
    precision: str
    checkpointed: bool
    peak_active_bytes: int
    peak_reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A measurement and its prediction."""

    measurement: Measurement
    active_bytes: int
    reserved_bytes: int

    @property
    def active_error(self) -> float:
        """Returns the signed relative error of the peak active, a fraction."""
        return self.active_bytes / self.measurement.peak_active_bytes - 1

    @property
    def reserved_error(self) -> float:
        """Returns the signed relative error of the peak reserved, a fraction."""
        return self.reserved_bytes / self.measurement.peak_reserved_bytes - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Largest error of any row, and of the median of all rows, as fractions."""

    row: float
    median: float

    def violations(self, quantity: str, errors: dict[str, float], whole: bool) -> list[str]:
        """Returns a sentence for each bound that fails; the median is checked only for `whole`."""
        found = [
            f"{case}: peak {quantity} is off by {error:+.4%}, beyond {self.row:.1%}"
            for case, error in errors.items()
            if abs(error) > self.row
        ]
        middle = median(abs(error) for error in errors.values())
        if whole and middle > self.median:
            found.append(
                f"the median error of peak {quantity} is {middle:.4%}, beyond {self.median:.2%}"
            )
        return found


ACTIVE_BOUNDS = Bounds(row=0.002, median=0.0001)
RESERVED_BOUNDS = Bounds(row=0.04, median=0.006)


def read_measurements() -> list[Measurement]:
    """Returns all published runs, in the order of the file."""
    with FILE.open(newline="") as file:
        return [
            Measurement(
                case=row["case"],
                network=row["network"],
                batch_size=int(row["batch_size"]),
                sequence_length=int(row["sequence_length"] or 0),
                precision=row["precision"],
                checkpointed=row["checkpointed"] == "yes",
                peak_active_bytes=int(row["peak_active_bytes"]),
                peak_reserved_bytes=int(row["peak_reserved_bytes"]),
            )
            for row in csv.DictReader(file)
        ]


def violations(comparisons: list[Comparison], *, whole: bool) -> list[str]:
    """Returns the bounds that fail, in words; empty: all comparisons are within the bounds.

    `whole`: these are all the cases, so the bound of the median counts too.
    """
    active = {row.measurement.case: row.active_error for row in comparisons}
    reserved = {row.measurement.case: row.reserved_error for row in comparisons}
    return [
        *ACTIVE_BOUNDS.violations("active", active, whole),
        *RESERVED_BOUNDS.violations("reserved", reserved, whole),
    ]
