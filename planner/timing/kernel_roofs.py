"""Times a kernel under the two roofs of a card, where no table has kernels like it.

In: a Kernel, GpuSpec. Out: BareTime, the key of its efficiencies. Convention: a product takes the
larger of its FLOPs over the rate of its kind and shape and its bytes over the bandwidth of its kind
(Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785). Other kernels take
the root of the sum of the squares of both, where issuing instructions may take longer than the
FLOPs and then counts for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.kernels import HALF, OF_IMAGES, Kernel, KernelKind
from planner.timing.rates import Path, Rate, arithmetic_rate, issue_rate, memory_rate
from planner.timing.tiling import product_s

_ALIGNMENT = 8  # elements: 16 bytes of half precision, the alignment of rows for tensor cores
_UNALIGNED_FRACTION = 0.5
# Multiplications of a 3 x 3 window over those of Winograd's F(2 x 2, 3 x 3): 36 / 16 (Lavin and
# Gray 2015, https://arxiv.org/abs/1509.09308). cuDNN has such kernels for float32.
_WINOGRAD_SAVING = 2.25
# Found in the published times: with 32 groups, as ResNeXt has them, channels_last is fast, with
# other numbers it is slow; a group for each sample and channel (CondConv) is slow everywhere.
_RESNEXT_GROUPS = 32
_MANY_GROUPS = 256
_HALF_WIDTH = "half"
_GROUP_WIDTHS = (16, 32)  # channels in a group, at most
# Instructions to address, convert and compute one element, in addition to the bytes that it moves.
_INSTRUCTIONS_PER_ELEMENT = 30
# Tensor cores that four warps feed together (wgmma, tcgen05); GeForce has none of these.
_WARP_GROUPS = ((9, 0), (10, 0), (10, 3))
# Convolutions and recurrent layers may use TF32 by torch's defaults, matrix products may not
# (https://docs.pytorch.org/docs/stable/notes/cuda.html).
_TF32_BY_DEFAULT = (KernelKind.CONVOLUTION, KernelKind.GROUPED_CONVOLUTION, KernelKind.RECURRENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BareTime:
    """The seconds of a kernel at the full rates of the card."""

    key: str  # in Efficiencies
    compute_s: float
    memory_s: float


def busy_s(kernel: Kernel, compute_s: float, memory_s: float) -> float:
    """Returns the seconds of a kernel under its two roofs.

    Products load the next tile while they multiply: only the longer time counts. Other kernels
    load, compute and store elements one after another: both count, as the root of their squares.
    """
    if has_tiles(kernel):
        return max(compute_s, memory_s)
    return hypot(compute_s, memory_s)


def has_tiles(kernel: Kernel) -> bool:
    """Returns whether a kernel multiplies tiles of matrices."""
    return kernel.product is not None and not is_depthwise(kernel)


def kernel_rate(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> Rate:
    """Returns the arithmetic rate that is the roof of a kernel on the card."""
    # With one filter for each channel, tensor cores have nothing to multiply: CUDA cores compute
    # these, and all kernels that work element by element.
    tf32 = tf32_matmul or kernel.kind in _TF32_BY_DEFAULT
    dtype = "float32" if is_depthwise(kernel) or not kernel.flops else kernel.dtype
    is_product = kernel.kind is KernelKind.MATMUL
    return arithmetic_rate(card, dtype, tf32=tf32 and has_tiles(kernel), is_product=is_product)


def bare_time(kernel: Kernel, card: GpuSpec, *, tf32_matmul: bool = False) -> BareTime:
    """Returns the times of one kernel under its two roofs, before the losses of its kind."""
    tiles, rate = has_tiles(kernel), kernel_rate(kernel, card, tf32_matmul=tf32_matmul)
    compute_s = max(
        kernel.flops / rate.flops_per_s,
        _INSTRUCTIONS_PER_ELEMENT * kernel.moved_elements / issue_rate(card),
    )
    if tiles:
        assert kernel.product is not None
        compute_s = product_s(kernel.product, rate.flops_per_s, card.streaming_multiprocessors)
        if kernel.dtype in HALF and rate.path is Path.TENSOR_CORES and not _is_aligned(kernel):
            compute_s /= _UNALIGNED_FRACTION
        if _is_winograd(kernel, rate.path):
            compute_s /= _WINOGRAD_SAVING
    found = efficiencies()
    return BareTime(
        key=efficiency_key(kernel, card, rate.path),
        compute_s=compute_s,
        memory_s=found.cached_s(
            kernel.moved_bytes, bandwidth_bytes_per_s=memory_rate(card), l2_bytes=card.l2_bytes
        ),
    )


def _is_winograd(kernel: Kernel, path: Path) -> bool:
    """Returns whether cuDNN uses Winograd: in float32 on CUDA cores, in contiguous layout.

    float16 that is computed in float32 counts as float32.
    """
    in_float32 = kernel.dtype in ("float32", "float16") and path is Path.CUDA_CORES
    return kernel.saves_products and in_float32 and not kernel.channels_last


def is_depthwise(kernel: Kernel) -> bool:
    """Returns whether a convolution has groups of a single channel."""
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


def efficiency_key(kernel: Kernel, card: GpuSpec, path: Path) -> str:
    """Returns the key in Efficiencies of a kernel that the units of `path` compute."""
    kind, words = kernel.kind, [kernel.kind.value]
    if kind in (KernelKind.CONVOLUTION, KernelKind.GROUPED_CONVOLUTION):
        if is_depthwise(kernel):
            words = ["depthwise convolution", _stored_width(kernel)]
        elif kind is KernelKind.GROUPED_CONVOLUTION:
            words += [_grouping(kernel), _width(kernel, path)]
        else:
            words.append(_width(kernel, path))
        words.append(kernel.part.value)
    elif kind is KernelKind.BATCH_NORM:
        words += [_stored_width(kernel), kernel.part.value]
    elif kind is KernelKind.ATTENTION:
        words += [*_attention_words(kernel), _stored_width(kernel), kernel.part.value]
    elif kind in (KernelKind.NORM, KernelKind.GROUP_NORM, KernelKind.SOFTMAX):
        words += [_stored_width(kernel), kernel.part.value]
    elif kind is KernelKind.POOL:
        words.append(kernel.part.value)
    elif kind in (
        KernelKind.ELEMENTWISE, KernelKind.BROADCAST, KernelKind.LOOP, KernelKind.LOOP_REDUCTION,
    ):  # fmt: skip
        words.append(_stored_width(kernel))
    elif kind is KernelKind.MATMUL:
        batched = kernel.product is not None and kernel.product.batch > 1
        width = _width(kernel, path)
        words += ["batched", width] if batched else [width]
        if width == _HALF_WIDTH and card.compute_capability in _WARP_GROUPS:
            words.append("warp groups")
    if kernel.channels_last and kind in OF_IMAGES:
        words.append("channels_last")
    return ", ".join(words)


def _attention_words(kernel: Kernel) -> list[str]:
    """Names the backend, and whether a bias is added to the weights."""
    facts = kernel.attention
    if facts is None:
        return []
    return [facts.backend, "biased"] if facts.has_bias else [facts.backend]


def _width(kernel: Kernel, path: Path) -> str:
    """Names the width that computes: half precision without tensor cores does not count as half."""
    if path is Path.TENSOR_CORES and kernel.dtype != "float64":
        return _HALF_WIDTH
    return "tf32" if path is Path.TF32 else "single"


def _stored_width(kernel: Kernel) -> str:
    return _HALF_WIDTH if kernel.dtype in HALF else "single"


def _grouping(kernel: Kernel) -> str:
    """Names the class of groups: convolutions of cuDNN differ between them by up to ten times."""
    product = kernel.product
    assert product is not None
    if kernel.groups >= _MANY_GROUPS:
        return "many"
    if kernel.groups == _RESNEXT_GROUPS:
        return "of 32"
    channels = min(product.m, product.n)
    return next((f"up to {width}" for width in _GROUP_WIDTHS if channels <= width), "wide")
