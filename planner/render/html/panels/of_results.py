"""Chooses the panel of a result by its kind.

In: a result. Out: a dict: `data` for the scripts, `title`, `target`, `sources`, and the texts of
its template.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from planner.errors import UsageError
from planner.render.html.columns import Columns
from planner.render.html.panels.advice import advice_panel
from planner.render.html.panels.comparison import comparison_panel
from planner.render.html.panels.curve import curve_panel
from planner.render.html.panels.estimate import estimate_panel
from planner.render.html.panels.parallelization import parallelization_panel
from planner.results.advice import Advice
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.document import kind_of_result
from planner.results.estimate import Estimate
from planner.results.parallelization import Parallelization
from planner.results.result import Result


def panel_of(result: Result, columns: Columns, batches: Collection[int] = ()) -> dict[str, Any]:
    """Returns the panel of a result; `batches` are those to show of an Estimate.

    Raises:
        UsageError: results of this kind have no page, or no other batches.
    """
    found = _panel(result, columns, batches)
    return {"target": getattr(result, "target", ""), "sources": (), **found}


def _panel(result: Result, columns: Columns, batches: Collection[int]) -> dict[str, Any]:
    if isinstance(result, Estimate):
        return estimate_panel(result, columns, batches)
    if batches:
        raise UsageError("--batches is for the result of planner estimate")
    if isinstance(result, Curve):
        return curve_panel(result)
    if isinstance(result, CardComparison):
        return comparison_panel(result)
    if isinstance(result, Advice):
        return advice_panel(result)
    if isinstance(result, Parallelization):
        return parallelization_panel(result)
    raise UsageError(
        f"planner report makes no page of a result of planner {kind_of_result(result).command}; "
        "planner show prints it"
    )
