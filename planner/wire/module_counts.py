"""What `inspect` counts: records per module and for the whole step, sent by the child as JSON.

In: nothing. Out: ModelCounts and its parts. One multiply-add is 2 FLOPs; sizes are bytes of the
card; counts are of the batch that ran, except where the name says per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.wire.trace import Counts, OperatorRecord
from planner.wire.value_reads import ValueRead


class Structure(str, Enum):
    """How operators were told to modules."""

    WHOLE_MODEL = "whole model"  # depth 0: there are no modules to tell apart
    FX_GRAPH = "torch.fx graph"  # the symbolically traced forward, run node by node
    MODULE_HOOKS = "module hooks"  # the module that was running when the operator was called


class FlopRules(str, Enum):
    """Whose rules turned operators into FLOPs of the forward."""

    FVCORE = "fvcore"  # its traced operators and handles, with planner's own in addition
    TORCH = "torch.utils.flop_counter"  # matrix products, convolutions and attention alone


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCalls:
    """An operator that no rule covers, as torch names it, and how often it was called."""

    name: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """Totals of a step.

    `forward_flops_per_sample` and `activations_per_sample` are of the model's forward, divided by
    the batch; the latter is None where it could not be counted. `step_flops` is what one batch
    takes from the forward to the end of backward (of inference, the forward alone): matrix
    products, convolutions, attention and recurrent layers, counted as they were called.
    """

    forward_flops_per_sample: int
    step_flops: int
    activations_per_sample: int | None
    uncounted_operators: tuple[OperatorCalls, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The keys that the JSON object `counts` gains."""
        return {
            "forward_flops_per_sample": self.forward_flops_per_sample,
            "step_flops": self.step_flops,
            "activations_per_sample": self.activations_per_sample,
            "uncounted_operators": {item.name: item.calls for item in self.uncounted_operators},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCounts:
    """One module with all that is in it; `path` is "" for the model itself.

    `activations` are the elements that convolutions, matrix products, attention and recurrent
    layers give out; None where they could not be counted. `saved_bytes` is what autograd keeps for
    backward: each storage once, without parameters, buffers and the model's inputs; one that two
    modules keep is in both, and once in the module that holds them.
    """

    path: str
    kind: str  # class name
    parameters: int
    trainable_parameters: int
    forward_flops: int
    activations: int | None
    saved_bytes: int
    read_bytes: int
    written_bytes: int

    @property
    def depth(self) -> int:
        """0 for the model itself, 1 for what it holds ..."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def arithmetic_intensity_flops_per_byte(self) -> float | None:
        """FLOPs of the forward for each byte that its operators read or write; None without any."""
        moved_bytes = self.read_bytes + self.written_bytes
        return self.forward_flops / moved_bytes if moved_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `modules`."""
        return {
            "path": self.path,
            "kind": self.kind,
            "depth": self.depth,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "forward_flops": self.forward_flops,
            "activations": self.activations,
            "saved_bytes": self.saved_bytes,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
            "arithmetic_intensity_flops_per_byte": self.arithmetic_intensity_flops_per_byte,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounts:
    """All that was counted for one model; `modules` in the order of definition, outer first.

    `forward_flops_by_torch` are those of the same forward by the formulas of
    torch.utils.flop_counter, where `flop_rules` is FVCORE a check of the total. `operators` are
    those of one step with one micro-batch, once the optimizer has its state; what moves the batch
    and zero_grad are not among them. `batch_tensors_bytes` are the tensors of that micro-batch;
    `tf32_matmul` is torch.backends.cuda.matmul.allow_tf32 when the step had ended. `resident_bytes`
    is what the process held in RAM before the model was built: torch and the user's imports.
    """

    counts: Counts
    step: StepCounts
    modules: tuple[ModuleCounts, ...]
    structure: Structure
    flop_rules: FlopRules
    forward_flops_by_torch: int
    build_on: str
    operators: tuple[OperatorRecord, ...] = ()
    batch_tensors_bytes: tuple[int, ...] = ()
    tf32_matmul: bool = False
    resident_bytes: int = 0
    value_reads: tuple[ValueRead, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # those of the assumptions that can make no figure wrong
    warnings: tuple[str, ...] = ()
