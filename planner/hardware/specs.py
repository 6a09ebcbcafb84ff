"""Records of one card, which every other stage uses.

In: values already checked by `gpu_record`. Out: GpuSpec and its parts. Bytes, Hz and FLOP/s
inside; peaks are dense (no sparsity), tensor-core figures are those with FP32 accumulation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from planner.errors import UsageError
from planner.units import GIB, format_bytes


class Vendor(str, Enum):
    """Who makes the card; only NVIDIA cards can be emulated."""

    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"


class InlineEcc(str, Enum):
    """Whether error correction is kept in the card's own memory, where it takes 1/16."""

    NONE = "none"  # not offered, or stored in extra memory at no cost (HBM)
    ENABLED = "enabled"  # switched on by default; the usable memory is without that share
    OPTIONAL = "optional"  # the owner chooses; the usable memory range may span both


class Confidence(str, Enum):
    """How well sources support the record."""

    HIGH = "high"  # two or more sources agree
    MEDIUM = "medium"  # one source, or computed from the chip's figures
    LOW = "low"  # one weak source, or an estimate


class ContextKind(str, Enum):
    """Where the context overhead comes from."""

    MEASURED = "measured"  # read from out-of-memory messages of this chip
    MODEL = "model"  # 46 MiB + 2.174 MiB per 1000 resident threads


@dataclass(frozen=True, slots=True, kw_only=True)
class SmLimits:
    """Per-SM limits of the compute capability, as cudaDeviceProp reports them."""

    threads_per_sm: int
    blocks_per_sm: int
    shared_memory_per_sm_bytes: int
    shared_memory_per_block_optin_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOverhead:
    """Memory that one process takes before its first tensor; outside PyTorch's allocator.

    `observed_bytes` is the range over public single-process figures, with more libraries loaded.
    """

    overhead_bytes: int
    kind: ContextKind
    observed_bytes: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticRates:
    """Dense FLOP/s by number format (int8: operations/s). None: no hardware, or not known.

    `fp16` and `bf16` accumulate in FP32, as PyTorch requests it; `fp16_fp16_accumulate` needs
    torch.backends.cuda.matmul.allow_fp16_accumulation.
    """

    fp64: float | None = None
    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    fp16_fp16_accumulate: float | None = None
    bf16: float | None = None
    fp8: float | None = None
    int8: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Returns rates by format, in FLOP/s."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price with its date: per hour of rent, or to buy."""

    provider: str
    date: str  # YYYY-MM or YYYY-MM-DD
    usd_per_hour: float | None = None
    usd_to_buy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the price for a JSON document."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulationProfile:
    """The figures that the emulated device reports for a card; all are known."""

    name: str
    compute_capability: tuple[int, int]
    streaming_multiprocessors: int
    limits: SmLimits
    boost_clock_hz: int
    l2_bytes: int
    memory_bus_bits: int
    memory_clock_hz: int
    total_memory_bytes: int
    context_overhead_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSpec:
    """One card. `usable_memory_bytes` is the least that PyTorch reports as total_memory on Linux.

    On AMD cards a streaming multiprocessor is a compute unit, on Intel cards an Xe core.
    `measured_bandwidth_bytes_per_s` is what large kernels reach of the memory bandwidth, and
    `power_limits_w` the least and the greatest power limit that the driver takes; None: not known.
    `assumed_for` holds the short names for which this card is assumed, each with the other cards
    that it could stand for; `assumption` is reported whenever the card is chosen.
    """

    id: str
    name: str
    aliases: tuple[str, ...]
    assumed_for: tuple[tuple[str, tuple[str, ...]], ...]
    assumption: str | None
    vendor: Vendor
    architecture: str
    compute_capability: tuple[int, int] | None
    streaming_multiprocessors: int
    cuda_cores: int | None
    tensor_cores: int | None
    boost_clock_hz: int
    tensor_peak_clock_hz: int | None
    l2_bytes: int
    limits: SmLimits | None
    memory_type: str
    nominal_memory_bytes: int
    usable_memory_bytes: int
    usable_memory_max_bytes: int
    inline_ecc: InlineEcc
    memory_bus_bits: int | None
    memory_clock_hz: int | None
    memory_bandwidth_bytes_per_s: float
    context: ContextOverhead | None
    peak_flops_per_s: ArithmeticRates
    measured_matmul_flops_per_s: ArithmeticRates | None
    measured_bandwidth_bytes_per_s: float | None
    pcie_generation: int | None
    pcie_lanes: int | None
    nvlink_bytes_per_s: float
    tdp_w: int
    power_limits_w: tuple[int, int] | None
    prices: tuple[Price, ...]
    sources: tuple[tuple[str, str], ...]
    confidence: Confidence
    note: str | None

    @property
    def emulatable(self) -> bool:
        """Returns whether the card can be emulated: NVIDIA cards only."""
        return self.vendor is Vendor.NVIDIA

    @property
    def profile(self) -> EmulationProfile:
        """Returns the card as the emulated device shows it, with the least usable memory.

        Raises:
            UsageError: the card cannot be emulated.
        """
        if (
            self.compute_capability is None
            or self.limits is None
            or self.memory_bus_bits is None
            or self.memory_clock_hz is None
        ):
            raise UsageError(self._cannot_be_emulated())
        return EmulationProfile(
            name=self.name,
            compute_capability=self.compute_capability,
            streaming_multiprocessors=self.streaming_multiprocessors,
            limits=self.limits,
            boost_clock_hz=self.boost_clock_hz,
            l2_bytes=self.l2_bytes,
            memory_bus_bits=self.memory_bus_bits,
            memory_clock_hz=self.memory_clock_hz,
            total_memory_bytes=self.usable_memory_bytes,
            context_overhead_bytes=self.context_overhead_bytes,
        )

    @property
    def context_overhead_bytes(self) -> int:
        """Returns the memory that the context takes before the first tensor.

        Raises:
            UsageError: the card cannot be emulated, so its context is not known.
        """
        if self.context is None:
            raise UsageError(self._cannot_be_emulated())
        return self.context.overhead_bytes

    @property
    def other_names(self) -> tuple[str, ...]:
        """Returns the aliases, and the short names for which the card is assumed."""
        return (*self.aliases, *(short for short, _ in self.assumed_for))

    @property
    def short_name(self) -> str:
        """Returns the name without the vendor, and with the size if the name lacks it."""
        short = self.name.removeprefix("NVIDIA ").removeprefix("AMD ")
        size = f"{self.nominal_memory_bytes / GIB:g}GB"
        return short if size in short.replace(" ", "") else f"{short} {size}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the card for a JSON document: plain types, stable order."""
        return {
            "id": self.id,
            "name": self.name,
            "aliases": list(self.aliases),
            "assumed_for": [short for short, _ in self.assumed_for],
            "assumption": self.assumption,
            "vendor": self.vendor.value,
            "architecture": self.architecture,
            "emulatable": self.emulatable,
            "compute_capability": format_capability(self.compute_capability),
            "streaming_multiprocessors": self.streaming_multiprocessors,
            "cuda_cores": self.cuda_cores,
            "tensor_cores": self.tensor_cores,
            "boost_clock_hz": self.boost_clock_hz,
            "tensor_peak_clock_hz": self.tensor_peak_clock_hz,
            "l2_bytes": self.l2_bytes,
            "limits": _plain(self.limits),
            "memory_type": self.memory_type,
            "nominal_memory_bytes": self.nominal_memory_bytes,
            "usable_memory_bytes": self.usable_memory_bytes,
            "usable_memory_max_bytes": self.usable_memory_max_bytes,
            "inline_ecc": self.inline_ecc.value,
            "memory_bus_bits": self.memory_bus_bits,
            "memory_clock_hz": self.memory_clock_hz,
            "memory_bandwidth_bytes_per_s": self.memory_bandwidth_bytes_per_s,
            "context_overhead_bytes": self.context.overhead_bytes if self.context else None,
            "context_overhead_kind": self.context.kind.value if self.context else None,
            "peak_flops_per_s": self.peak_flops_per_s.to_dict(),
            "measured_matmul_flops_per_s": (
                self.measured_matmul_flops_per_s.to_dict()
                if self.measured_matmul_flops_per_s
                else None
            ),
            "measured_bandwidth_bytes_per_s": self.measured_bandwidth_bytes_per_s,
            "pcie_generation": self.pcie_generation,
            "pcie_lanes": self.pcie_lanes,
            "nvlink_bytes_per_s": self.nvlink_bytes_per_s,
            "tdp_w": self.tdp_w,
            "power_limits_w": None if self.power_limits_w is None else list(self.power_limits_w),
            "prices": [price.to_dict() for price in self.prices],
            "sources": dict(self.sources),
            "confidence": self.confidence.value,
            "note": self.note,
        }

    def _cannot_be_emulated(self) -> str:
        return (
            f"{self.name} ({format_bytes(self.usable_memory_bytes)}) is listed but cannot be "
            "emulated: only NVIDIA cards can; choose one with `planner gpus`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMatch:
    """A card found by name. `note` says what was assumed; None: nothing."""

    spec: GpuSpec
    requested: str
    note: str | None = None


def format_capability(capability: tuple[int, int] | None) -> str | None:
    """Returns a compute capability as NVIDIA writes it: "8.0" for (8, 0)."""
    return None if capability is None else f"{capability[0]}.{capability[1]}"


def _plain(record: SmLimits | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {field.name: getattr(record, field.name) for field in fields(record)}
