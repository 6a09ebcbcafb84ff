"""Spreads a model over the ranks: by its file's own parallelize(model, mesh), else by a usual plan.

In: ModelSource, StepConfig, World, the model. Out: the model of this rank. Convention: what shards
parameters comes before they have memory, and what copies them after it, as in torchtitan and in
PyTorch's tutorials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from planner.config.parallel import (
    DataParallel,
    DdpOptions,
    FsdpOptions,
    ParallelConfig,
    PipelineOptions,
    TensorOptions,
)
from planner.config.step import DataDependent, Mode, StepConfig
from planner.errors import ModelError, UsageError
from planner.worker.drive import lightning
from planner.worker.drive.loop import StepPlan
from planner.worker.ranks import experts, replicas, sharding, tensor
from planner.worker.ranks.context import DividedBatches
from planner.worker.ranks.pipeline.chain import Chain
from planner.worker.ranks.world import World
from planner.worker.target.frames import first_line, text_of, user_frames
from planner.worker.target.source import ModelSource

_REPLICATED = (DataParallel.DDP, DataParallel.ZERO1)
_EACH_MICRO_BATCH = (
    "gradients are reduced among the GPUs in each micro-batch, as without no_sync(): a loop that "
    "has it sends less, and FSDP then keeps whole gradients",
)
_OF_NAMES = "mesh_dim_names"  # in torch's errors on them
_OWN = "the model file's own parallelize(model, mesh)"


def check(source: ModelSource, config: StepConfig, model: nn.Module) -> None:
    """Refuses what has not been proven on several ranks.

    Raises:
        UsageError: names the option, and what to do.
    """
    if config.mode is not Mode.TRAIN:
        raise UsageError(
            "several GPUs (--num-gpus) are planned for a training step, and mode is infer: leave "
            "one of the two out"
        )
    if lightning.is_module(model) and source.training_step is None:
        raise UsageError(
            "several GPUs (--num-gpus) and a LightningModule: its Trainer chooses the strategy; "
            "give the model file a training_step(model, batch)"
        )
    parallel = config.parallel
    assert parallel is not None, "the job has several ranks"
    knobs = (
        parallel.fsdp,
        parallel.ddp,
        parallel.tensor_options,
        replace(parallel.pipeline_options, schedule=PipelineOptions().schedule),
    )
    usual = (FsdpOptions(), DdpOptions(), TensorOptions(), PipelineOptions())
    if source.parallelize is not None and knobs != usual:
        raise UsageError(
            "a parallel argument was given (--parallel-arg, --microbatches), and "
            "parallelize(model, mesh) of the model file spreads the model: set it there, or leave "
            "one of the two out"
        )
    if parallel.pipeline > 1 and config.accumulate > 1:
        raise UsageError(
            f"--accumulate {config.accumulate} and pp (--parallel): a pipeline accumulates over "
            f"its micro-batches; take --microbatches {config.accumulate * parallel.microbatches}"
        )
    others = {
        "--offload": bool(config.offload),
        "--optimizer-in-backward": config.optimizer_in_backward,
        "--chunked-loss": config.chunked_loss is not None,
        "--ema": config.ema is not None,
        "--compile": config.compiles,
    }
    for option, is_given in others.items():
        if is_given:
            raise UsageError(
                f"{option} and several GPUs (--num-gpus) cannot be planned together yet: leave one "
                "of the two out"
            )


def rehearsal(source: ModelSource, config: StepConfig, device: torch.device) -> Chain | None:
    """Returns the way of a micro-batch through the model; None: the job has no pipeline of ours.

    To be called before a run is watched: it takes memory of the card and gives it back.

    Raises:
        UsageError: the model has no chain of blocks that can be cut.
        ModelError: its code failed.
    """
    parallel = config.parallel
    if parallel is None or parallel.pipeline == 1 or source.parallelize is not None:
        return None
    from planner.worker.ranks.pipeline.rehearsal import rehearsed

    return rehearsed(source, config, device)


def shape(
    source: ModelSource,
    config: StepConfig,
    world: World,
    device: torch.device,
    model: nn.Module,
) -> tuple[nn.Module, tuple[str, ...]]:
    """Shards a model before it has memory; returns it, and what was assumed.

    Raises:
        UsageError: the model has no plan for the strategy, or an option does not go with it.
        ModelError: parallelize returned something else than a model.
    """
    check(source, config, model)
    parallel = world.config
    if parallel.experts > 1:
        world.log.most_to_this_rank = config.data_dependent is DataDependent.MOST
    if source.parallelize is not None:
        if parallel.data in _REPLICATED:
            return model, ()  # after it has memory
        return _users(source, world, model), (_OWN,)
    if world.chain is not None:
        from planner.worker.ranks.pipeline.staged import divided

        of_shards = world.sharding_mesh() if parallel.data is DataParallel.FSDP else None
        staged, said = divided(
            source, config, parallel, world.chain, world.mesh, of_shards, model, device
        )
        world.staged.append(staged)
        return model, said
    said = ()
    if parallel.tensor > 1:
        said += tensor.divide(model, world.dimension("tp"), parallel.tensor_options)
    if parallel.data is DataParallel.FSDP:
        dtypes = sharding.dtypes_of(config, parallel.fsdp)
        if parallel.experts > 1:
            said += experts.deal_out(model, world.mesh, parallel.fsdp, dtypes)
        said += sharding.shard(model, world.sharding_mesh(), parallel.fsdp, dtypes)
        world.log.units = sharding.unit_names(model)
    return model, said


def wrapped(
    source: ModelSource, config: StepConfig, world: World, model: nn.Module
) -> tuple[nn.Module, tuple[str, ...]]:
    """Wraps a model that has memory; returns the module to call, and what was assumed.

    Raises:
        ModelError: nothing is trainable; parallelize returned something else than a model.
    """
    parallel = world.config
    if world.staged:
        return model, ()  # its stages are wrapped
    if parallel.data not in _REPLICATED:
        return model, _EACH_MICRO_BATCH if config.accumulate > 1 else ()
    if source.parallelize is not None:
        return _users(source, world, model), (_OWN,)
    group = world.dimension("dp_replicate").get_group()
    said = _EACH_MICRO_BATCH if config.accumulate > 1 else ()
    return replicas.replicated(model, group, parallel.ddp), said


def optimizer_of(world: World, optimizer: Any) -> Any:
    """Returns the optimizer of this rank."""
    if world.config.data is not DataParallel.ZERO1 or optimizer is None:
        return optimizer
    return replicas.dealt_out(optimizer, world.dimension("dp_replicate").get_group())


def loads_of(world: World, optimizer: Any) -> tuple[int, ...]:
    """Returns the elements of which each rank keeps the state, where ranks differ; else none."""
    if world.config.data is not DataParallel.ZERO1 or optimizer is None:
        return ()
    return replicas.state_elements(optimizer)


def of_a_rank(plan: StepPlan, source: ModelSource, world: World) -> StepPlan:
    """Returns the plan of this rank: its batches, its contexts.

    FSDP's policy takes the place of autocast; with a file's own plan autocast is as the precision
    says.
    """
    parallel, make_batch = world.config, plan.make_batch
    if parallel.context > 1:
        make_batch = DividedBatches(make_batch, world.dimension("cp"), plan.config)
    pipeline = None
    if world.staged:
        from planner.worker.ranks.pipeline.staged import ready

        pipeline = ready(world.staged[0], parallel, world.mesh, plan.model)
    casts_itself = source.parallelize is None and parallel.data is DataParallel.FSDP
    return replace(
        plan,
        make_batch=make_batch,
        pipeline=pipeline,
        autocast=nullcontext if casts_itself else plan.autocast,
        around=partial(_around_steps, parallel, make_batch),
    )


@contextmanager
def _around_steps(parallel: ParallelConfig, make_batch: Callable[[], Any]) -> Iterator[None]:
    """Is the context of all training steps."""
    with ExitStack() as entered:
        if isinstance(make_batch, DividedBatches):
            entered.callback(make_batch.close)
        if parallel.tensor > 1:
            tensor.enter(entered, parallel)
        yield


def _unnamed(error: Exception, world: World) -> str:
    """Returns what to write where a dimension of a mesh was asked for by a name it has not."""
    names = [name for name, _ in world.config.dimensions]
    listed = ", ".join(f'mesh["{name}"]' for name in names)
    return (
        f"parallelize(model, mesh) asked a mesh for a dimension by a name ({first_line(error)}): "
        f"the mesh that it is given has {listed}; a mesh of its own needs names, like "
        f'init_device_mesh("cuda", ({world.config.gpus},), mesh_dim_names=("{names[0]}",))'
    )


def check_messages(source: ModelSource, world: World) -> None:
    """Refuses a job whose ranks have sent each other nothing: each would train a model of its own.

    Raises:
        ModelError: says what to write.
    """
    parallel = world.config
    if parallel.gpus == 1 or any(group.ranks > 1 for group in world.log.used):
        return
    plan = (
        "parallelize(model, mesh) of the model file shares nothing"
        if source.parallelize is not None
        else f"the plan of {parallel.words} shares nothing"
    )
    raise ModelError(
        f"{parallel.gpus} GPUs were asked for (--num-gpus), and in no step did they send anything: "
        f"{plan}, so that each GPU trains a model of its own. Call fully_shard(...) or "
        "parallelize_module(...) in it, or return DistributedDataParallel(model)"
    )


def _users(source: ModelSource, world: World, model: nn.Module) -> nn.Module:
    assert source.parallelize is not None, "the caller has asked"
    try:
        found = source.parallelize(model, world.mesh)
    except (KeyError, RuntimeError) as error:
        if _OF_NAMES not in text_of(error):
            raise
        raise ModelError(_unnamed(error, world), user_frames(error)) from error
    if found is None:
        return model
    if not isinstance(found, nn.Module):
        raise ModelError(
            f"parallelize(model, mesh) returned a {type(found).__name__}; return the model, or "
            "nothing where it was changed in place"
        )
    return found
