"""Lists the kernels that an operator launches, with the figures that decide their time.

In: an OperatorRecord. Out: Kernels, of one call. Convention: a matrix product is (batch, m, n, k);
a convolution is the equivalent product: rows are output positions, columns are filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import prod

from planner.wire.kernel_facts import AttentionFacts
from planner.wire.trace import FlopSource, OperatorRecord, TensorShape


class KernelKind(str, Enum):
    """Families of kernels that reach similar fractions of a card's rates."""

    MATMUL = "matrix product"
    CONVOLUTION = "convolution"
    GROUPED_CONVOLUTION = "grouped convolution"  # depthwise too
    ATTENTION = "fused attention"
    RECURRENT = "recurrent layer"
    BATCH_NORM = "batch norm"
    NORM = "layer norm"  # or one of root mean squares: over the last dimensions
    GROUP_NORM = "group norm"
    SOFTMAX = "softmax"
    POOL = "pooling"
    REDUCTION = "reduction"
    COPY = "copy"
    CAST = "cast"  # to another dtype, element by element
    LOOKUP = "lookup"
    OPTIMIZER = "optimizer"  # of many tensors in one kernel
    ELEMENTWISE = "elementwise"
    RANDOM = "random numbers"  # dropout and noise: drawn for each element
    BROADCAST = "elementwise with broadcasting"  # tensors of several shapes
    LOOP = "fused loop"  # element by element, in a kernel that Triton made
    LOOP_REDUCTION = "fused reduction"  # with sums or maxima in it
    UNKNOWN = "unknown"  # no rule covers it: only its bytes are counted


# Kinds whose tensors are images, so that their layout matters.
OF_IMAGES = (
    KernelKind.CONVOLUTION, KernelKind.GROUPED_CONVOLUTION, KernelKind.BATCH_NORM, KernelKind.POOL,
)  # fmt: skip
HALF = ("float16", "bfloat16")  # as in Kernel.dtype


class Pass(str, Enum):
    """The result that a kernel computes."""

    FORWARD = "forward"
    INPUT_GRADIENT = "input gradient"
    WEIGHT_GRADIENT = "weight gradient"
    BACKWARD = "backward"  # both in one
    EVALUATION = "evaluation"  # of batch norm: only scale and shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`batch` matrix products of (m, k) and (k, n)."""

    batch: int
    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel of one call. `dtype` is that of its operands, as in TensorShape.

    `product` is given for matrix products and for convolutions. `moved_elements` are read or
    written, one by one. `saves_products`: a convolution that Winograd's algorithm can compute,
    in contiguous layout. `attention` is given for fused attention. `columns` are the elements of
    `element_bytes` over which a norm or a softmax reduces; 0: that is not known.
    """

    kind: KernelKind
    part: Pass
    dtype: str
    flops: int
    moved_bytes: int
    moved_elements: int = 0
    channels_last: bool = False
    product: Product | None = None
    groups: int = 1
    saves_products: bool = False
    attention: AttentionFacts | None = None
    columns: int = 0
    element_bytes: int = 4


_PRODUCTS = frozenset(
    ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm", "_scaled_mm", "linear", "matmul")
)
_BY_WORD = (
    ("batch_norm", KernelKind.BATCH_NORM),
    ("group_norm", KernelKind.GROUP_NORM),
    ("norm", KernelKind.NORM),
    ("softmax", KernelKind.SOFTMAX),
    ("logsumexp", KernelKind.SOFTMAX),
    ("pool", KernelKind.POOL),
    ("upsample", KernelKind.POOL),
    ("embedding", KernelKind.LOOKUP),
    ("index", KernelKind.LOOKUP),
    ("gather", KernelKind.LOOKUP),
    ("scatter", KernelKind.LOOKUP),
    ("nll_loss", KernelKind.LOOKUP),
    ("roll", KernelKind.COPY),
    ("pad", KernelKind.COPY),
)
_REDUCTIONS = frozenset(
    ("sum", "mean", "var_mean", "var", "std", "amax", "amin", "max", "min", "argmax", "all", "any",
     "cumsum", "prod", "norm", "linalg_vector_norm")
)  # fmt: skip
_COPIES = frozenset(
    ("copy_", "clone", "cat", "stack", "contiguous", "slice_backward", "slice_scatter",
     "select_backward", "select_scatter", "repeat", "flip", "as_strided_scatter", "_reshape_copy",
     "im2col", "col2im", "unfold_backward", "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle",
     "new_zeros", "zeros_like", "zero_", "fill_", "ones_like", "full_like", "full", "zeros", "ones")
)  # fmt: skip


_RANDOM = frozenset(
    ("native_dropout", "fused_dropout", "bernoulli_", "normal_", "uniform_", "rand_like",
     "randn_like", "rrelu_with_noise")
)  # fmt: skip
_TORCH = ("aten", "prims")  # torch's own libraries, as in aten::mm


def kernels_of(record: OperatorRecord) -> tuple[Kernel, ...]:
    """Returns the kernels of one call, without small ones of a few bytes."""
    library, _, name = record.name.rpartition("::")
    if record.attention is not None:
        return (_attention(record, record.attention),)
    if record.loop is not None:
        is_sum = record.loop.reduced > 1
        return (_plain(record, KernelKind.LOOP_REDUCTION if is_sum else KernelKind.LOOP),)
    if library not in _TORCH:
        # Names of another library have no fixed meaning: its "linear" need not be a product of two.
        is_unknown = record.flop_source is FlopSource.UNKNOWN
        kind = KernelKind.UNKNOWN if is_unknown else _kind(record, name)
        return (_plain(record, kind),)
    if name in _PRODUCTS:
        return (_matmul(record, name),)
    if name in ("convolution", "_convolution", "cudnn_convolution"):
        return (_convolution(record),)
    if name == "convolution_backward":
        return tuple(_convolution_backward(record))
    return (_plain(record, _kind(record, name)),)


def _kind(record: OperatorRecord, name: str) -> KernelKind:
    base = name.strip("_")
    if "attention" in name:
        return KernelKind.ATTENTION
    if "rnn" in name or "lstm" in name or "gru" in name:
        return KernelKind.RECURRENT
    if "_foreach_" in name or name.startswith("_fused_"):
        return KernelKind.OPTIMIZER
    if base in _REDUCTIONS:
        return KernelKind.REDUCTION
    if base in _RANDOM:
        return KernelKind.RANDOM
    if name == "_to_copy":
        return KernelKind.CAST
    if name in _COPIES:
        return KernelKind.COPY
    for word, kind in _BY_WORD:
        if word in name:
            return kind
    if record.flop_source is FlopSource.UNKNOWN:
        return KernelKind.UNKNOWN
    shapes = {item.shape for item in (*record.inputs, *record.outputs) if prod(item.shape) > 1}
    return KernelKind.BROADCAST if len(shapes) > 1 else KernelKind.ELEMENTWISE


def _plain(record: OperatorRecord, kind: KernelKind) -> Kernel:
    tensors = (*record.inputs, *record.outputs)
    largest = max(tensors, key=tensor_bytes, default=None)
    return Kernel(
        kind=kind,
        part=_pass(record, kind),
        dtype="float32" if largest is None else largest.dtype,
        flops=record.flops or 0,
        moved_bytes=record.read_bytes + record.written_bytes,
        moved_elements=_elements(record),
        columns=_columns(record, kind),
        element_bytes=4 if largest is None else _ITEM_BYTES.get(largest.dtype, 1),
        channels_last=largest is not None and largest.channels_last,
    )


def _attention(record: OperatorRecord, facts: AttentionFacts) -> Kernel:
    """Returns fused attention: two products forward, five backward; half of them if causal."""
    is_backward = "backward" in record.name or "bwd" in record.name
    widths = facts.head_width + facts.value_width
    backward = 3 * facts.head_width + 2 * facts.value_width  # with the weights once more
    pairs = facts.batch * facts.query_heads * facts.queries * facts.keys
    flops = 2 * pairs * (backward if is_backward else widths)
    return Kernel(
        kind=KernelKind.ATTENTION,
        part=Pass.BACKWARD if is_backward else Pass.FORWARD,
        dtype=record.inputs[0].dtype,
        flops=flops // 2 if facts.is_causal else flops,
        moved_bytes=record.read_bytes + record.written_bytes,
        moved_elements=_elements(record),
        attention=facts,
    )


def _columns(record: OperatorRecord, kind: KernelKind) -> int:
    """Returns the elements over which a layer norm or a softmax reduces: its last dimensions."""
    if not record.inputs or not record.inputs[0].shape:
        return 0
    if kind is KernelKind.SOFTMAX:
        return record.inputs[0].shape[-1]
    if kind is KernelKind.NORM and len(record.inputs) > 1:
        widths = [prod(one.shape) for one in record.inputs[1:] if one.shape]
        last = record.inputs[0].shape[-1]
        return next((one for one in widths if one and one % last == 0), last)
    return 0


def _pass(record: OperatorRecord, kind: KernelKind) -> Pass:
    """Returns the pass; batch norm is in evaluation where its outputs for backward are empty."""
    if "backward" in record.name:
        return Pass.BACKWARD
    if kind is KernelKind.BATCH_NORM and not any(prod(one.shape) for one in record.outputs[1:]):
        return Pass.EVALUATION
    return Pass.FORWARD


def _elements(record: OperatorRecord) -> int:
    """Counts the elements moved: bytes moved over the mean bytes of an element of all tensors."""
    tensors = (*record.inputs, *record.outputs)
    elements = sum(prod(item.shape) * item.number for item in tensors)
    whole = sum(map(tensor_bytes, tensors))
    moved = record.read_bytes + record.written_bytes
    return round(moved * elements / whole) if whole else 0


def _matmul(record: OperatorRecord, name: str) -> Kernel:
    left, right = record.inputs[-2:] if name in ("addmm", "baddbmm") else record.inputs[:2]
    batch = left.shape[0] if len(left.shape) == 3 else 1
    return Kernel(
        kind=KernelKind.MATMUL,
        part=Pass.FORWARD,
        dtype=left.dtype,
        flops=record.flops or 0,
        moved_bytes=record.read_bytes + record.written_bytes,
        product=Product(batch=batch, m=left.shape[-2], n=right.shape[-1], k=left.shape[-1]),
    )


def _convolution(record: OperatorRecord) -> Kernel:
    given, weight, output = record.inputs[0], record.inputs[1], record.outputs[0]
    groups = _groups(given, weight, output)
    product = Product(
        batch=groups,
        m=_positions(output),
        n=max(1, _channels(output) // groups),
        k=max(1, (record.flops or 0) // max(1, 2 * prod(output.shape))),
    )
    return Kernel(
        kind=KernelKind.GROUPED_CONVOLUTION if groups > 1 else KernelKind.CONVOLUTION,
        part=Pass.FORWARD,
        dtype=weight.dtype,
        flops=record.flops or 0,
        moved_bytes=record.read_bytes + record.written_bytes,
        channels_last=given.channels_last or output.channels_last,
        product=product,
        groups=groups,
        saves_products=_saves_products(given, weight, output, groups),
    )


def _saves_products(
    given: TensorShape, weight: TensorShape, output: TensorShape, groups: int
) -> bool:
    """Returns whether windows are 3 x 3 and move by 1: for these cuDNN has Winograd kernels.

    The stride is not in the record; with a stride of 1 the output loses at most the window's edge.
    """
    if groups > 1 or weight.shape[2:] != (3, 3):
        return False
    lost = [before - after for before, after in zip(given.shape[2:], output.shape[2:], strict=True)]
    return all(0 <= one <= 2 for one in lost)


def _groups(given: TensorShape, weight: TensorShape, output: TensorShape) -> int:
    """Returns the groups; weights: (out, in / groups, ...), transposed (in, out / groups, ...)."""
    whole = given if weight.shape[0] == _channels(output) else output
    return max(1, _channels(whole) // max(1, weight.shape[1]))


def _convolution_backward(record: OperatorRecord) -> Iterator[Kernel]:
    """Yields a kernel for each requested gradient: of the input, of the weight.

    The record's inputs are the output's gradient, the input and the weight. The small gradient of
    a bias is not counted.
    """
    gradient, given, weight = record.inputs[:3]
    results = {item.shape for item in record.outputs}
    groups = _groups(given, weight, gradient)
    is_transposed = weight.shape[0] != _channels(gradient)
    wanted = [
        part
        for part, shape in (
            (Pass.INPUT_GRADIENT, given.shape),
            (Pass.WEIGHT_GRADIENT, weight.shape),
        )
        if shape in results
    ]
    kind = KernelKind.GROUPED_CONVOLUTION if groups > 1 else KernelKind.CONVOLUTION
    window = prod(weight.shape[2:])
    filters, inputs = max(1, _channels(gradient) // groups), max(1, _channels(given) // groups)
    saves_products = _saves_products(given, weight, gradient, groups)
    for part in wanted:
        is_input = part is Pass.INPUT_GRADIENT
        product = (
            Product(batch=groups, m=_positions(given), n=inputs, k=filters * window)
            if is_input
            else Product(
                batch=groups,
                m=filters,
                n=inputs * window,
                k=_positions(given if is_transposed else gradient),
            )
        )
        yield Kernel(
            kind=kind,
            part=part,
            dtype=weight.dtype,
            flops=(record.flops or 0) // len(wanted),
            moved_bytes=sum(map(tensor_bytes, (gradient, given, weight))),
            channels_last=given.channels_last or gradient.channels_last,
            product=product,
            groups=groups,
            saves_products=saves_products,
        )


def _channels(tensor: TensorShape) -> int:
    return tensor.shape[1] if len(tensor.shape) > 1 else 1


def _positions(tensor: TensorShape) -> int:
    return tensor.shape[0] * prod(tensor.shape[2:])


_ITEM_BYTES = {
    "float64": 8, "int64": 8, "complex64": 8, "complex128": 16, "float32": 4, "int32": 4,
    "float16": 2, "bfloat16": 2, "int16": 2,
}  # fmt: skip


def tensor_bytes(tensor: TensorShape) -> int:
    """Returns the bytes of all elements."""
    return prod(tensor.shape) * tensor.number * _ITEM_BYTES.get(tensor.dtype, 1)
