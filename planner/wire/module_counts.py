"""The counts of `inspect`: records per module and per step, sent by the child as JSON.

In: nothing. Out: ModelCounts and its parts. One multiply-add is 2 FLOPs; sizes are bytes of the
card; counts are for the batch that ran, unless the name contains per_sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.wire.call_order import NO_ORDER, CallOrder
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.full_state import FullStateCounts
from planner.wire.offload import Offloaded
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import Counts, OperatorRecord
from planner.wire.value_reads import ValueRead


class Structure(str, Enum):
    """How operators were attributed to modules."""

    WHOLE_MODEL = "whole model"
    """Depth 0: all operators belong to the model."""
    FX_GRAPH = "torch.fx graph"
    """The forward was traced symbolically, and run node by node."""
    MODULE_HOOKS = "module hooks"
    """The module that was running when the operator was called."""


class FlopRules(str, Enum):
    """The library whose rules gave the FLOPs of the forward."""

    FVCORE = "fvcore"
    """fvcore's trace with its handles and planner's own."""
    TORCH = "torch.utils.flop_counter"
    """Only matrix products, convolutions and attention."""


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
    """FLOPs of the model's forward, divided by the batch size."""
    step_flops: int
    """FLOPs of one batch from the forward to the end of backward (in inference, of the forward):
    matrix products, convolutions, attention, recurrent layers."""
    activations_per_sample: int | None
    """Output elements of such layers in the forward, divided by the batch size; None: they could
    not be counted."""
    recomputed_flops: int = 0
    """Those of `step_flops` by which backward computes activations of the forward again."""
    uncounted_operators: tuple[OperatorCalls, ...] = ()
    """Operators that no rule covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCounts:
    """One module, its submodules included."""

    path: str
    """Dotted path; "" is the model itself."""
    kind: str
    """Name of its class."""
    parameters: int
    """Elements of its parameters."""
    trainable_parameters: int
    """Elements of those that require a gradient."""
    forward_flops: int
    """FLOPs of its forward with the batch."""
    activations: int | None
    """Output elements of convolutions, matrix products, attention and recurrent layers; None:
    they could not be counted."""
    saved_bytes: int
    """Bytes that autograd keeps for backward: each storage once, without parameters, buffers and
    the model's inputs. A storage that two modules keep counts in both, and once in their parent."""
    read_bytes: int
    """Bytes that the operators of its forward read."""
    written_bytes: int
    """Bytes that the operators of its forward write."""

    @property
    def depth(self) -> int:
        """0 for the model itself, 1 for its direct submodules ..."""
        return self.path.count(".") + 1 if self.path else 0

    @property
    def arithmetic_intensity_flops_per_byte(self) -> float | None:
        """FLOPs of the forward for each byte read or written; None if no byte is."""
        moved_bytes = self.read_bytes + self.written_bytes
        return self.forward_flops / moved_bytes if moved_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPart:
    """A part of a step that ends on the card before the CPU begins the next one."""

    operators: int
    """Number of its OperatorRecords, which follow those of the part before."""
    passes: int
    """How often it is run; the calls of its records are those of all passes together."""


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
    """The library whose rules gave the FLOPs."""
    forward_flops_by_torch: int
    """FLOPs of the same forward by torch.utils.flop_counter: a check if `flop_rules` is FVCORE."""
    build_on: str
    """Where the model was built: "meta", "cpu" or "device"."""
    operators: tuple[OperatorRecord, ...] = ()
    """Operators of one step with one micro-batch, once the optimizer has its state; without
    zero_grad and the copy of the batch."""
    order: CallOrder = NO_ORDER
    """The calls of these operators, as the CPU issues them; empty: that is not known."""
    serial_parts: tuple[SerialPart, ...] = ()
    """Parts of the step that come one after another, as the tokens of a generation do, with all
    its operators; none: the CPU is ahead of the card throughout."""
    batch_tensors_bytes: tuple[int, ...] = ()
    """Size of each tensor of that micro-batch."""
    offloaded: Offloaded | None = None
    """What the step keeps in the RAM of the host; None: nothing."""
    collectives: tuple[CollectiveRecord, ...] = ()
    """Messages of this rank to others in the step; none on one GPU."""
    communicators: tuple[CommunicatorUse, ...] = ()
    """Groups of ranks that this rank has talked to, from the building of the model on."""
    pipeline: PipelineRecord | None = None
    """The stages of a job in a pipeline, of which this rank has some; None: it has none."""
    full_state: FullStateCounts | None = None
    """Saving and loading the whole state of a job on several GPUs; None: it runs on one, or
    `full_state_problem` says why that is not known."""
    full_state_problem: str = ""
    """Why PyTorch could not gather the state, or the optimizer's part of it; "": it could."""
    tf32_matmul: bool = False
    """torch.backends.cuda.matmul.allow_tf32 at the end of the step."""
    resident_bytes: int = 0
    """RAM of the process before the model was built: torch and the user's imports."""
    value_reads: tuple[ValueRead, ...] = ()
    """Values that the step reads from the card."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
