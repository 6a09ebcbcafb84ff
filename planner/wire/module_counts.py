"""What `inspect` counts: records per module and for the whole step, sent by the child as JSON.

In: nothing. Out: ModelCounts and its parts. One multiply-add is 2 FLOPs; sizes are bytes of the
card; counts are of the batch that ran, except where the name says per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.wire.trace import Counts, OperatorRecord
from planner.wire.value_reads import ValueRead


class Structure(str, Enum):
    """How operators were told to modules."""

    WHOLE_MODEL = "whole model"
    """Depth 0: there are no modules to tell apart."""
    FX_GRAPH = "torch.fx graph"
    """The forward traced symbolically, and run node by node."""
    MODULE_HOOKS = "module hooks"
    """The module that was running when the operator was called."""


class FlopRules(str, Enum):
    """Whose rules turned operators into FLOPs of the forward."""

    FVCORE = "fvcore"
    """Operators traced by fvcore and its handles, and planner's own in addition."""
    TORCH = "torch.utils.flop_counter"
    """Matrix products, convolutions and attention alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCalls:
    """An operator that no rule covers."""

    name: str
    """As torch names it: aten::fft_rfft."""
    calls: int
    """How often it was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """Totals of a step."""

    forward_flops_per_sample: int
    """FLOPs of the model's forward over the batch."""
    step_flops: int
    """FLOPs of one batch from the forward to the end of backward (of inference, the forward):
    matrix products, convolutions, attention, recurrent layers."""
    activations_per_sample: int | None
    """Elements that such layers give in the forward, over the batch; None: they could not be
    counted."""
    uncounted_operators: tuple[OperatorCalls, ...] = ()
    """Operators that no rule covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCounts:
    """One module with all that is in it."""

    path: str
    """Dotted path; "" is the model itself."""
    kind: str
    """Name of its class."""
    parameters: int
    """Elements of its parameters."""
    trainable_parameters: int
    """Those that require a gradient."""
    forward_flops: int
    """FLOPs of its forward with the batch."""
    activations: int | None
    """Elements that convolutions, matrix products, attention and recurrent layers give; None:
    they could not be counted."""
    saved_bytes: int
    """What autograd keeps for backward: each storage once, without parameters, buffers and the
    model's inputs. One that two modules keep is in both, and once in their parent."""
    read_bytes: int
    """Bytes that the operators of its forward read."""
    written_bytes: int
    """Bytes that they write."""

    @property
    def depth(self) -> int:
        """0 for the model itself, 1 for what it holds ..."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def arithmetic_intensity_flops_per_byte(self) -> float | None:
        """FLOPs of the forward for each byte that its operators read or write; None without any."""
        moved_bytes = self.read_bytes + self.written_bytes
        return self.forward_flops / moved_bytes if moved_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounts:
    """All that was counted for one model."""

    counts: Counts
    """Elements of parameters and buffers."""
    step: StepCounts
    """Totals of a step."""
    modules: tuple[ModuleCounts, ...]
    """A row for each module in the order of definition, outer first."""
    structure: Structure
    """How operators were attributed to modules."""
    flop_rules: FlopRules
    """Whose rules turned operators into FLOPs."""
    forward_flops_by_torch: int
    """FLOPs of the same forward by torch.utils.flop_counter: a check where `flop_rules` is
    FVCORE."""
    build_on: str
    """Where the model was built: "meta", "cpu" or "device"."""
    operators: tuple[OperatorRecord, ...] = ()
    """Those of one step with one micro-batch, once the optimizer has its state; without
    zero_grad and the copy of the batch."""
    batch_tensors_bytes: tuple[int, ...] = ()
    """Size of each tensor of that micro-batch."""
    tf32_matmul: bool = False
    """torch.backends.cuda.matmul.allow_tf32 at the end of the step."""
    resident_bytes: int = 0
    """RAM of the process before the model was built: torch and the user's imports."""
    value_reads: tuple[ValueRead, ...] = ()
    """Values that the step reads from the card."""
    assumptions: tuple[str, ...] = ()
    """What was chosen for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and can make no figure wrong."""
    warnings: tuple[str, ...] = ()
    """What makes figures doubtful, a sentence each."""
