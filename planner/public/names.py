"""Imports every public name of planner: `planner.X` is `X` of this module.

In: nothing. Out: `__all__`. Convention: the only list of them; planner/__init__.py has no other,
and imports this module when the first of them is used.
"""

from __future__ import annotations

from planner._version import __version__
from planner.config.generation import ImageSize, TokenWindow
from planner.config.options import (
    CompareOptions,
    CurveOptions,
    EstimateOptions,
    InspectOptions,
    ScriptOptions,
)
from planner.config.parallel import (
    ComputeDtype,
    DataParallel,
    DdpOptions,
    FsdpOptions,
    ParallelConfig,
    PipelineOptions,
    Schedule,
    TensorOptions,
)
from planner.config.serving import EngineName, ServingLoad, ServingOptions
from planner.config.step import (
    BuildOn,
    CompileMode,
    DataDependent,
    InputSpec,
    Mode,
    Offload,
    OptimizerName,
    Precision,
    SizeAt,
    StepConfig,
)
from planner.config.weights import WeightDtype
from planner.cost.energy import EpochCost, StepCost
from planner.cost.price import HourlyPrice
from planner.errors import (
    BuildError,
    CatalogError,
    ChildError,
    ChildTimeoutError,
    DocumentError,
    HardwareDatabaseError,
    LengthError,
    LibraryError,
    ModelError,
    OutputError,
    PlannerError,
    TargetError,
    UnknownCpuError,
    UnknownGpuError,
    UnknownHostError,
    UnknownLinkError,
    UnknownModelError,
    UnsupportedPlatformError,
    UsageError,
    WrongTargetError,
)
from planner.hardware.link_specs import Collective
from planner.input_pipeline.host_ram import HostRam, Room
from planner.memory.peak import Breakdown, Held
from planner.memory.probe import ProbeOutcome
from planner.memory.recorded_batches import RecordedBatches
from planner.memory.serving.engine import ByteSpan, EngineSetting, MemoryPart, PartKind
from planner.memory.stages import StagePeak
from planner.public.export import export
from planner.public.report import report
from planner.questions.advise import advise
from planner.questions.compare import compare
from planner.questions.curve import curve
from planner.questions.emulated import EmulatedCard, emulated
from planner.questions.estimate import estimate
from planner.questions.inspect import inspect
from planner.questions.learn import learn
from planner.questions.learn_trace import learn_trace
from planner.questions.max_batch_size import max_batch_size
from planner.questions.parallelize import parallelize
from planner.questions.run import run
from planner.questions.serving import serving
from planner.questions.sweep import sweep
from planner.questions.verify import verify
from planner.results.advice import Advice, CardChoice, Effect, Goal, Lever, Plan, Trial, TrialState
from planner.results.breakdown_summary import BreakdownSummary, LargestBlock
from planner.results.comparison import CardComparison, ComparedCard, LeftOut, RankBy
from planner.results.curve import Curve, CurvePoint
from planner.results.device_estimate import DeviceEstimate, FitVerdict, WhatIf
from planner.results.estimate import Estimate, Versions
from planner.results.full_state import FullState
from planner.results.inspection import Inspection
from planner.results.parallelization import (
    HeldBytes,
    Parallelization,
    ParallelPlan,
    PreferBy,
    SmallestJob,
    SpreadMethod,
    SpreadState,
    SpreadTrial,
)
from planner.results.ranks import RankRow, RanksResult
from planner.results.result import Result
from planner.results.saved_file import load
from planner.results.serving import (
    BootVerdict,
    CacheRoom,
    ServingChoice,
    ServingPlan,
    ServingRemedy,
)
from planner.results.serving_speed import (
    ServingLimit,
    ServingLimitKind,
    ServingLimitVerdict,
    ServingSpeed,
    SpeedSpan,
    TokenCost,
)
from planner.results.step_time import Gain, HostNeeds, StepTime
from planner.results.values import ValuesResult
from planner.results.verification import (
    DeviceKind,
    Figures,
    ProbeRecord,
    Verification,
    VerifiedDevice,
)
from planner.sweeps.case import SweepOutcome, SweepRow
from planner.sweeps.result import SweepResult
from planner.timing.bottleneck import Bottleneck, Bound
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.timed_operators import TimedMessage, TimedOperator, TimedOperators
from planner.verification.kernel_factors import KernelComparison
from planner.verification.learned import Learned
from planner.verification.learned_trace import LearnedTrace
from planner.verification.oom_message import OomMessage
from planner.verification.vllm_log import VllmBoot
from planner.wire.call_order import CallOrder
from planner.wire.communication import CollectiveRecord
from planner.wire.communicators import CommunicatorUse
from planner.wire.full_state import FullStateCounts
from planner.wire.kernel_facts import AttentionFacts, ConvolutionFacts, LoopFacts
from planner.wire.module_counts import (
    FlopRules,
    ModelCounts,
    ModuleCounts,
    OperatorCalls,
    SerialPart,
    StepCounts,
    Structure,
)
from planner.wire.offload import (
    Offloaded,
    OffloadedActivations,
    OffloadedOptimizer,
    OffloadedShards,
    OffloadedWeights,
)
from planner.wire.pipeline import PipelineRecord
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    Counts,
    EventKind,
    FlopSource,
    Issuer,
    OperatorRecord,
    Origin,
    Phase,
    StageMark,
    TensorCategory,
    TensorShape,
)
from planner.wire.value_reads import Decision, ReadSite, ValueRead, ValuesState

__all__ = [
    "Advice",
    "AllocationEvent",
    "AllocationTrace",
    "AttentionFacts",
    "BootVerdict",
    "Bottleneck",
    "Bound",
    "Breakdown",
    "BreakdownSummary",
    "BuildError",
    "BuildOn",
    "ByteSpan",
    "CacheRoom",
    "CallOrder",
    "CardChoice",
    "CardComparison",
    "CatalogError",
    "ChildError",
    "ChildTimeoutError",
    "Collective",
    "CollectiveRecord",
    "CommunicatorUse",
    "CompareOptions",
    "ComparedCard",
    "CompileMode",
    "ComputeDtype",
    "ConvolutionFacts",
    "Counts",
    "Curve",
    "CurveOptions",
    "CurvePoint",
    "DataDependent",
    "DataParallel",
    "DdpOptions",
    "Decision",
    "DeviceEstimate",
    "DeviceKind",
    "DocumentError",
    "Effect",
    "EmulatedCard",
    "EngineName",
    "EngineSetting",
    "EpochCost",
    "Estimate",
    "EstimateOptions",
    "EventKind",
    "Figures",
    "FitVerdict",
    "FlopRules",
    "FlopSource",
    "FsdpOptions",
    "FullState",
    "FullStateCounts",
    "Gain",
    "Goal",
    "HardwareDatabaseError",
    "Held",
    "HeldBytes",
    "HostNeeds",
    "HostRam",
    "HourlyPrice",
    "ImageSize",
    "InputSpec",
    "InspectOptions",
    "Inspection",
    "Issuer",
    "KernelComparison",
    "LargestBlock",
    "Learned",
    "LearnedTrace",
    "LeftOut",
    "LengthError",
    "Lever",
    "LibraryError",
    "LoopFacts",
    "MemoryPart",
    "Mode",
    "ModelCounts",
    "ModelError",
    "ModuleCounts",
    "Offload",
    "Offloaded",
    "OffloadedActivations",
    "OffloadedOptimizer",
    "OffloadedShards",
    "OffloadedWeights",
    "OomMessage",
    "OperatorCalls",
    "OperatorRecord",
    "OptimizerName",
    "Origin",
    "OutputError",
    "ParallelConfig",
    "ParallelPlan",
    "Parallelization",
    "PartKind",
    "Phase",
    "PipelineOptions",
    "PipelineRecord",
    "Plan",
    "PlannerError",
    "Precision",
    "PreferBy",
    "ProbeOutcome",
    "ProbeRecord",
    "RankBy",
    "RankRow",
    "RanksResult",
    "ReadSite",
    "RecordedBatches",
    "Result",
    "Room",
    "Schedule",
    "ScriptOptions",
    "SerialPart",
    "ServingChoice",
    "ServingLimit",
    "ServingLimitKind",
    "ServingLimitVerdict",
    "ServingLoad",
    "ServingOptions",
    "ServingPlan",
    "ServingRemedy",
    "ServingSpeed",
    "SizeAt",
    "SmallestJob",
    "SpeedSpan",
    "SpreadMethod",
    "SpreadState",
    "SpreadTrial",
    "StageMark",
    "StagePeak",
    "StepConfig",
    "StepCost",
    "StepCounts",
    "StepTime",
    "Structure",
    "SweepOutcome",
    "SweepResult",
    "SweepRow",
    "TargetError",
    "TensorCategory",
    "TensorOptions",
    "TensorShape",
    "TimeSource",
    "TimedMessage",
    "TimedOperator",
    "TimedOperators",
    "TokenCost",
    "TokenWindow",
    "Trial",
    "TrialState",
    "UnknownCpuError",
    "UnknownGpuError",
    "UnknownHostError",
    "UnknownLinkError",
    "UnknownModelError",
    "UnsupportedPlatformError",
    "UsageError",
    "ValueRead",
    "ValuesResult",
    "ValuesState",
    "Verification",
    "VerifiedDevice",
    "Versions",
    "VllmBoot",
    "WeightDtype",
    "WhatIf",
    "WrongTargetError",
    "__version__",
    "advise",
    "compare",
    "curve",
    "emulated",
    "estimate",
    "export",
    "inspect",
    "learn",
    "learn_trace",
    "load",
    "max_batch_size",
    "parallelize",
    "report",
    "run",
    "serving",
    "sweep",
    "verify",
]
