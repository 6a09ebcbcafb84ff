"""The result of `planner.inspect()`: the counts of one model, and their JSON form.

In: ModelCounts of the child, and the request. Out: Inspection. One multiply-add is 2 FLOPs.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.errors import UsageError
from planner.results.estimate import (
    SCHEMA_VERSION,
    Versions,
    step_document,
    weight_documents,
)
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.wire.module_counts import ModelCounts, ModuleCounts
from planner.wire.trace import OperatorRecord, TensorShape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planner.results.schema.inspection import (
        InspectionDocument,
        ModuleDocument,
        OperatorDocument,
        TensorDocument,
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inspection(Result, Shown):
    """The cost of a training step of one model, by module."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    config: StepConfig
    """How the step was run; its precision is settled."""
    depth: int
    """Depth of the modules that have a row; 0: the model alone."""
    gpu: str
    """Full name of the card whose kernels ran: it decides which bytes attention and cuDNN
    keep for backward."""
    model: ModelCounts
    """All that was counted."""
    versions: Versions
    """Versions of the software that made the counts."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    engine: str = "emulated"
    """Device of the step, always "emulated"."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""
    gpu_id: str | None = None
    """Id of the card's record."""

    @property
    def modules(self) -> tuple[ModuleCounts, ...]:
        """Returns one row for each module; the first is the model itself."""
        return self.model.modules

    def module(self, path: str = "") -> ModuleCounts:
        """Returns the row of one module by its path; "" is the model itself.

        Raises:
            UsageError: there is no such row.
        """
        for row in self.modules:
            if row.path == path:
                return row
        raise UsageError(
            f"there is no module {path!r} down to depth {self.depth}; ask for a greater depth, or "
            f"for one of {', '.join(repr(row.path) for row in self.modules[:8])}"
        )

    def plot(self) -> Figure:
        """Returns a picture of the roofline of the step, as a figure of matplotlib.

        FLOPs and bytes of the operators are counted, their times are predicted.

        Raises:
            UsageError: the card is not in the database, or no operator has FLOPs.
            UnsupportedPlatformError: matplotlib is not installed.
        """
        from planner.results.plots.of_results import figure_of

        return figure_of(self)

    def to_dict(self) -> InspectionDocument:
        """Returns the JSON document, in stable order, with plain types only."""
        counts = self.model.counts
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "gpu": self.gpu,
            "versions": self.versions.to_dict(),
            "config": {
                "batch_size": self.config.batch_size,
                "precision": self.config.precision_name,
                "depth": self.depth,
                "build_on": self.model.build_on,
                "inputs": [
                    {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
                    for spec in self.config.inputs
                ],
                "sequence_length": self.config.sequence_length,
            },
            "counts": {
                "parameters": counts.parameters,
                "trainable_parameters": counts.trainable_parameters,
                "buffers": counts.buffers,
                "weight_dtypes": weight_documents(counts.weight_dtypes),
                **step_document(self.model.step),
                "forward_flops_by_torch": self.model.forward_flops_by_torch,
            },
            "structure": self.model.structure.value,
            "flop_rules": self.model.flop_rules.value,
            "modules": [_module(row) for row in self.modules],
            "operators": [operator_document(record) for record in self.model.operators],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
            "gpu_id": self.gpu_id,
        }


def _module(row: ModuleCounts) -> ModuleDocument:
    return {
        "path": row.path,
        "kind": row.kind,
        "depth": row.depth,
        "parameters": row.parameters,
        "trainable_parameters": row.trainable_parameters,
        "forward_flops": row.forward_flops,
        "activations": row.activations,
        "saved_bytes": row.saved_bytes,
        "read_bytes": row.read_bytes,
        "written_bytes": row.written_bytes,
        "arithmetic_intensity_flops_per_byte": row.arithmetic_intensity_flops_per_byte,
    }


def operator_document(record: OperatorRecord) -> OperatorDocument:
    """Returns the entry of the JSON list `operators`."""
    return {
        "name": record.name,
        "phase": record.phase.value,
        "inputs": [_tensor(one) for one in record.inputs],
        "outputs": [_tensor(one) for one in record.outputs],
        "calls": record.calls,
        "flops": record.flops,
        "flop_source": record.flop_source.value,
        "read_bytes": record.read_bytes,
        "written_bytes": record.written_bytes,
    }


def _tensor(tensor: TensorShape) -> TensorDocument:
    return {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "number": tensor.number,
        "channels_last": tensor.channels_last,
    }
