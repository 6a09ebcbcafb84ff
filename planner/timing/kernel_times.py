"""Times one kernel on a card: by tables of measured kernels, else by its roofs and efficiencies.

In: a Kernel, GpuSpec. Out: KernelTime. Convention: seconds of one launch. What published steps say
of kernels that a table has is a factor near 1 on their work (Efficiencies.tables).

A kind is timed by its table where that makes the times of published steps of left-out cards better
(`python -m benchmarks.throughput`). Other kernels are not in a step what they are alone: products
run at the clocks of a warm card, elementwise kernels find their operands in the L2 cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from planner.hardware.specs import GpuSpec, Vendor
from planner.timing.efficiency import efficiencies
from planner.timing.kernel_roofs import bare_time, busy_s, efficiency_key, kernel_rate
from planner.timing.kernels import Kernel, KernelKind, Pass
from planner.timing.measured.attention import attention_time
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.measured.products import NARROW, net_name, product_time
from planner.timing.measured.streams import stream_time
from planner.timing.rates import Path, Rate

_BY_TABLE = (KernelKind.NORM, KernelKind.SOFTMAX)
_LONG = 1024  # keys: attention over fewer takes too small a part of a step to be told apart there
_FEW = 64  # rows: reading the other operand takes all of the time
# Of kernels without a table: what published steps leave of single kinds, and a card of another
# maker, whose kernels were never measured.
_FITTED_SPREAD, _FALLBACK_SPREAD = 0.25, 0.4


@lru_cache(maxsize=65536)
def kernel_time(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> KernelTime:
    """Returns the time of one launch.

    `tf32_matmul` is torch.backends.cuda.matmul.allow_tf32.
    """
    found = table_time(kernel, card, tf32_matmul=tf32_matmul)
    if found is None:
        return fitted_time(kernel, card, tf32_matmul=tf32_matmul)
    rate = kernel_rate(kernel, card, tf32_matmul=tf32_matmul)
    factor = efficiencies().tables.get(efficiency_key(kernel, card, rate.path), 1.0)
    return replace(found, busy_s=factor * found.busy_s)


def corrected(
    time: KernelTime,
    kernel: Kernel,
    card: GpuSpec,
    factors: Mapping[str, float],
    *,
    tf32_matmul: bool = False,
) -> KernelTime:
    """Returns the time with the factor of the kernel's kind, if kernels of it were measured."""
    path = kernel_rate(kernel, card, tf32_matmul=tf32_matmul).path
    factor = factors.get(efficiency_key(kernel, card, path))
    if factor is None:
        return time
    return replace(time, busy_s=factor * time.busy_s, source=TimeSource.TABLE)


def table_time(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> KernelTime | None:
    """Returns the time by the tables alone; None: it is not timed by them."""
    rate = kernel_rate(kernel, card, tf32_matmul=tf32_matmul)
    if not _has_table(kernel, rate):
        return None
    if kernel.kind is KernelKind.MATMUL and kernel.product is not None:
        return product_time(kernel.product, kernel.dtype, card, rate=rate)
    if kernel.kind is KernelKind.ATTENTION and kernel.attention is not None:
        is_backward = kernel.part is Pass.BACKWARD
        facts = kernel.attention
        return attention_time(facts, kernel.dtype, card, rate=rate, is_backward=is_backward)
    return stream_time(
        kernel.kind,
        kernel.part,
        card,
        moved_bytes=kernel.moved_bytes,
        moved_elements=kernel.moved_elements,
        columns=kernel.columns,
        element_bytes=kernel.element_bytes,
    )


def _has_table(kernel: Kernel, rate: Rate) -> bool:
    """Returns whether the kind is timed by its table.

    Of products in 8 bits and less, and of few rows, as where a language model writes a token for
    each of a few sequences, no step was published: their tables are all there is.
    """
    product = kernel.product
    if kernel.kind is KernelKind.MATMUL and product is not None:
        if net_name(kernel.dtype, rate) == NARROW:
            return True
        if product.batch == 1:
            return product.m <= _FEW
        return rate.path is Path.CUDA_CORES
    if kernel.kind is KernelKind.ATTENTION:
        facts = kernel.attention
        return facts is not None and not facts.has_bias and facts.keys >= _LONG
    return kernel.kind in _BY_TABLE


def fitted_time(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> KernelTime:
    """Returns the time by the card's roofs and the share of them that its kind reaches."""
    found = efficiencies()
    bare = bare_time(kernel, card, tf32_matmul=tf32_matmul)
    compute_s, memory_s = found.roofs_s(bare.key, bare.compute_s, bare.memory_s)
    is_known = card.vendor is Vendor.NVIDIA and found.is_fitted(bare.key)
    return KernelTime(
        busy_s=busy_s(kernel, compute_s, memory_s),
        fixed_s=found.kernel_s,
        is_compute_bound=compute_s > memory_s,
        source=TimeSource.FIT if is_known else TimeSource.FALLBACK,
        spread=_FITTED_SPREAD if is_known else _FALLBACK_SPREAD,
    )
