"""Reads the tables of elementwise kernels, norms and softmax.

In: NeuSight's vec, ln and softmax (float32); aiconfigurator-core's scale_matrix (half precision to
fp8 by one factor, an elementwise kernel). Out: Measured. Convention: seconds of one kernel;
NeuSight's hold the host's time too (fitting.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.kernels import aiconfigurator, neusight
from benchmarks.kernels.records import is_held_out

NAME = "streams"
_BINARY = ("add", "sub", "mul", "div", "pow")  # of two tensors; with a "u" of one and a number
ROWS = ("norm", "softmax")
CAST = "cast"
_CAST_ENGINES = ("trtllm", "vllm")  # SGLang's takes ten times as long: not elementwise
_CAST_BYTES, _FLOAT_BYTES = 3, 4
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured kernel."""

    kind: str
    """A key of _PARTS."""
    card: str
    operator: str
    rows: int
    columns: int
    moved_bytes: int
    moved_elements: int
    seconds: float

    @property
    def is_held_out(self) -> bool:
        """Returns whether it judges."""
        return is_held_out(NAME, self.operator, self.rows, self.columns)

    @property
    def name(self) -> str:
        """Returns the kind in the constants."""
        return "elementwise" if self.kind == CAST else self.kind


def read() -> list[Measured]:
    """Reads all tables."""
    return [*_neusight(), *_casts()]


def _neusight() -> Iterator[Measured]:
    for file, kind in (("vec", "elementwise"), ("ln", "norm"), ("softmax", "softmax")):
        for row in neusight.rows(neusight.FOLDER / f"{file}.csv.gz"):
            operator = row["op"]
            if kind == "elementwise" and operator in ("ln", "softmax"):
                continue  # in files of their own
            count, columns = int(row["B"]), int(row["H"])
            tensors = 3 if operator in _BINARY else 2
            yield Measured(
                kind=kind,
                card=row["card"],
                operator=operator,
                rows=count,
                columns=columns,
                moved_bytes=_FLOAT_BYTES * tensors * count * columns,
                moved_elements=tensors * count * columns,
                seconds=float(row["measured_s"]),
            )


def _casts() -> Iterator[Measured]:
    """Yields casts to fp8, each by the faster of the engines."""
    for folder, card in aiconfigurator.CARDS.items():
        fastest: dict[tuple[int, int], float] = {}
        for table in aiconfigurator.tables(folder, "quantize", "scale_matrix_perf"):
            if table.engine not in _CAST_ENGINES:
                continue
            columns = table.columns
            shapes = zip(columns["m"], columns["k"], columns["latency"], strict=True)
            for rows, width, milliseconds in shapes:
                if milliseconds > 0:
                    before = fastest.get((rows, width), math.inf)
                    fastest[rows, width] = min(before, milliseconds / 1e3)
        for (rows, width), seconds in fastest.items():
            yield Measured(
                kind=CAST,
                card=card,
                operator=CAST,
                rows=rows,
                columns=width,
                moved_bytes=_CAST_BYTES * rows * width,
                moved_elements=2 * rows * width,
                seconds=seconds,
            )
