"""The panel of a Curve: throughput and memory by batch.

In: Curve. Out: a dict for templates/charts.html.j2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from planner.render.html.panels.parts import charts_panel, line, size_words, table
from planner.render.terminal.heading import any_batch
from planner.results.curve import Curve, recommendation
from planner.units import format_bytes, format_duration, format_significant


def curve_panel(result: Curve) -> dict[str, Any]:
    """Returns the panel."""
    marked = (
        ("knee", result.knee), ("largest", result.largest_batch_size),
        ("recommended", result.recommended_batch_size),
    )  # fmt: skip
    marks = {
        point.batch_size: ", ".join(word for word, at in marked if at == point.batch_size)
        for point in result.points
    }

    def points(values: Iterable[float | None]) -> list[dict[str, Any]]:
        return [
            {
                "x": point.batch_size,
                "y": value,
                "name": f"batch {point.batch_size}, {'fits' if point.fits else 'does not fit'}",
                "mark": marks[point.batch_size],
                "tone": "good" if point.fits else "bad",
            }
            for point, value in zip(result.points, values, strict=True)
        ]

    usable = format_bytes(result.usable_memory_bytes)
    limit = {"y": result.usable_memory_bytes, "text": f"usable memory {usable}"}
    speed = line("Throughput by batch", "number", points(p.samples_per_s for p in result.points))
    memory = line(
        "Device total by batch", "bytes", points(p.device_total_bytes for p in result.points), limit
    )
    rows = [
        (
            str(point.batch_size),
            "yes" if point.fits else "no",
            format_duration(point.step_s),
            format_significant(point.samples_per_s),
            size_words(point.device_total_bytes),
            point.bound,
            marks[point.batch_size],
        )
        for point in result.points
    ]
    columns_shown = ("batch", "fits", "step", "samples/s", "device total", "bound by", "marks")
    lead = recommendation(result.points, result.global_batch_size).sentence
    return charts_panel(
        result,
        [f"on {result.gpu_name}, {usable} of usable memory",
         any_batch(result.config, result.weight_dtypes)],
        f"{lead[:1].upper()}{lead[1:]}.",
        [("Throughput, samples/s", speed), ("Memory of the card", memory)],
        [table("All points", columns_shown, rows)],
    )  # fmt: skip
