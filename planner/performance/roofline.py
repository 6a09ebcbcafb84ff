"""How long the kernels of a step take on a card, and which of the two roofs holds each.

In: OperatorRecords of one micro-batch, GpuSpec. Out: GpuTime. A kernel takes the larger of its
FLOPs over the rate that its kind and shape reach and its bytes over the bandwidth that its kind
reaches, and a fixed time to begin and end (Williams, Waterman and Patterson 2009,
https://doi.org/10.1145/1498765.1498785).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from planner.hardware.specs import GpuSpec
from planner.performance.efficiency import efficiencies
from planner.performance.kernels import Kernel, KernelKind, kernels_of
from planner.performance.rates import arithmetic_rate, memory_rate
from planner.performance.tiling import product_s
from planner.trace import OperatorRecord, Phase

_ALIGNMENT = 8  # elements: 16 bytes of half precision, what tensor cores want rows to begin at
_UNALIGNED_FRACTION = 0.5
_HALF = ("float16", "bfloat16")
# Convolutions and recurrent layers may use TF32 by torch's defaults, matrix products may not
# (https://docs.pytorch.org/docs/stable/notes/cuda.html).
_TF32_BY_DEFAULT = (KernelKind.CONVOLUTION, KernelKind.GROUPED_CONVOLUTION, KernelKind.RECURRENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BareTime:
    """What a kernel would take at the full rates of the card, in seconds."""

    key: str  # in Efficiencies
    compute_s: float
    memory_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTime:
    """Seconds of the card for one micro-batch, all calls together.

    `compute_s` and `bandwidth_s` are of kernels that arithmetic and memory bandwidth hold up;
    `fixed_s` is what begin and end of kernels cost. `uncovered` are operators without a rule: their
    bytes alone are counted. `kernels` is how many are launched.
    """

    phases_s: tuple[tuple[Phase, float], ...]
    compute_s: float
    bandwidth_s: float
    fixed_s: float
    kernels: int
    uncovered: tuple[str, ...] = ()

    @property
    def total_s(self) -> float:
        """Seconds that the card is busy."""
        return self.compute_s + self.bandwidth_s + self.fixed_s

    def phase_s(self, phase: Phase) -> float:
        """Seconds of one phase."""
        return dict(self.phases_s).get(phase, 0.0)


Change = Callable[[Kernel, Phase], Kernel]


def gpu_time(
    operators: Iterable[OperatorRecord],
    card: GpuSpec,
    *,
    tf32_matmul: bool = False,
    change: Change | None = None,
) -> GpuTime:
    """The time of all operators on the card, one after another.

    `tf32_matmul` is torch.backends.cuda.matmul.allow_tf32; `change` is made to each kernel first.
    """
    found, roofs = efficiencies(), _Roofs(card, tf32_matmul=tf32_matmul)
    phases: dict[Phase, float] = {}
    compute_s = bandwidth_s = fixed_s = 0.0
    launched, uncovered = 0, dict[str, None]()
    for record in operators:
        kernels = _launched(_Same(record))
        if any(kernel.kind is KernelKind.UNKNOWN for kernel, _ in kernels):
            uncovered[record.name] = None
        for launched_kernel, launched_key in kernels:
            kernel, key = launched_kernel, launched_key
            if change is not None:
                kernel = change(launched_kernel, record.phase)
                key = efficiency_key(kernel)
            bare = roofs.bare(kernel, key)
            compute, memory = found.roofs_s(key, bare.compute_s, bare.memory_s)
            if compute > memory:
                compute_s += record.calls * compute
            else:
                bandwidth_s += record.calls * memory
            fixed_s += record.calls * found.kernel_s
            spent = record.calls * (max(compute, memory) + found.kernel_s)
            phases[record.phase] = phases.get(record.phase, 0.0) + spent
        launched += record.calls * len(kernels)
    return GpuTime(
        phases_s=tuple(phases.items()),
        compute_s=compute_s,
        bandwidth_s=bandwidth_s,
        fixed_s=fixed_s,
        kernels=launched,
        uncovered=tuple(uncovered),
    )


def bare_time(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> BareTime:
    """The two roofs over one kernel, before what its kind takes off."""
    return _Roofs(card, tf32_matmul=tf32_matmul).bare(kernel, efficiency_key(kernel))


class _Same:
    """Stands for one record and no other: a hash of all its shapes takes longer than its kernels.

    It holds the record, so that no other gets its identity as long as this one is remembered.
    """

    __slots__ = ("record",)

    def __init__(self, record: OperatorRecord) -> None:
        self.record = record

    def __hash__(self) -> int:
        return id(self.record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.record is self.record


@lru_cache(maxsize=16384)
def _launched(same: _Same) -> tuple[tuple[Kernel, str], ...]:
    """The kernels of a record and their keys in Efficiencies: every card asks for the same."""
    return tuple((kernel, efficiency_key(kernel)) for kernel in kernels_of(same.record))


class _Roofs:
    """The rates of one card, each looked up once."""

    def __init__(self, card: GpuSpec, *, tf32_matmul: bool) -> None:
        self._card = card
        self._tf32_matmul = tf32_matmul
        self._bytes_per_s = memory_rate(card)
        self._flops_per_s: dict[tuple[str, bool], float] = {}

    def bare(self, kernel: Kernel, key: str) -> BareTime:
        """The two roofs over a kernel, before what its kind takes off."""
        tf32 = self._tf32_matmul or kernel.kind in _TF32_BY_DEFAULT
        # One filter for each channel leaves tensor cores nothing to multiply: CUDA cores do it.
        is_narrow = is_depthwise(kernel)
        rate = self._rate("float32" if is_narrow else kernel.dtype, tf32 and not is_narrow)
        compute_s = kernel.flops / rate
        if kernel.product is not None and not is_narrow:
            compute_s = product_s(kernel.product, rate, self._card.streaming_multiprocessors)
            if kernel.dtype in _HALF and not _is_aligned(kernel):
                compute_s /= _UNALIGNED_FRACTION
        memory_s = efficiencies().cached_s(
            kernel.moved_bytes,
            bandwidth_bytes_per_s=self._bytes_per_s,
            l2_bytes=self._card.l2_bytes,
        )
        return BareTime(key=key, compute_s=compute_s, memory_s=memory_s)

    def _rate(self, dtype: str, tf32: bool) -> float:
        if (dtype, tf32) not in self._flops_per_s:
            found = arithmetic_rate(self._card, dtype, tf32=tf32)
            self._flops_per_s[dtype, tf32] = found.flops_per_s
        return self._flops_per_s[dtype, tf32]


def is_depthwise(kernel: Kernel) -> bool:
    """Whether a convolution has groups of a single channel."""
    product = kernel.product
    if kernel.kind is not KernelKind.GROUPED_CONVOLUTION or product is None:
        return False
    return min(product.m, product.n) == 1


def _is_aligned(kernel: Kernel) -> bool:
    product = kernel.product
    assert product is not None
    sizes = (product.n, product.k)
    if kernel.kind is KernelKind.MATMUL:
        return all(size % _ALIGNMENT == 0 for size in sizes)
    return True  # cuDNN pads channels


def efficiency_key(kernel: Kernel) -> str:
    """Which entry of Efficiencies a kernel falls under."""
    kind, words = kernel.kind, [kernel.kind.value]
    width = "half" if kernel.dtype in _HALF else "single"
    if kind in (KernelKind.CONVOLUTION, KernelKind.GROUPED_CONVOLUTION):
        if is_depthwise(kernel):
            words = ["depthwise convolution"]
        words += [width, kernel.part.value]
        if kernel.channels_last:
            words.append("channels_last")
    elif kind in (KernelKind.BATCH_NORM, KernelKind.POOL):
        words.append(kernel.part.value)
        if kernel.channels_last:
            words.append("channels_last")
    elif kind in (KernelKind.NORM, KernelKind.SOFTMAX, KernelKind.ATTENTION):
        words.append(kernel.part.value)
    elif kind is KernelKind.MATMUL:
        batched = kernel.product is not None and kernel.product.batch > 1
        words += ["batched", width] if batched else [width]
    return ", ".join(words)
