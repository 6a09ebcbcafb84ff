"""Charts, tables and the frame of the panels that are made of them.

In: texts and figures. Out: dicts for templates/charts.html.j2 and scripts/charts.js. Convention: a
chart has a table with the same figures; None is not known, and NOTHING in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.render.html.facts import shared_facts
from planner.units import format_bytes

NOTHING = "–"
CHARTED = 20
"""Bars of a chart; the table has all."""


def charts_panel(
    result: Any,
    lines: Sequence[str],
    lead: str,
    charts: Sequence[tuple[str, dict[str, Any]]],
    tables: Sequence[dict[str, Any]],
    code: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Returns a panel of charts and tables; `code` are texts with their titles."""
    return {
        "template": "charts.html.j2",
        "data": {"kind": "charts", "charts": [chart for _, chart in charts]},
        "title": result.target,
        "lines": list(lines),
        "lead": lead,
        "charts": [title for title, _ in charts],
        "tables": list(tables),
        "code": list(code),
        **shared_facts(result),
    }


def line(
    label: str, unit: str, points: list[dict[str, Any]], limit: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Returns a chart of a line over batches."""
    return {"kind": "line", "label": label, "x": "batch", "log": True, "unit": unit,
            "points": points, "limit": limit}  # fmt: skip


def bars(
    label: str, unit: str, points: list[dict[str, Any]], limit: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Returns a chart of bars, one for each point."""
    return {"kind": "bars", "label": label, "unit": unit, "points": points, "limit": limit}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Returns a table."""
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def size_words(size_bytes: int | None) -> str:
    """Returns bytes in words."""
    return NOTHING if size_bytes is None else format_bytes(size_bytes)
