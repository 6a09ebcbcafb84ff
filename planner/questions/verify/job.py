"""The request of verify(), the search that starts at the prediction, and the comparison.

In: the caller's words, as data; a lab on the device. Out: Verification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config.step import StepConfig
from planner.config.target import Target
from planner.estimation.request import EstimateRequest, estimate_request
from planner.estimation.session import estimation_session
from planner.memory.peak import Breakdown
from planner.process.payload import ModelFunctions
from planner.questions.estimate import estimate_on_cards
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.verification import Categories, Verification, VerifiedDevice
from planner.verification.compare import compare, last_fitting
from planner.verification.limits import search_bound
from planner.verification.probes import ProbeRunner
from planner.verification.search import Searched, SearchPlan, search
from planner.wire.trace import TensorCategory

Progress = Callable[[str], None]
_WITHOUT_PREDICTION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The request of verify(), for any device."""

    target: Any
    functions: ModelFunctions
    given: tuple[tuple[str, Any], ...]
    config: StepConfig
    options: Mapping[str, Any]
    reserve: str | int
    tolerance: float
    max_batch: int | None
    timeout_s: float
    hardware_db: Path | None
    progress: Progress

    def predicted(self, gpu: str, *, search_largest: bool, **options: Any) -> Estimate:
        """Returns the answer of estimate(), by a child of its own."""
        with estimation_session(self.request(**options), [gpu]) as step:
            return estimate_on_cards(step, is_survey=False, search=search_largest)

    def request(self, **options: Any) -> EstimateRequest:
        """Returns the request for estimate(); `options` replace those of the caller."""
        functions = self.functions
        return estimate_request(
            self.target,
            build_batch=functions.build_batch,
            training_step=functions.training_step,
            build_optimizer=functions.build_optimizer,
            inference_step=functions.inference_step,
            model_arguments=dict(self.given),
            timeout_s=self.timeout_s,
            hardware_db=self.hardware_db,
            on_progress=self.progress,
            cache=False,  # what is verified must have run
            **{**self.options, **options},
        )


def _label(target: Any) -> str:
    return target.label if isinstance(target, Target) else str(target)


def searched(
    job: Job,
    lab: ProbeRunner,
    first: Estimate | None,
    *,
    host_bytes: int | None,
    resolution: int = 0,
) -> Searched:
    """Searches the largest batch; starts at the predicted one."""
    entry = None if first is None else first.gpus[0]
    predicted = _WITHOUT_PREDICTION
    if entry is not None and entry.max_batch_size is not None:
        predicted = max(1, entry.max_batch_size)
    largest, batch = _per_sample(entry, job.config.batch_size)
    bound = search_bound(
        max_batch=job.max_batch,
        predicted=predicted,
        largest_tensor_bytes_per_sample=largest,
        batch_bytes_per_sample=batch,
        host_bytes=host_bytes,
    )
    plan = SearchPlan(
        predicted=predicted,
        bound=bound.batch_size,
        bound_reason=bound.reason,
        resolution=max(1, predicted // resolution) if resolution else 1,
        retest=lab.is_timed,
    )
    return search(lab.probe, plan)


def _per_sample(entry: DeviceEstimate | None, batch_size: int) -> tuple[float, float]:
    """Returns bytes of the largest tensor and of the batch for one sample; 0: no limit from it."""
    found: Breakdown | None = None if entry is None else entry.breakdown
    if found is None:
        return 0.0, 0.0
    batch = found.by_category().get(TensorCategory.INPUT.value, 0) / batch_size
    if entry is not None and entry.max_batch_size is not None and not entry.max_batch_is_bound:
        return 0.0, batch  # memory will end the search
    saved = TensorCategory.SAVED_ACTIVATION
    sizes = [block.block_bytes for block in found.largest(10) if block.category is saved]
    return max(sizes, default=0) / batch_size, batch


def compared(
    job: Job,
    device: VerifiedDevice,
    first: Estimate | None,
    searched: Searched,
    predict: Callable[..., Estimate] | None,
    categories: Categories = (),
    warnings: tuple[str, ...] = (),
) -> Verification:
    """Compares the search with the prediction, whose figures are for the measured batch."""
    probe = last_fitting(searched)
    at = None
    if predict is not None and probe is not None:
        job.progress(f"predicting batch {probe.batch_size}")
        at = predict(batch_size=probe.batch_size)
    return compare(
        target=_label(job.target) if first is None else first.target,
        config=job.config,
        device=device,
        searched=searched,
        first=first,
        at=at,
        tolerance=job.tolerance,
        categories=categories,
        warnings=warnings,
        model_arguments=job.given,
    )
