"""What `planner.inspect()` gives: the counts of one model, and their JSON form.

In: ModelCounts of the child, and what was asked. Out: Inspection. One multiply-add is 2 FLOPs.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.errors import UsageError
from planner.results.estimate import SCHEMA_VERSION, Versions
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.wire.module_counts import ModelCounts, ModuleCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a training step of one model costs, by module down to `depth`.

    `gpu` is the card whose kernels ran: it decides what attention and cuDNN keep for backward.
    `gpu_id` is that of its record; `model_arguments` are those that the model was built with.
    `notes` are as in Estimate.
    """

    target: str
    config: StepConfig
    depth: int
    gpu: str
    model: ModelCounts
    versions: Versions
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: str = "emulated"
    values: ValuesResult = NO_VALUES_READ
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    gpu_id: str | None = None

    @property
    def modules(self) -> tuple[ModuleCounts, ...]:
        """One row for each module; the first is the model itself."""
        return self.model.modules

    def module(self, path: str = "") -> ModuleCounts:
        """The row of one module by its path; "" is the model itself.

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, in stable order, with plain types only."""
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
                "weight_dtypes": [one.to_dict() for one in counts.weight_dtypes],
                **self.model.step.to_dict(),
                "forward_flops_by_torch": self.model.forward_flops_by_torch,
            },
            "structure": self.model.structure.value,
            "flop_rules": self.model.flop_rules.value,
            "modules": [row.to_dict() for row in self.modules],
            "operators": [record.to_dict() for record in self.model.operators],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
            "gpu_id": self.gpu_id,
        }
