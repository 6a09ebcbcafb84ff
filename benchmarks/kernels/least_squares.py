"""Finds the constants of a form of time by least squares of logarithms, within bounds.

In: a function from parameters to logarithms of predicted over measured. Out: parameters.
Convention: Levenberg and Marquardt's steps with numerical derivatives; residuals beyond a scale
count by their size, not their square, so that few odd measurements move little.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
_SCALE = 0.1  # of a residual that still counts by its square
_STEPS = 60
_ENOUGH = 1e-5  # relative gain of a step


def fitted(
    residuals: Callable[[Vector], Vector], start: Vector, least: Vector, most: Vector
) -> tuple[float, Vector]:
    """Returns the cost and the parameters that have the least, within `least` and `most`."""
    at = np.clip(start, least, most)
    errors = residuals(at)
    cost, damping = _cost(errors), 1e-2
    for _ in range(_STEPS):
        slopes = _slopes(residuals, at, errors, least, most)
        weights = 1 / np.sqrt(1 + (errors / _SCALE) ** 2)
        square = slopes.T @ (slopes * weights[:, None])
        gradient = slopes.T @ (errors * weights)
        gain = 0.0
        for _ in range(8):
            scaled = square + damping * np.diag(np.diag(square) + 1e-9)
            tried = np.clip(at - np.linalg.solve(scaled, gradient), least, most)
            tried_errors = residuals(tried)
            tried_cost = _cost(tried_errors)
            if tried_cost < cost:
                gain = 1 - tried_cost / cost
                at, errors, cost, damping = tried, tried_errors, tried_cost, damping / 3
                break
            damping *= 4
        if gain < _ENOUGH:
            break
    return cost, at


def _cost(errors: Vector) -> float:
    return float(np.sum(np.sqrt(1 + (errors / _SCALE) ** 2) - 1))


def _slopes(
    residuals: Callable[[Vector], Vector], at: Vector, errors: Vector, least: Vector, most: Vector
) -> NDArray[np.float64]:
    columns = []
    for number in range(len(at)):
        step = 1e-4 if at[number] + 1e-4 <= most[number] else -1e-4
        moved = at.copy()
        moved[number] += step
        columns.append((residuals(moved) - errors) / step)
    return np.stack(columns, axis=1)
