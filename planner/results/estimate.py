"""The result of an estimate: frozen records, and their JSON form.

In: figures of the runs and of the card. Out: Estimate. Sizes in bytes, counts in elements.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.errors import UsageError
from planner.hardware.database import card_named
from planner.hardware.names import RecordNames, folded
from planner.memory.peak import Breakdown
from planner.memory.recorded_batches import RecordedBatches
from planner.results.device_estimate import DeviceEstimate
from planner.results.parallel_form import parallel_document
from planner.results.ranks import RanksResult
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.timing.timed_operators import TimedOperators
from planner.wire.module_counts import StepCounts
from planner.wire.trace import AllocationTrace, Counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planner.results.schema.estimate import EstimateDocument
    from planner.results.schema.job import ConfigDocument, VersionsDocument
    from planner.results.schema.step import StepCountsDocument, WeightDtypeDocument

SCHEMA_VERSION: Literal[1] = 1
EMULATED = "emulated"  # the engine of a card that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions of the software that made the figures: each of them may change the figures."""

    torch: str
    """Version of PyTorch, as torch.__version__."""
    cuda: str
    """Version of the CUDA that torch was built for."""
    cudnn: str | None
    """Version of cuDNN; None: torch has none."""
    python: str
    """Version of the Python that ran the model."""
    planner: str
    """Version of planner."""

    def to_dict(self) -> VersionsDocument:
        """Returns the entry `versions` of a JSON document."""
        return {
            "torch": self.torch,
            "cuda": self.cuda,
            "cudnn": self.cudnn,
            "python": self.python,
            "planner": self.planner,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Estimate(Result, Shown):
    """The answer of `planner.estimate()` for one model on one or more cards."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    config: StepConfig
    """How the step was run; its precision is settled."""
    counts: Counts
    """Elements of parameters and buffers."""
    gpus: tuple[DeviceEstimate, ...]
    """One answer for each card, in the order of the call."""
    versions: Versions
    """Versions of the software that made the figures."""
    optimizer: str
    """Class of the optimizer; "none" or "" without one."""
    build_on: str
    """Where the model was built: "meta", "cpu" or "device"; "": not known, of a script."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    engine: str = EMULATED
    """"emulated", or "cpu" for a run on the CPU."""
    step: StepCounts | None = None
    """FLOPs and activations; None: they could not be counted."""
    is_survey: bool = False
    """Every card in the database was requested."""
    has_stand_ins: bool = False
    """No card was requested: this machine's, or a few usual ones, stand in."""
    ranks: RanksResult | None = None
    """The ranks of a job on several GPUs, on the first card; None: it runs on one GPU."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card, on the first one."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""
    allocations: tuple[AllocationTrace | None, ...] = field(default=(), repr=False)
    """Recorded allocations on each card, with `keep_allocations`; else empty."""
    allocator_setting: str | None = None
    """PYTORCH_CUDA_ALLOC_CONF of the run, "": torch's defaults; None: not known, or no replay."""
    batches: tuple[RecordedBatches | None, ...] = field(default=(), repr=False)
    """Requests at a few batches on each card, with `keep_allocations`; else empty."""
    operators: tuple[TimedOperators | None, ...] = field(default=(), repr=False)
    """Operators and messages with their times on each card, with `keep_allocations`; else empty."""

    def gpu(self, name: str | None = None) -> DeviceEstimate:
        """Returns the entry of one card, by its requested name, its id, full name or an alias.

        Names are read as the database reads them. None: the first card.

        Raises:
            UsageError: the card was not part of this estimate.
        """
        if name is None:
            return self.gpus[0]
        for entry in self.gpus:
            if folded(name) == folded(entry.requested):
                return entry
        cards: dict[str, DeviceEstimate] = {}
        for entry in self.gpus:
            cards.setdefault(entry.id or entry.requested, entry)
        found = card_named(name, [_names(card_id, entry) for card_id, entry in cards.items()])
        if found is not None:
            return cards[found]
        known = ", ".join(entry.requested for entry in self.gpus)
        raise UsageError(f"{name!r} is not in this estimate; it holds {known}")

    @property
    def total_bytes(self) -> int:
        """Returns the device total on the first card."""
        return self.gpus[0].device_total_bytes

    @property
    def max_batch_size(self) -> int | None:
        """Returns the largest batch on the first card; None when it was not searched."""
        return self.gpus[0].max_batch_size

    def breakdown(self, gpu: str | None = None) -> Breakdown | None:
        """Returns the parts of the peak on the named card (the first one when None).

        Raises:
            UsageError: the card was not part of this estimate.
        """
        return self.gpu(gpu).breakdown

    def fits(self, gpu: str | None = None) -> bool:
        """Returns whether the step fits on the named card (the first one when None).

        Raises:
            UsageError: the card was not part of this estimate.
        """
        return self.gpu(gpu).fits

    def plot(self, *, gpu: str | None = None, batch_size: int | None = None) -> Figure:
        """Returns a picture of one card, the first one when None, as a figure of matplotlib.

        With recorded allocations (`keep_allocations`) it is the timeline of the memory at
        `batch_size`, None: that of the run; else the parts of the peak. Of a survey of all cards it
        is the device total on each.

        Raises:
            UsageError: the card or the batch is not in this result, or nothing was recorded.
            UnsupportedPlatformError: matplotlib is not installed.
        """
        from planner.results.plots.of_results import estimate_figure

        return estimate_figure(self, gpu=gpu, batch_size=batch_size)

    def to_dict(self) -> EstimateDocument:
        """Returns the JSON document, in stable order, with plain types only."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "versions": self.versions.to_dict(),
            "config": config_dict(self.config, self.optimizer, self.build_on or None),
            "counts": {
                "parameters": self.counts.parameters,
                "trainable_parameters": self.counts.trainable_parameters,
                "buffers": self.counts.buffers,
                "weight_dtypes": weight_documents(self.counts.weight_dtypes),
                **_step_dict(self.step),
            },
            "gpus": [entry.to_dict() for entry in self.gpus],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict() if self.engine == EMULATED else None,
            "model_arguments": dict(self.model_arguments),
            "ranks": None if self.ranks is None else self.ranks.to_dict(),
        }


def _step_dict(step: StepCounts | None) -> StepCountsDocument:
    if step is None:
        return {
            "forward_flops_per_sample": None,
            "step_flops": None,
            "recomputed_flops": None,
            "activations_per_sample": None,
            "uncounted_operators": None,
        }
    return step_document(step)


def step_document(step: StepCounts) -> StepCountsDocument:
    """Returns the keys of the step in the JSON object `counts`."""
    return {
        "forward_flops_per_sample": step.forward_flops_per_sample,
        "step_flops": step.step_flops,
        "recomputed_flops": step.recomputed_flops,
        "activations_per_sample": step.activations_per_sample,
        "uncounted_operators": {item.name: item.calls for item in step.uncounted_operators},
    }


def _names(card_id: str, entry: DeviceEstimate) -> RecordNames:
    return RecordNames(
        file="", id=card_id, name=entry.name, aliases=entry.other_names, assumed_for=()
    )


def weight_documents(weights: Sequence[WeightDtype]) -> list[WeightDtypeDocument]:
    """Returns the JSON list `weight_dtypes`."""
    return [
        {"dtype": one.dtype, "elements": one.elements, "bytes": one.size_bytes} for one in weights
    ]


def asked_config_dict(config: StepConfig) -> ConfigDocument:
    """Returns the entry `config` of a JSON document; None where the model decides."""
    optimizer, build_on = config.optimizer, config.build_on
    return config_dict(
        config,
        None if optimizer is None else optimizer.value,
        None if build_on is None else build_on.value,
    )


def config_dict(config: StepConfig, optimizer: str | None, build_on: str | None) -> ConfigDocument:
    """Returns the entry `config` of a JSON document: each field of the StepConfig, under its name.

    `optimizer` and `build_on` are those of the run, or the requested ones if that is not known.
    """
    arguments: dict[str, Scalar] = dict(config.optimizer_arguments)
    return {
        "batch_size": config.batch_size,
        "precision": config.precision_name,
        "optimizer": optimizer,
        "mode": config.mode.value,
        "optimizer_arguments": arguments,
        "accumulate": config.accumulate,
        "channels_last": config.channels_last,
        "checkpoint_activations": config.checkpoint_activations,
        "set_to_none": config.set_to_none,
        "steps": config.steps,
        "build_on": build_on,
        "alloc_conf": config.alloc_conf,
        "inputs": [
            {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
            for spec in config.inputs
        ],
        "sequence_length": config.sequence_length,
        "batch_from_data": config.batch_from_data,
        "data_dependent": config.data_dependent.value,
        "size_at": {f"{one.file}:{one.line}": one.size for one in config.size_at},
        "clip_grad_norm": config.clip_grad_norm,
        "ema": config.ema,
        "optimizer_in_backward": config.optimizer_in_backward,
        "checkpoint_blocks": config.checkpoint_blocks,
        "chunked_loss": config.chunked_loss,
        "compile": None if config.compile is None else config.compile.value,
        "offload": [one.value for one in config.offload],
        "parallel": None if config.parallel is None else parallel_document(config.parallel),
    }
