"""The ways to share a step that are compared, each as a program of one rank.

In: a rank of an initialised process group. Out: a function that does one step. Convention: the same
code for every group, but for what PyTorch's fake group cannot do.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from benchmarks.real_ranks.model import Block, Decoder, Sizes, indices, loss_of

Step = Callable[[], None]
SIZES = Sizes()
_MICRO_BATCHES = 4


def is_fake() -> bool:
    """Returns whether this rank is alone, in PyTorch's fake process group."""
    return dist.get_backend() == "fake"


def _training(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Step:
    used = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        used.zero_grad()
        loss_of(model(indices(SIZES)), indices(SIZES)).backward()
        used.step()

    return step


def ddp() -> Step:
    """DistributedDataParallel."""
    return _training(_ddp())


def ddp_unused() -> Step:
    """DistributedDataParallel that looks for unused parameters."""
    return _training(_ddp(find_unused_parameters=True))


def _ddp(**options: Any) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(Decoder(SIZES).cuda(), bucket_cap_mb=4, **options)
    if is_fake():  # its futures hold no tensor, which the reducer expects
        model.register_comm_hook(None, _averaged)
    return model


def _averaged(_state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    buffer = bucket.buffer()
    buffer.div_(dist.get_world_size())
    dist.all_reduce(buffer)
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(buffer)
    return done


def zero1() -> Step:
    """ZeroRedundancyOptimizer over DistributedDataParallel."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = _ddp()
    return _training(model, ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-4))


def fsdp1() -> Step:
    """FullyShardedDataParallel."""
    import functools

    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    wrap = functools.partial(
        FullyShardedDataParallel,
        auto_wrap_policy=ModuleWrapPolicy({Block}),
        device_id=torch.device("cuda", 0),
        use_orig_params=True,
    )
    return _training(wrap(Decoder(SIZES).cuda()))


def fsdp2() -> Step:
    """fully_shard of every block, in bfloat16."""
    return _training(_sharded(Decoder(SIZES), (dist.get_world_size(),), ("shard",)))


def hsdp() -> Step:
    """fully_shard in halves of the ranks, replicated: needs an even number of ranks."""
    half = dist.get_world_size() // 2
    return _training(_sharded(Decoder(SIZES), (2, half), ("replicate", "shard")))


def _sharded(model: nn.Module, shape: tuple[int, ...], names: tuple[str, ...]) -> nn.Module:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh("cuda", shape, mesh_dim_names=names)
    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = model.cuda()
    for part in [module for module in model.modules() if isinstance(module, Block)]:
        fully_shard(part, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    return model


def full_state() -> Step:
    """Steps of `fsdp2`, after each of which the whole state is saved, and loaded from rank 0."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_state_dict,
        set_model_state_dict,
    )

    model = _sharded(Decoder(SIZES), (dist.get_world_size(),), ("shard",))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    train = _training(model, optimizer)
    if dist.get_backend() != "nccl" and dist.get_rank():
        _know_what_rank_0_sends(model)
    to_host = StateDictOptions(full_state_dict=True, cpu_offload=True)
    from_rank_0 = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)

    def step() -> None:
        train()
        torch.cuda.reset_peak_memory_stats()  # the step's own peak is that of `fsdp2`
        saved, _ = get_state_dict(model, optimizer, options=to_host)
        set_model_state_dict(model, saved, options=from_rank_0)

    return step


def _know_what_rank_0_sends(model: nn.Module) -> None:
    """Gives a rank that is alone the sizes of the whole state, which rank 0 sends as an object."""
    from torch.distributed import _state_dict_utils as used

    sizes = {
        name: used._TensorInfo(one.size(), one.dtype) for name, one in model.state_dict().items()
    }

    def broadcast(objects: list[Any], **_: Any) -> None:
        objects[0] = dict(sizes)

    used.dist.broadcast_object_list = broadcast


def context() -> Step:
    """Ring attention whose keys and values are gathered, with FSDP over the same ranks."""
    return _context("allgather")


def context_exchanged() -> Step:
    """Ring attention whose keys and values go from rank to rank."""
    return _context("alltoall")


def _context(rotation: str) -> Step:
    from torch.distributed.tensor.experimental import context_parallel
    from torch.distributed.tensor.experimental._attention import set_rotate_method

    set_rotate_method(rotation)
    ranks = dist.get_world_size()
    mesh = init_device_mesh("cuda", (ranks,), mesh_dim_names=("cp",))
    model = _sharded(Decoder(SIZES), (ranks,), ("shard",))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        batch = [indices(SIZES), indices(SIZES)]
        with context_parallel(
            mesh, buffers=batch, buffer_seq_dims=[1, 1], no_restore_buffers=set(batch)
        ):
            inputs, target = batch
            loss_of(model(inputs), target).backward()
        optimizer.step()

    return step


def tp() -> Step:
    """Tensor parallel: layers of a block by columns and rows."""
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    model = Decoder(SIZES).cuda()
    by_columns = dict.fromkeys(("query", "key", "value", "up"), ColwiseParallel())
    plan = {**by_columns, "out": RowwiseParallel(), "down": RowwiseParallel()}
    for block in model.blocks:
        parallelize_module(block, mesh, plan)
    # Some parameters are no DTensors: AdamW takes them one by one.
    return _training(model, torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=False))


def pipeline() -> Step:
    """1F1B of as many stages as there are ranks; all shapes are given."""
    return _pipeline(are_shapes_given=True)


def pipeline_shapes() -> Step:
    """1F1B whose ranks find the shapes, and send them as objects; the fake group gets them."""
    return _pipeline(are_shapes_given=is_fake())


def _pipeline(*, are_shapes_given: bool) -> Step:
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    rank, ranks = dist.get_rank(), dist.get_world_size()
    first, last = rank * SIZES.depth // ranks, (rank + 1) * SIZES.depth // ranks
    part = Decoder(SIZES, first, last).cuda()
    shapes = _shapes(rank, ranks) if are_shapes_given else {}
    stage = PipelineStage(part, rank, ranks, torch.device("cuda", 0), **shapes)
    if is_fake():
        _keep_what_is_sent()
    schedule = Schedule1F1B(stage, n_microbatches=_MICRO_BATCHES, loss_fn=loss_of)
    optimizer = torch.optim.AdamW(part.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        inputs = (indices(SIZES, _MICRO_BATCHES),) if rank == 0 else ()
        target = indices(SIZES, _MICRO_BATCHES) if rank == ranks - 1 else None
        schedule.step(*inputs, target=target, return_outputs=False)
        optimizer.step()

    return step


def planned(words: str) -> Callable[[], Step]:
    """Returns the program of a pipeline that the product makes of the whole decoder."""

    def program() -> Step:
        return _planned(words)

    return program


def _planned(words: str) -> Step:
    from planner.config.parse import step_config
    from planner.worker.drive.loop import StepPlan, train
    from planner.worker.drive.loss import DefaultLoss
    from planner.worker.model import meta
    from planner.worker.ranks.communication import CommunicationLog
    from planner.worker.ranks.pipeline.staged import ready
    from planner.worker.ranks.pipeline.votes import take_own_votes
    from planner.worker.ranks.plan import rehearsal, shape
    from planner.worker.ranks.world import World
    from planner.worker.target.source import ModelSource

    rank, ranks = dist.get_rank(), dist.get_world_size()
    sizes = SIZES if words in ("1f1b", "gpipe") else replace(SIZES, depth=2 * ranks)
    config = step_config(
        {
            "batch_size": SIZES.batch, "num_gpus": ranks, "parallel": f"pp={ranks},{words}",
            "microbatches": max(_MICRO_BATCHES, ranks),
        }
    )  # fmt: skip
    assert config.parallel is not None
    config = replace(config, steps=1, parallel=replace(config.parallel, rank=rank))
    device = torch.device("cuda", 0)
    source = ModelSource(
        build_model=lambda: Decoder(sizes),
        build_batch=lambda _: torch.zeros(SIZES.batch, SIZES.sequence, dtype=torch.int64),
        training_step=lambda model, batch: loss_of(model(batch), batch),
    )
    if dist.get_backend() != "nccl":
        take_own_votes()
    world = World(
        config=config.parallel,
        mesh=init_device_mesh("cuda", (ranks,), mesh_dim_names=("pp",)),
        log=CommunicationLog(),
        chain=rehearsal(source, config, device),
    )
    model, _ = shape(source, config, world, device, Decoder(sizes))
    meta.to_device(model, device)
    pipeline = ready(world.staged[0], config.parallel, world.mesh, model)
    plan = StepPlan(
        model=model,
        make_batch=lambda: indices(SIZES),
        config=config,
        device=device,
        required_inputs=1,
        autocast=nullcontext,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-4),
        training_step=source.training_step,
        pipeline=pipeline,
    )
    return lambda: train(plan, DefaultLoss(), lambda _: None)


class _Works(list[Any]):
    """Works that keep their tensors, as NCCL's do until they are dropped; fake ones have none."""

    tensors: tuple[torch.Tensor, ...] = ()


def _keep_what_is_sent() -> None:
    from torch.distributed.pipelining import schedules

    exchange = schedules._batch_p2p

    def keeping(operations: list[Any], desc: str | None = None) -> list[Any]:
        works = _Works(exchange(operations, desc))
        works.tensors = tuple(operation.tensor for operation in operations)
        return works

    schedules._batch_p2p = keeping


def _shapes(rank: int, ranks: int) -> dict[str, Any]:
    """Returns what a stage gets and gives, as tensors without memory."""
    rows = (SIZES.batch, SIZES.sequence)
    words = torch.empty(rows, dtype=torch.int64, device="meta")
    hidden = torch.empty(*rows, SIZES.width, device="meta", requires_grad=True)
    logits = torch.empty(*rows, SIZES.words, device="meta", requires_grad=True)
    return {
        "input_args": (words if rank == 0 else hidden,),
        "output_args": (logits if rank == ranks - 1 else hidden,),
    }


def deepspeed_zero(stage: int) -> Callable[[], Step]:
    """Returns the program of DeepSpeed's ZeRO at a stage, in bfloat16, with buckets of 4 MiB."""

    def program() -> Step:
        import os

        os.environ["LOCAL_RANK"] = "0"
        import deepspeed

        config = {
            "train_micro_batch_size_per_gpu": SIZES.batch,
            "bf16": {"enabled": True},
            "zero_optimization": {"stage": stage, "reduce_bucket_size": 1 << 21},
        }
        model = Decoder(SIZES)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)

        def step() -> None:
            engine.backward(loss_of(engine(indices(SIZES)), indices(SIZES)))
            engine.step()

        return step

    return program


PROGRAMS: dict[str, Callable[[], Step]] = {
    "fsdp2": fsdp2,
    "hsdp": hsdp,
    "fsdp1": fsdp1,
    "ddp": ddp,
    "ddp-unused": ddp_unused,
    "zero1": zero1,
    "full-state": full_state,
    "cp": context,
    "cp-alltoall": context_exchanged,
    "tp": tp,
    "pp": pipeline,
    "pp-shapes": pipeline_shapes,
    "pp-1f1b": planned("1f1b"),
    "pp-gpipe": planned("gpipe"),
    "pp-interleaved": planned("interleaved"),
    "pp-zb": planned("zb"),
    "pp-zbv": planned("zbv"),
    "deepspeed-zero1": deepspeed_zero(1),
    "deepspeed-zero2": deepspeed_zero(2),
    "deepspeed-zero3": deepspeed_zero(3),
}
