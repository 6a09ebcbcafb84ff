"""Cases and results of the accuracy record, made by hand."""

from __future__ import annotations

from benchmarks.accuracy.records import Case, Prediction, Quantity, Result
from benchmarks.record.records import Step

VERSIONS = "planner 0.0, torch 0.0"


def figure(
    model: str,
    measured: int,
    predicted: int | None,
    *,
    card: str = "h100",
    quantity: Quantity = Quantity.DEVICE_TOTAL,
    source: str = "gpumemnet",
    trouble: str = "",
    without_workspaces: int | None = None,
) -> Result:
    """A measured figure, in bytes, and what was predicted for it: peak allocated and reserved."""
    case = Case(
        source=source,
        name=f"{model}-{measured}-{card}",
        step=Step(model=model, card=card, batch_size=8, model_file=f"{model}.py"),
        family=model,
        quantity=quantity,
        measured_bytes=measured,
    )
    prediction = Prediction(
        case=case.name,
        peak_allocated_bytes=predicted,
        peak_active_bytes=predicted,
        peak_reserved_bytes=predicted,
        without_workspaces_bytes=without_workspaces,
        trouble=trouble,
    )
    return Result(case=case, prediction=prediction, versions=VERSIONS)


def bracket(
    *,
    ran: bool,
    fits: bool,
    fits_smaller: bool | None = None,
    largest_elements: int | None = None,
) -> Result:
    """A batch that ran, or did not, and what was predicted."""
    case = Case(
        source="timm-train",
        name=f"net-{'fit' if ran else 'oom'}",
        step=Step(model="net", card="rtx3090", batch_size=64, model_file="net.py", image_size=224),
        family="net",
        quantity=Quantity.FITS if ran else Quantity.OUT_OF_MEMORY,
    )
    prediction = Prediction(
        case=case.name,
        peak_allocated_bytes=1000,
        fits=fits,
        fits_smaller=fits_smaller,
        largest_elements=largest_elements,
    )
    return Result(case=case, prediction=prediction, versions=VERSIONS)
