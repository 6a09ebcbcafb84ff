"""Which formula belongs to which operator: the tables that counts.py hands to fvcore.

In: nothing. Out: names of traced operators with their handles, and names of those without FLOPs.
An operator in neither, and unknown to fvcore, is reported as uncounted.
"""

from __future__ import annotations

from planner.worker.count import operator_flops as formulas
from planner.worker.count.operator_flops import Handle

# One operation an element; where the operator also works in place, with and without "_".
_ELEMENTWISE = """
    abs acos acosh add asin asinh atan atan2 atanh celu cos cosh div elu erf erfc erfinv exp exp2
    expm1 fmod frac gelu hardsigmoid hardswish leaky_relu log log10 log1p log2 log_sigmoid
    logaddexp logit mish mul multiply divide subtract neg pow prelu reciprocal rrelu rsqrt rsub
    selu sigmoid silu sin sinh softplus softsign sqrt square sub tan tanh true_divide xlogy outer
""".split()  # noqa: SIM905 # a list of words, not of lines
# Several operations for each element of the output.
_MORE = {"addcmul": 3, "addcdiv": 3, "lerp": 3, "glu": 2, "sinc": 2, "addr": 2}
# Operations for each element of the input.
_REDUCTIONS = {
    "sum": 1, "mean": 1, "prod": 1, "cumsum": 1, "cumprod": 1, "nansum": 1,
    "norm": 2, "frobenius_norm": 2, "linalg_vector_norm": 2, "var": 4, "std": 4, "var_mean": 4,
    "std_mean": 4, "logsumexp": 3, "softmax": 4, "_softmax": 4, "log_softmax": 4,
    "_log_softmax": 4, "softmin": 5, "adaptive_avg_pool1d": 1, "adaptive_avg_pool2d": 1,
    "adaptive_avg_pool3d": 1, "cross_entropy_loss": 4, "mse_loss": 3, "l1_loss": 3,
    "_weight_norm": 3, "cosine_similarity": 6,
}  # fmt: skip

_SPECIAL: dict[str, Handle] = {
    "matmul": formulas.matmul,
    "mm": formulas.matmul,
    "bmm": formulas.matmul,
    "mv": formulas.matmul,
    "dot": formulas.matmul,
    "vdot": formulas.matmul,
    "inner": formulas.matmul,
    "baddbmm": formulas.added_matmul,
    "addbmm": formulas.added_matmul,
    "addmv": formulas.added_matmul,
    "einsum": formulas.einsum,
    "tensordot": formulas.tensordot,
    "bilinear": formulas.bilinear,
    "cdist": formulas.distance,
    "scaled_dot_product_attention": formulas.attention,
    "batch_norm": formulas.batch_norm,
    "group_norm": formulas.norm(2),
    "layer_norm": formulas.norm(2),
    "instance_norm": formulas.norm(1),
    "rms_norm": formulas.rms_norm,
    "avg_pool1d": formulas.average_pool,
    "avg_pool2d": formulas.average_pool,
    "avg_pool3d": formulas.average_pool,
    # interpolation: a multiply-add for each neighbour
    "upsample_linear1d": formulas.per_output(2 * 2),
    "upsample_bilinear2d": formulas.per_output(2 * 4),
    "upsample_trilinear3d": formulas.per_output(2 * 8),
    "upsample_bicubic2d": formulas.per_output(2 * 16),
    "conv1d": formulas.convolution,
    "conv2d": formulas.convolution,
    "conv3d": formulas.convolution,
    "_convolution_mode": formulas.convolution,
    "_grouped_mm": formulas.matmul,
    "_thnn_fused_lstm_cell": formulas.fused_cell("lstm", gates=4),
    "_thnn_fused_gru_cell": formulas.fused_cell("gru", gates=3),
    **{kind: formulas.recurrent(kind) for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{
        f"{kind}_cell": formulas.recurrent_cell(kind)
        for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    },
}

# Copies, indexing, comparisons, random numbers and questions about a tensor.
_FREE = """
    __getitem__ __lshift__ __not__ __or__ __rshift__ __xor__ _autocast_to_full_precision
    _autocast_to_reduced_precision _cast_Float _cast_Half _conj _fused_sdp_choice
    _local_scalar_dense _pack_padded_sequence _pad_packed_sequence _shape_as_tensor _to_copy
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adjoint alias all alpha_dropout
    amax amin aminmax any arange argmax argmin argsort as_strided bernoulli bincount bitwise_and
    bitwise_or bitwise_xor Bool broadcast_tensors broadcast_to bucketize cat ceil
    channel_shuffle clamp clamp_max clamp_min clone col2im column_stack complex conj_physical
    constant constant_pad_nd copy copysign count_nonzero cummax cummin detach diag diag_embed
    diagonal dim dropout dstack embedding embedding_renorm empty_like empty_strided eq expand_as
    eye feature_alpha_dropout feature_dropout fill flip fliplr flipud Float FloatImplicit floor
    full full_like gather ge gt H hardshrink hardtanh heaviside histc hstack im2col imag index
    index_copy index_fill index_put index_select IntImplicit is_floating_point is_nonzero
    isfinite isin isinf isnan item kthvalue le len lift lift_fresh linspace logical_and
    logical_not logical_or logical_xor logspace lt masked_fill masked_scatter masked_select
    max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices maximum median meshgrid mH min minimum mode moveaxis movedim mT
    multinomial nan_to_num native_dropout ne new_ones new_zeros normal numel numpy_T one_hot
    ones ones_like pack_padded_sequence pad pad_sequence pixel_shuffle pixel_unshuffle polar
    rand rand_like randint randint_like randn randn_like randperm range ravel real
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 remainder repeat
    repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape_as
    resolve_conj resolve_neg rot90 round scalar_tensor scatter searchsorted select_scatter set
    sgn sign slice_scatter softshrink sort split_copy squeeze squeeze_multiple stack swapaxes
    swapdims t T take take_along_dim tensor tensor_split threshold tile topk transpose tril
    tril_indices triu triu_indices trunc unflatten unfold uniform unique_consecutive
    unsafe_chunk unsafe_split unsqueeze_copy upsample_nearest1d upsample_nearest2d
    upsample_nearest3d view_as view_as_complex view_as_real vstack where zero zeros zeros_like
""".split()  # noqa: SIM905 # a list of words, not of lines

# Formulas of _SPECIAL that are a few operations for each element.
_LIGHT = """
    batch_norm group_norm layer_norm instance_norm rms_norm avg_pool1d avg_pool2d avg_pool3d
    upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    thnn_fused_lstm_cell thnn_fused_gru_cell
""".split()  # noqa: SIM905 # a list of words, not of lines
# Only in backward, in an optimizer or in a GradScaler.
_STEP_ONLY = """
    nll_loss nll_loss2d binary_cross_entropy binary_cross_entropy_with_logits smooth_l1_loss
    huber_loss threshold embedding_dense weight_norm_interface sgd adam adamw adagrad
    non_finite_check_and_unscale amp_update_scale fused_dropout dropout masked_scale
    exponential select slice
""".split()  # noqa: SIM905 # a list of words, not of lines
# Which variant of an operator a name tells.
_PREFIXES = ("_", "foreach_", "fused_", "native_", "cudnn_", "amp_", "thnn_", "batch_norm_impl_")
_SUFFIXES = ("_", "_backward", "_backward_data", "_forward", "_legit", "_with_update", "_dense")

# Operators whose output is an activation, beyond fvcore's own list: conv, addmm, bmm, einsum,
# matmul, linear.
ACTIVATIONS = tuple(
    f"aten::{name}"
    for name in (
        "mm", "baddbmm", "addbmm", "bilinear", "tensordot", "scaled_dot_product_attention",
        "conv1d", "conv2d", "conv3d", "_convolution_mode", "_grouped_mm", "lstm", "gru",
        "rnn_tanh", "rnn_relu", "lstm_cell",
        "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    )
)  # fmt: skip


def flop_handles() -> dict[str, Handle]:
    """Returns operators by the name that a trace gives them, with their formulas."""
    handles: dict[str, Handle] = {}
    for name in _ELEMENTWISE:
        handles[name] = handles[f"{name}_"] = formulas.per_output(1)
    for name, flops in _MORE.items():
        handles[name] = handles[f"{name}_"] = formulas.per_output(flops)
    for name, flops in _REDUCTIONS.items():
        handles[name] = formulas.per_input(flops)
    handles.update(_SPECIAL)
    return {f"aten::{name}": handle for name, handle in handles.items()}


def free_operators() -> tuple[str, ...]:
    """Returns operators without FLOPs, with and without "_". fvcore ignores a few more."""
    return tuple(f"aten::{name}{mark}" for name in _FREE for mark in ("", "_"))


_ELEMENT_BY_ELEMENT = frozenset((*_ELEMENTWISE, *_MORE, *_REDUCTIONS, *_FREE, *_LIGHT, *_STEP_ONLY))


def is_elementwise(name: str) -> bool:
    """Returns whether an operator costs no more than a few operations for each element.

    `name` is that of an operator as it is called, below autograd: aten::_foreach_addcdiv_,
    aten::native_layer_norm_backward.
    """
    namespace, _, plain = name.partition("::")
    if namespace != "aten":
        return False
    waiting, seen = [plain], set[str]()
    while waiting:
        word = waiting.pop()
        if word in _ELEMENT_BY_ELEMENT:
            return True
        if word in seen:
            continue
        seen.add(word)
        waiting += [word.removeprefix(prefix) for prefix in _PREFIXES if word.startswith(prefix)]
        waiting += [word.removesuffix(suffix) for suffix in _SUFFIXES if word.endswith(suffix)]
    return False
