"""The rule that a values pass has for an operator, determined once for each overload.

In: an OpOverload. Out: Rule. Convention: the schema of an operator that is not named here decides:
its written arguments, whether it draws random numbers, whether it makes a tensor from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

# Arguments whose values decide the operator's result: unknown ones are drawn. "*" is every float.
_NEEDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        (
            "topk", "sort", "argsort", "msort", "argmax", "argmin", "multinomial", "kthvalue",
            "nonzero", "any", "all", "_local_scalar_dense", "bernoulli", "mode", "median",
            "nanmedian", "unique_dim", "_unique", "_unique2", "unique_consecutive",
            "unique_dim_consecutive", "bincount", "repeat_interleave", "count_nonzero",
            "nonzero_static", "max", "min", "aminmax",
        ),
        (0,),
    ),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "equal", "allclose", "isin"), (0, 1)),
    **dict.fromkeys(("searchsorted", "bucketize"), (0, 1)),
    "masked_select": (1,),
    "masked_scatter_backward": (1,),
    "index": (1,),
    "_unsafe_index": (1,),
    "index_put": (1,),
    "index_put_": (1,),
    "_index_put_impl_": (1,),
    "nms": (0, 1),
}  # fmt: skip
_SELECTS = {"masked_select", "masked_scatter_backward"}  # masks alone, so of any dtype
_COMPARISONS = {"gt", "ge", "lt", "le", "eq", "ne"}
_FILLS = {
    "copy_", "zero_", "fill_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_",
    "geometric_", "cauchy_", "log_normal_",
}  # fmt: skip
_BLANK = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted",
    "resize_",
}  # fmt: skip
# Their results are around zero.
_CENTRED = {
    "mm", "addmm", "bmm", "baddbmm", "addbmm", "matmul", "linear", "mv", "addmv", "dot",
    "convolution", "_convolution", "cudnn_convolution", "convolution_overrideable",
    "native_layer_norm", "native_batch_norm", "cudnn_batch_norm", "native_group_norm",
    "_batch_norm_with_update", "_native_batch_norm_legit", "_fused_rms_norm", "_scaled_mm",
}  # fmt: skip
_FINITE = {"isnan": False, "isinf": False, "isposinf": False, "isneginf": False}
# The values that they write do not change: unknown gradients never overflow (found_inf), and set_
# gives a tensor another storage.
_KEEPS = {"_amp_foreach_non_finite_check_and_unscale_", "set_", "record_stream"}
_TO_HOST = {"_to_copy", "copy_"}
_LIFTS = {"lift_fresh", "lift"}
# Made of others, none of which reads a value: not decomposed, to save time.
_WHOLE = {
    "linear", "matmul", "dropout", "layer_norm", "group_norm", "rms_norm", "conv1d", "conv2d",
    "conv3d", "scaled_dot_product_attention", "chunk", "expand_as", "view_as", "square",
    "cross_entropy_loss", "embedding", "silu",
}  # fmt: skip
# Arguments that are written although the schema does not say so.
_WRITES_UNSAID = {
    **dict.fromkeys(
        (
            "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm",
            "batch_norm_gather_stats", "batch_norm_gather_stats_with_counts",
        ),
        (3, 4),
    ),
    "batch_norm_update_stats": (1, 2),
}  # fmt: skip
_COLLECTIVES = "c10d"  # their schemas mark no tensor as written
# Namespaces whose operators do on the CPU what they do on the card.
_ON_HOST = ("aten", "prims", "torchvision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`needs` are positions of arguments whose unknown values are drawn; with `only_masks` those of
    masks alone.

    `is_plain`: it writes nothing and makes new storages by computing. `written` gives the tensors
    that a call writes. `blank`: it makes memory and writes nothing into it.
    """

    name: str
    needs: tuple[int, ...]
    written: Callable[[tuple[Any, ...], dict[str, Any]], list[torch.Tensor]]
    has_written: bool
    is_fill: bool
    is_comparison: bool
    is_random: bool
    takes_generator: bool
    blank: bool
    centred: bool
    finite: bool | None
    keeps: bool
    on_host: bool
    is_lift: bool
    is_view: bool
    is_composite: bool
    is_plain: bool
    is_copy: bool
    only_masks: bool


def rule_of(func: Any) -> Rule:
    """Returns the rule of an overload."""
    schema = func._schema
    namespace, _, name = schema.name.partition("::")
    written = [
        (number, argument.name)
        for number, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    unsaid: tuple[int, ...] = _WRITES_UNSAID.get(name, ())
    if namespace == _COLLECTIVES:
        unsaid = tuple(range(len(schema.arguments)))
    said = {number for number, _ in written}
    written += [(n, schema.arguments[n].name) for n in unsaid if n not in said]
    plain = name.removesuffix("_")  # gt_ compares as gt does
    needs = _NEEDS.get(name, _NEEDS.get(plain, ()))
    return Rule(
        name=f"{namespace}::{name}",
        needs=needs,
        written=_writes(written),
        has_written=bool(written),
        is_fill=name in _FILLS,
        is_comparison=plain in _COMPARISONS,
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        takes_generator=any(argument.name == "generator" for argument in schema.arguments),
        blank=name in _BLANK,
        centred=name in _CENTRED,
        finite=_FINITE.get(name),
        keeps=name in _KEEPS,
        on_host=namespace in _ON_HOST,
        is_lift=name in _LIFTS,
        is_view=name not in _LIFTS and _is_view(schema),
        is_composite=name not in _LIFTS | _WHOLE and _is_composite(func),
        is_plain=not (
            written
            or name in _BLANK
            or name in _CENTRED
            or name in _FINITE
            or name in _COMPARISONS
            or name in _LIFTS
        ),
        is_copy=name in _TO_HOST,
        only_masks=needs == (1,) and name not in _SELECTS,
    )


def _is_view(schema: Any) -> bool:
    """Returns whether the results share an argument's storage, and nothing is written."""
    infos = [result.alias_info for result in schema.returns]
    return bool(infos) and all(info is not None and not info.is_write for info in infos)


def _is_composite(func: Any) -> bool:
    """Returns whether an operator is made of others, and has no kernel of the card."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    keys = torch._C.DispatchKey
    return has_kernel(func.name(), keys.CompositeImplicitAutograd) and not has_kernel(
        func.name(), keys.CUDA
    )


def _writes(
    places: list[tuple[int, str]],
) -> Callable[[tuple[Any, ...], dict[str, Any]], list[torch.Tensor]]:
    def written(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        found = (
            args[number] if number < len(args) else kwargs.get(name) for number, name in places
        )
        return [tensor for value in found for tensor in tensors(value)]

    return written


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors in an argument: itself, or those of a list."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, torch.Tensor):
                yield item
            elif isinstance(item, (list, tuple)):
                yield from tensors(item)
