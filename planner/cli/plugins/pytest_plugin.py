"""A plugin of pytest: the fixture `vram`, whose tests fail where a step does not fit on a card.

In: a target and limits, in a test. Out: an Estimate, or an AssertionError that names the limit, by
how much it is exceeded, and the largest tensors and modules. Convention: pytest imports this module
at each start, so it imports nothing of planner before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from planner.results.estimate import Estimate


class Vram:
    """The value of the fixture `vram`."""

    def estimate(
        self, target: Any, *, gpu: str | Sequence[str], batch: int | None = None, **options: Any
    ) -> Estimate:
        """Returns the estimate of a target on emulated cards; it never fails a test.

        `target`, `gpu` and `options` are those of planner.estimate(); `batch` is its batch_size.
        Past verifications of this machine do not correct the figures, unless calibration=True.
        """
        import planner

        if batch is not None:
            options["batch_size"] = batch
        return planner.estimate(target, gpu=gpu, **{"calibration": False, **options})

    def assert_fits(
        self,
        target: Any,
        *,
        gpu: str | Sequence[str],
        batch: int | None = None,
        strict: bool = False,
        max_peak: str | None = None,
        min_margin: str | None = None,
        min_largest_batch: int | None = None,
        max_step_time: str | None = None,
        max_cost: str | None = None,
        **options: Any,
    ) -> Estimate:
        """Returns the estimate if the step fits on every card and all limits hold.

        Limits are those of `planner check`: max_peak="20 GiB", min_margin="5 %",
        max_step_time="120 ms". With `strict` the upper ends of the intervals count. The largest
        batch is searched only for min_largest_batch.

        Raises:
            AssertionError: it does not fit, or a limit does not hold or cannot be decided.
            PlannerError: the target failed, or an option is wrong.
        """
        __tracebackhide__ = True
        from planner.config.limits import parse_limits
        from planner.render.budget_failure import failure

        words = {
            "max-peak": max_peak,
            "min-margin": min_margin,
            "min-largest-batch": min_largest_batch,
            "max-step-time": max_step_time,
            "max-cost": max_cost,
        }
        given = {name: value for name, value in words.items() if value is not None}
        limits = parse_limits({"strict": strict, **given})
        options.setdefault("max_batch", limits.need_largest_batch)
        found = self.estimate(target, gpu=gpu, batch=batch, **options)
        said = failure(found, limits)
        if said is not None:
            raise AssertionError(said)
        return found


@pytest.fixture(scope="session")
def vram() -> Vram:
    """Estimates PyTorch steps on emulated cards: vram.assert_fits(build_model, gpu="a10g")."""
    return Vram()
