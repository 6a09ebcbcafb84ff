"""Reads NeuSight's tables of single float32 operators.

In: benchmarks/measurements/neusight_operators. Out: rows. Convention: seconds of one call with its
begin and end, float32 without TF32; names of cards are ids of the database.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

from benchmarks.record.rows import MEASUREMENTS

FOLDER = MEASUREMENTS / "neusight_operators"
# Device to id of the database, which has no Tesla P4.
CARDS = {
    "Tesla P100-PCIE-16GB": "p100-pcie-16gb",
    "Tesla V100-PCIE-32GB": "v100-pcie-32gb",
    "Tesla T4": "t4",
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA A100 80GB PCIe": "a100-pcie-80gb",
    "NVIDIA H100 80GB HBM3": "h100-sxm5-80gb",
    "NVIDIA L4": "l4",
}


def rows(file: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a file, as FOLDER / "vec.csv.gz", with also `card` and `measured_s`."""
    with gzip.open(file, "rt", newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["device"] in CARDS:
                seconds = float(row["milliseconds"]) / 1e3
                yield {**row, "card": CARDS[row["device"]], "measured_s": repr(seconds)}
