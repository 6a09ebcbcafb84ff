"""The model of a rank in a pipeline, from the whole model to the stages that run.

In: ModelSource, StepConfig, World, the model. Out: StagedModel. Convention: what shards parameters
and what recomputes activations is put on each block before other ranks' blocks are taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from planner.config.parallel import DataParallel, ParallelConfig
from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.units import counted
from planner.worker.model.checkpointing import checkpoint_activations
from planner.worker.ranks import replicas, sharding, tensor
from planner.worker.ranks.pipeline.chain import Chain
from planner.worker.ranks.pipeline.driver import Pipeline
from planner.worker.ranks.pipeline.split import blocks_of_stages, stages_of
from planner.worker.ranks.pipeline.stage_module import StageModule, direct, stage_modules
from planner.worker.target.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedModel:
    """A model of which this rank has some stages."""

    chain: Chain
    sizes: tuple[int, ...]
    stages: tuple[StageModule, ...]
    device: torch.device


def divided(
    source: ModelSource,
    config: StepConfig,
    parallel: ParallelConfig,
    chain: Chain,
    mesh: Any,
    sharding_mesh: Any,
    model: nn.Module,
    device: torch.device,
) -> tuple[StagedModel, tuple[str, ...]]:
    """Takes from a model without weights what other ranks have; returns the rest and assumptions.

    Raises:
        UsageError: the model cannot be divided so.
    """
    sizes = blocks_of_stages(len(chain.blocks), parallel.stages, parallel.pipeline_options.split)
    said: tuple[str, ...] = _words(parallel, sizes)
    if config.checkpoint_activations or config.checkpoint_blocks is not None:
        notes = checkpoint_activations(model, source.checkpoint, config.checkpoint_blocks)
        said += (*notes.assumptions, *notes.warnings)
    if parallel.tensor > 1:
        said += tensor.divide(model, mesh["tp"], parallel.tensor_options)
    mine = stages_of(parallel, sizes)
    shared = [name for name, slots in chain.users.items() if _stages_with(slots, sizes) > 1]
    if shared:
        said += (
            f"pipeline: {', '.join(shared[:3])}{' ...' if len(shared) > 3 else ''} is kept on each "
            "stage that uses it; nothing adds up its gradients of several stages",
        )
    modules = dict(model.named_modules())
    found = stage_modules(model, chain, mine, device)
    if parallel.data is DataParallel.FSDP:
        dtypes = sharding.dtypes_of(config, parallel.fsdp)
        options = parallel.fsdp
        if options.reshard_after_forward is None:  # as torchtitan: else each micro-batch gathers
            options = replace(options, reshard_after_forward=False)
            said += ("FSDP2 keeps gathered parameters between the micro-batches of a pipeline",)
        for stage in found:
            _check_owned(stage)
            names = chain.blocks[stage.stage.first : stage.stage.last + 1]
            blocks = [modules[name] for name in names]
            said += sharding.shard(stage, sharding_mesh, options, dtypes, blocks)
    staged = StagedModel(chain=chain, sizes=sizes, stages=tuple(found), device=device)
    return staged, tuple(dict.fromkeys(said))


def ready(staged: StagedModel, parallel: ParallelConfig, mesh: Any, model: nn.Module) -> Pipeline:
    """Returns the pipeline of a model that has memory."""
    route = direct(model, staged.chain, tuple(one.stage for one in staged.stages), staged.device)
    called: Sequence[nn.Module] = staged.stages
    if parallel.data is DataParallel.DDP:
        group = mesh["dp_replicate"].get_group()
        called = [replicas.replicated(one, group, parallel.ddp) for one in staged.stages]
    stages = list(zip(staged.stages, called, strict=True))
    return Pipeline(parallel, mesh["pp"], staged.chain, route, stages, staged.sizes)


def _check_owned(stage: StageModule) -> None:
    if len(stage.own):
        raise UsageError(
            "pp with fsdp (--parallel) needs each parameter in a module that is called, and the "
            f"model uses {counted(len(stage.own), 'parameter')} outside of one: take pp with ddp, "
            "or write parallelize(model, mesh) in the model file"
        )


def _stages_with(slots: frozenset[int], sizes: Sequence[int]) -> int:
    """Returns how many stages have one of the slots."""
    found, first = 0, 0
    for size in sizes:
        found += any(first <= slot < first + size for slot in slots)
        first += size
    return found


def _words(parallel: ParallelConfig, sizes: Sequence[int]) -> tuple[str, ...]:
    options = parallel.pipeline_options
    split = (
        "as asked"
        if options.split
        else "evenly, what is before the first and after the last as a block each"
    )
    said = [
        f"pipeline: {' + '.join(map(str, sizes))} blocks on {parallel.pipeline} ranks ({split})",
        "pipeline: each rank gets the batch, and outputs of the last stage are not kept "
        "(return_outputs=False)",
    ]
    if options.microbatches is None:
        said.append(
            f"pipeline: {parallel.microbatches} micro-batches in a step, twice the ranks "
            "(--microbatches)"
        )
    return tuple(said)
