"""Predicted times of large float32 products, compared with published ones of each card.

    python -m benchmarks.operators

In: `measurements/neusight_products.csv`, one product on one card in a row. Out: for each operator
and card the rate that planner gives, the median rate that was measured, and predicted over measured
time in the median and from the tenth to the ninetieth part. Needs neither torch nor a card.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from planner.hardware.database import load_gpus
from planner.timing.rates import arithmetic_rate
from planner.timing.roofline import gpu_time
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape

CSV_FILE = Path(__file__).with_name("measurements") / "neusight_products.csv"
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One product of (m, k) and (k, n), `batch` times, in float32 without TF32.

    `operator` is linear or bmm; `card` is an id of the database; `measured_s` is seconds of a call.
    """

    operator: str
    card: str
    batch: int
    m: int
    n: int
    k: int
    measured_s: float

    @property
    def flops(self) -> int:
        """Returns the FLOPs, two for each multiply-add."""
        return 2 * self.batch * self.m * self.n * self.k


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All rows of one operator and card; rates in FLOP/s, ratios are predicted over measured."""

    operator: str
    card: str
    rows: int
    rate: float
    measured_rate: float
    ratio: float
    ratio_p10: float
    ratio_p90: float


def read_rows(path: Path = CSV_FILE) -> tuple[Row, ...]:
    """Returns all rows of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(
            Row(
                operator=row["operator"],
                card=row["card"],
                measured_s=float(row["measured_s"]),
                **{name: int(row[name]) for name in ("batch", "m", "n", "k")},
            )
            for row in csv.DictReader(file)
        )


def predicted_s(row: Row) -> float:
    """Returns the seconds that planner gives for the product on its card."""
    return gpu_time([_record(row)], load_gpus().find(row.card).spec).total_s


def lines(rows: Iterable[Row]) -> tuple[Line, ...]:
    """Returns a line for each operator and card."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.operator, row.card), []).append(row)
    found = []
    for (operator, name), group in sorted(groups.items()):
        ratios = [predicted_s(row) / row.measured_s for row in group]
        tenths = quantiles(ratios, n=10)
        card = load_gpus().find(name).spec
        found.append(
            Line(
                operator=operator,
                card=name,
                rows=len(group),
                rate=arithmetic_rate(card, "float32", tf32=False).flops_per_s,
                measured_rate=median(row.flops / row.measured_s for row in group),
                ratio=median(ratios),
                ratio_p10=tenths[0],
                ratio_p90=tenths[-1],
            )
        )
    return tuple(found)


def _record(row: Row) -> OperatorRecord:
    """Returns the record of the product; a linear layer shares its weight over all rows of m."""
    batch = () if row.operator == "linear" else (row.batch,)
    shapes = ((*batch, row.m, row.k), (*batch, row.k, row.n), (*batch, row.m, row.n))
    left, right, result = (TensorShape(shape=shape, dtype="float32") for shape in shapes)
    return OperatorRecord(
        name="aten::bmm" if batch else "aten::mm",
        phase=Phase.FORWARD,
        inputs=(left, right),
        outputs=(result,),
        calls=1,
        flops=row.flops,
        flop_source=FlopSource.FORMULA,
        read_bytes=_FLOAT32_BYTES * row.batch * row.k * (row.m + row.n),
        written_bytes=_FLOAT32_BYTES * row.batch * row.m * row.n,
    )


def main() -> int:
    """Prints the table."""
    print("| operator | card | products | rate given | rate measured | predicted / measured |")
    print("|---|---|---|---|---|---|")
    for line in lines(read_rows()):
        print(
            f"| {line.operator} | {line.card} | {line.rows} | {line.rate / 1e12:.1f} TFLOP/s "
            f"| {line.measured_rate / 1e12:.1f} TFLOP/s "
            f"| {line.ratio:.2f} ({line.ratio_p10:.2f} to {line.ratio_p90:.2f}) |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
