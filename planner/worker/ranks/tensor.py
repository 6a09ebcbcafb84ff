"""Divides the matrices of a model among ranks, by a plan that the model has.

In: a model without weights, the mesh. Out: the same model, its matrices as DTensors. Convention: a
plan is that of transformers: names of modules, with * for a number, and "colwise", "rowwise" ...; a
model file may have one too, as an attribute `tp_plan` of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import nn

from planner.config.parallel import DataParallel, ParallelConfig, TensorOptions
from planner.errors import UsageError

_PLANS = ("tp_plan", "_tp_plan")


def divide(model: nn.Module, mesh: Any, options: TensorOptions) -> tuple[str, ...]:
    """Divides `model` over `mesh`; returns what was assumed.

    Raises:
        UsageError: the model has no plan, or its plan has a style that is not known; a degree does
            not divide the heads.
    """
    from torch.distributed.tensor.parallel import parallelize_module

    plan = _plan_of(model)
    ranks = mesh.size()
    styles = {name: _style(style, options) for name, style in plan.items()}
    _check_heads(model, ranks)
    used = {name: one for name, one in styles.items() if one is not None}
    tied = _tied(model)
    parallelize_module(model, mesh, used)
    for first, *others in tied:  # each module was given a shard of its own
        for owner, name in others:
            setattr(owner, name, getattr(*first))
    return (f"tensor parallelism: {len(used)} entries of the model's own plan, over {ranks} GPUs",)


def _tied(model: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Returns the places of each parameter that has several."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            places.setdefault(id(parameter), []).append((module, name))
    return [found for found in places.values() if len(found) > 1]


def enter(entered: ExitStack, config: ParallelConfig) -> None:
    """Enters the contexts that the steps of a divided model need."""
    from torch.distributed.tensor.experimental import implicit_replication
    from torch.distributed.tensor.parallel import loss_parallel

    if config.tensor_options.loss_parallel:
        entered.enter_context(loss_parallel())
    if config.data is not DataParallel.FSDP:
        # Parameters that the plan leaves whole are plain tensors next to DTensors in the optimizer.
        entered.enter_context(implicit_replication())


def _plan_of(model: nn.Module) -> Mapping[str, Any]:
    for name in _PLANS:
        found = getattr(model, name, None)
        if found:
            return dict(found)
    raise UsageError(
        "tp (--parallel) needs a plan for the matrices of the model, and this one has none: give "
        'the model an attribute tp_plan, like {"blocks.*.attention.query": "colwise", '
        '"blocks.*.attention.project": "rowwise"}, or write parallelize(model, mesh) in the model '
        "file"
    )


def _style(words: Any, options: TensorOptions) -> Any:
    """Returns the style of a plan's word; None: the module is left as it is."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        ParallelStyle,
        RowwiseParallel,
        SequenceParallel,
    )

    if isinstance(words, ParallelStyle):
        return words
    gathered = ColwiseParallel(
        output_layouts=Shard(-1) if options.loss_parallel else Replicate(),
        use_local_output=not options.loss_parallel,
    )
    known = {
        "colwise": ColwiseParallel(),
        "rowwise": RowwiseParallel(),
        "colwise_rep": gathered,
        "colwise_gather_output": gathered,
        "embedding_rowwise": RowwiseParallel(input_layouts=Replicate()),
        "sequence_parallel": SequenceParallel(),
    }
    if words in ("replicate", "replicated_with_grad_allreduce", None):
        return None
    if words not in known:
        raise UsageError(
            f"the plan of the model for tp (--parallel) has the style {words!r}, and known are "
            f"{', '.join(known)}: write parallelize(model, mesh) in the model file"
        )
    return known[words]


def _check_heads(model: nn.Module, ranks: int) -> None:
    """Refuses a degree that does not divide the heads of attention.

    Raises:
        UsageError: names both.
    """
    config = getattr(model, "config", None)
    for name in ("num_attention_heads", "num_key_value_heads"):
        heads = getattr(config, name, None)
        if isinstance(heads, int) and heads % ranks:
            raise UsageError(
                f"tp={ranks} (--parallel) does not divide the {heads} heads of the model "
                f"({name}): take a degree that does"
            )
