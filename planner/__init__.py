"""vram-planner: does a PyTorch model fit on a GPU, and how large a batch, without the GPU.

    import planner
    estimate = planner.estimate("models/resnet50.py", gpu="a100", batch_size=32)
    estimate.fits(), estimate.total_bytes, estimate.max_batch_size

Importing this package imports neither torch nor anything else that is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from planner.comparing import compare as compare
    from planner.comparison_result import CardComparison as CardComparison
    from planner.curve_result import Curve as Curve
    from planner.curves import curve as curve
    from planner.errors import PlannerError as PlannerError
    from planner.gpu_estimate import GpuEstimate as GpuEstimate
    from planner.inspection import Inspection as Inspection
    from planner.pipeline import estimate as estimate
    from planner.pipeline import inspect as inspect
    from planner.results import Estimate as Estimate
    from planner.verification.records import Verification as Verification
    from planner.verifying import verify as verify

_HOMES = {
    "estimate": "planner.pipeline",
    "inspect": "planner.pipeline",
    "compare": "planner.comparing",
    "curve": "planner.curves",
    "CardComparison": "planner.comparison_result",
    "Curve": "planner.curve_result",
    "Estimate": "planner.results",
    "GpuEstimate": "planner.gpu_estimate",
    "Inspection": "planner.inspection",
    "PlannerError": "planner.errors",
    "Verification": "planner.verification.records",
    "verify": "planner.verifying",
}

__all__ = [
    "CardComparison", "Curve", "Estimate", "GpuEstimate", "Inspection", "PlannerError",
    "Verification", "__version__", "compare", "curve", "estimate", "inspect", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
