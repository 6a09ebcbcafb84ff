"""vram-planner: does a PyTorch model fit on a GPU, and how large a batch, without the GPU.

    import planner
    estimate = planner.estimate("models/resnet50.py", gpu="a100", batch_size=32)
    estimate.fits(), estimate.total_bytes, estimate.max_batch_size

Importing this package imports neither torch nor anything else that is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner._version import __version__ as __version__

if TYPE_CHECKING:
    from planner.errors import PlannerError as PlannerError
    from planner.questions.compare import compare as compare
    from planner.questions.curve import curve as curve
    from planner.questions.estimate import estimate as estimate
    from planner.questions.inspect import inspect as inspect
    from planner.questions.verify import verify as verify
    from planner.results.comparison import CardComparison as CardComparison
    from planner.results.curve import Curve as Curve
    from planner.results.device_estimate import DeviceEstimate as DeviceEstimate
    from planner.results.estimate import Estimate as Estimate
    from planner.results.inspection import Inspection as Inspection
    from planner.results.saved_file import load as load
    from planner.results.verification import Verification as Verification

_HOMES = {
    "estimate": "planner.questions.estimate",
    "inspect": "planner.questions.inspect",
    "compare": "planner.questions.compare",
    "curve": "planner.questions.curve",
    "CardComparison": "planner.results.comparison",
    "Curve": "planner.results.curve",
    "Estimate": "planner.results.estimate",
    "DeviceEstimate": "planner.results.device_estimate",
    "Inspection": "planner.results.inspection",
    "PlannerError": "planner.errors",
    "load": "planner.results.saved_file",
    "Verification": "planner.results.verification",
    "verify": "planner.questions.verify",
}

__all__ = [
    "CardComparison",
    "Curve",
    "DeviceEstimate",
    "Estimate",
    "Inspection",
    "PlannerError",
    "Verification",
    "__version__",
    "compare",
    "curve",
    "estimate",
    "inspect",
    "load",
    "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
