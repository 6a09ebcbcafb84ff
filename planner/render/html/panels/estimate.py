"""The panel of an Estimate: its timelines at several batches, its figures and texts.

In: Estimate. Out: a dict for templates/estimate.html.j2.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from planner.render.html.columns import Columns
from planner.render.html.facts import estimate_facts
from planner.render.html.payload import estimate_payload, source_lines
from planner.results.estimate import Estimate


def estimate_panel(result: Estimate, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    """Returns the panel; `batches` are shown beside the usual ones."""
    facts = estimate_facts(result)
    charts = [card["chart"] for card in facts["cards"]]
    return {
        "template": "estimate.html.j2",
        "data": {**estimate_payload(result, columns, batches), "charts": charts},
        "sources": source_lines(result.allocations),
        **facts,
    }
