"""Model file of torchtitan's runs of 2024: Llama 2 and 3 on several GPUs, one rank of them.

This file repeats the published runs from the sources of their dates: rotary embedding in complex64
from float32 copies, repeated keys and values, RMSNorm in float32 by hand or fused, logits in
float32, AdamW that goes over all parameters at once, gradients clipped at 1. Three dates of the
loop differ: up to May 2024 the logits live until the next forward has ended; from June on they are
freed before backward; in December they are bfloat16 and the loss takes a copy in float32. All are
cast, and the norm is computed, as there. `parallelize` has its plans: FSDP2, FSDP1 (up to March
2024), and tensor with sequence parallelism along folded samples (March 2024). Up to June 2024 FSDP2
took the input of a reduce-scatter in a stream of its own, since then in the default one.

Attention by cuDNN is off: torch of the time preferred its flash kernel, which alone is on the
list of what selective checkpointing keeps. Source: https://github.com/pytorch/torchtitan at
83c879f (March), 0413364 (April), 64d47fd (June), 9dec370 (December).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The sizes of a decoder."""

    width: int
    hidden: int
    depth: int
    heads: int
    kv_heads: int
    vocabulary: int


SIZES = {
    "llama-2-7b": Size(width=4096, hidden=11008, depth=32, heads=32, kv_heads=32, vocabulary=32000),
    "llama-2-13b": Size(
        width=5120, hidden=13824, depth=40, heads=40, kv_heads=40, vocabulary=32000
    ),
    "llama-2-70b": Size(width=8192, hidden=28672, depth=80, heads=64, kv_heads=8, vocabulary=32000),
    "llama-3-8b": Size(width=4096, hidden=14336, depth=32, heads=32, kv_heads=8, vocabulary=128256),
    "llama-3-70b": Size(
        width=8192, hidden=28672, depth=80, heads=64, kv_heads=8, vocabulary=128256
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Habits of the training loop that moved between the dates of the runs."""

    casts_in_model: bool  # logits are float32 as soon as they exist
    keeps_logits: bool  # through backward, and until the next forward has ended
    positions: int | None = None  # of the rotary table; None: twice the sequence
    saves_reduce_scatter: bool = True  # of tensor parallelism, in selective checkpointing
    records_streams: bool = False  # c10d calls record_stream for tensors of async collectives


LOOPS = {
    # The policy of March names the collective of an older torch, which DTensor did not use.
    "2024-03": Loop(
        casts_in_model=True,
        keeps_logits=True,
        positions=65536,
        saves_reduce_scatter=False,
        records_streams=True,
    ),
    "2024-04": Loop(casts_in_model=True, keeps_logits=True),
    "2024-06": Loop(casts_in_model=True, keeps_logits=False),
    "2024-12": Loop(casts_in_model=False, keeps_logits=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the functions of a model file are not told by planner."""

    vocabulary: int
    sequence: int
    loop: Loop
    checkpointing: str
    sharding: str
    reduces_apart: bool


_run: Run
_held: dict[str, Any] = {}  # what the loop's variables keep alive


class NormByHand(nn.Module):
    """RMSNorm over float32 copies, operator by operator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON)
        return (wide * scale).type_as(x) * self.weight


def norm_of(kind: str, width: int) -> nn.Module:
    """Builds the norm `by hand`, or the `fused` one, whose kernel keeps its input alone."""
    return NormByHand(width) if kind == "by hand" else nn.RMSNorm(width, eps=EPSILON)


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Turns pairs of (samples, tokens, heads, width) by the angle of their position."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * angles[None, :, None]).flatten(3).type_as(x)


class Attention(nn.Module):
    """Causal attention over folded tokens, (samples * tokens, width)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head_width = size.width // size.heads
        self.groups = size.heads // size.kv_heads
        kv_width = size.kv_heads * self.head_width
        self.wq = nn.Linear(size.width, size.width, bias=False)
        self.wk = nn.Linear(size.width, kv_width, bias=False)
        self.wv = nn.Linear(size.width, kv_width, bias=False)
        self.wo = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        tokens = angles.shape[0]
        query, key, value = (
            layer(x).view(x.shape[0] // tokens, tokens, -1, self.head_width)
            for layer in (self.wq, self.wk, self.wv)
        )
        query, key = rotated(query, angles), rotated(key, angles)
        key, value = (self._repeated(one) for one in (key, value))
        mixed = functional.scaled_dot_product_attention(
            *(one.transpose(1, 2) for one in (query, key, value)), is_causal=True
        )
        result: Tensor = self.wo(mixed.transpose(1, 2).contiguous().view(x.shape[0], -1))
        return result

    def _repeated(self, x: Tensor) -> Tensor:
        if self.groups == 1:
            return x
        return x[:, :, :, None].expand(-1, -1, -1, self.groups, -1).flatten(2, 3)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.w1 = nn.Linear(size.width, size.hidden, bias=False)
        self.w2 = nn.Linear(size.hidden, size.width, bias=False)
        self.w3 = nn.Linear(size.width, size.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.w2(functional.silu(self.w1(x)) * self.w3(x))
        return result


class Block(nn.Module):
    """Attention and SwiGLU, each behind a norm and around a shortcut."""

    def __init__(self, size: Size, norm: str) -> None:
        super().__init__()
        self.attention_norm = norm_of(norm, size.width)
        self.attention = Attention(size)
        self.ffn_norm = norm_of(norm, size.width)
        self.feed_forward = FeedForward(size)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), angles)
        result: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return result


class Llama(nn.Module):
    """Token ids (samples, tokens) to logits (samples * tokens, vocabulary)."""

    def __init__(self, size: Size, norm: str, positions: int, casts: bool) -> None:
        super().__init__()
        self.casts = casts
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.layers = nn.ModuleList(Block(size, norm) for _ in range(size.depth))
        self.norm = norm_of(norm, size.width)
        self.output = nn.Linear(size.width, size.vocabulary, bias=False)
        self.register_buffer("angles", angles_of(size.width // size.heads, positions))

    def forward(self, ids: Tensor) -> Tensor:
        angles = self.angles[: ids.shape[1]]
        x = self.tokens(ids).flatten(0, 1)
        for layer in self.layers:
            x = layer(x, angles)
        logits: Tensor = self.output(self.norm(x))
        return logits.float() if self.casts else logits


def angles_of(head_width: int, positions: int) -> Tensor:
    """Returns the rotary table, complex64, (positions, head width / 2)."""
    rates = 1.0 / 10000.0 ** (torch.arange(0, head_width, 2).float() / head_width)
    turned = torch.outer(torch.arange(positions).float(), rates)
    return torch.polar(torch.ones_like(turned), turned)


def build_model(
    name: str,
    loop: str,
    norm: str,
    checkpointing: str,
    sharding: str,
    reduces_apart: bool,
    sequence_length: int,
) -> nn.Module:
    """Builds the decoder.

    `checkpointing` is none, full, op, or N for each Nth block; `reduces_apart`: FSDP2 takes the
    input of a reduce-scatter in the stream of that.
    """
    global _run
    torch.backends.cuda.enable_cudnn_sdp(False)
    size, habits = SIZES[name], LOOPS[loop]
    _run = Run(
        vocabulary=size.vocabulary,
        sequence=sequence_length,
        loop=habits,
        checkpointing=checkpointing,
        sharding=sharding,
        reduces_apart=reduces_apart,
    )
    positions = habits.positions or 2 * sequence_length
    return Llama(size, norm, positions, habits.casts_in_model).train()


def build_batch(batch_size: int) -> tuple[Tensor, Tensor]:
    """Draws token ids and labels."""
    shape = (batch_size, _run.sequence)
    return torch.randint(0, _run.vocabulary, shape), torch.randint(0, _run.vocabulary, shape)


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds torchtitan's AdamW."""
    return torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, foreach=True)


def training_step(
    model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer
) -> Tensor:
    """Does one step of the loop; its variables hold the logits and the loss as there."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    ids, labels = batch
    optimizer.zero_grad()
    _held["logits"] = model(ids)
    with _loss_context(_held["logits"]):
        logits = _held["logits"] if _run.loop.casts_in_model else _held["logits"].float()
        _held["loss"] = functional.cross_entropy(logits, labels.flatten(0, 1))
        del logits
        if not _run.loop.keeps_logits:
            del _held["logits"]
        _held["loss"].backward()
    if isinstance(model, FullyShardedDataParallel):
        model.clip_grad_norm_(1.0)
    else:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
    optimizer.step()
    loss: Tensor = _held["loss"]
    return loss


def parallelize(model: Llama, mesh: Any) -> nn.Module:
    """Spreads the model over the ranks as torchtitan did."""
    if "tp" in mesh.mesh_dim_names:
        divide(model, mesh["tp"])
        if _run.loop.records_streams:
            record_streams_of_collectives()
    for number, block in enumerate(model.layers):
        model.layers[number] = checkpointed(block, number)
    shards = mesh["dp_shard"]
    return shard_by_fsdp1(model, shards) if _run.sharding == "FSDP1" else shard(model, shards)


def checkpointed(block: nn.Module, number: int) -> nn.Module:
    """Wraps a block as the run was checkpointed."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    kind = _run.checkpointing
    if kind == "op":
        return checkpoint_wrapper(block, context_fn=selective, preserve_rng_state=False)
    if kind == "full" or (kind.isdigit() and (number + 1) % int(kind) == 0):
        return checkpoint_wrapper(block, preserve_rng_state=False)
    return block


def selective() -> Any:
    """Makes the contexts of a block: attention and each other matrix product are kept."""
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    aten = torch.ops.aten
    kept = {
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_flash_attention.default,
    }
    if _run.loop.saves_reduce_scatter:
        kept.add(torch.ops._c10d_functional.reduce_scatter_tensor.default)
    products: Counter[bool] = Counter()

    def policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        is_kept = operator in kept
        if operator == aten.mm.default:
            products[context.is_recompute] += 1
            is_kept = products[context.is_recompute] % 2 == 1
        return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def shard(model: Llama, mesh: Any) -> nn.Module:
    """Shards by FSDP2: each block, then the rest; the last block stays whole after forward."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    last = len(model.layers) - 1
    for number, block in enumerate(model.layers):
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=number < last)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    if _run.reduces_apart:
        for module in (*model.layers, model):
            module.set_custom_reduce_scatter(reduce_scatter_apart(model))
    return model


def reduce_scatter_apart(model: Any) -> Any:
    """Returns FSDP2's reduce-scatter with all its memory in its own stream, as it once was."""
    from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultReduceScatter

    class Apart(DefaultReduceScatter):
        def allocate(self, *size: Any, **given: Any) -> Tensor:
            with torch.cuda.stream(model._get_fsdp_state()._comm_ctx.reduce_scatter_stream):
                taken: Tensor = super().allocate(*size, **given)
            return taken

    return Apart()


def shard_by_fsdp1(model: Llama, mesh: Any) -> nn.Module:
    """Shards by FSDP1: each block, then the rest."""
    from torch.distributed.fsdp import (
        BackwardPrefetch,
        FullyShardedDataParallel,
        MixedPrecision,
        ShardingStrategy,
    )

    def wrapped(module: nn.Module) -> nn.Module:
        return FullyShardedDataParallel(
            module,
            device_mesh=mesh,
            sharding_strategy=ShardingStrategy.FULL_SHARD,
            mixed_precision=MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
            backward_prefetch=BackwardPrefetch.BACKWARD_PRE,
            use_orig_params=True,
            param_init_fn=placed,
        )

    for number, block in enumerate(model.layers):
        model.layers[number] = wrapped(block)
    return wrapped(model)


def placed(module: nn.Module) -> None:
    """Gives the module's own parameters memory on the card."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cuda")))


def divide(model: Llama, mesh: Any) -> None:
    """Divides matrices over `mesh`, and norms along the folded tokens; logits stay divided."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        RowwiseParallel,
        SequenceParallel,
        parallelize_module,
    )

    logits = ColwiseParallel(
        input_layouts=Shard(0), output_layouts=Shard(-1), use_local_output=False
    )
    root = {
        "tokens": RowwiseParallel(input_layouts=Replicate()),
        "layers.0": PrepareModuleInput(
            input_layouts=(Replicate(), None),
            desired_input_layouts=(Shard(0), None),
            use_local_output=True,
        ),
        "norm": SequenceParallel(sequence_dim=0),
        "output": logits,
    }
    parallelize_module(model, mesh, root)
    for block in model.layers:
        plan: dict[str, Any] = {
            "attention_norm": SequenceParallel(sequence_dim=0),
            "attention": _gathered(PrepareModuleInput, Shard(0), Replicate(), None),
            "attention.wo": RowwiseParallel(output_layouts=Shard(0)),
            "ffn_norm": SequenceParallel(sequence_dim=0),
            "feed_forward": _gathered(PrepareModuleInput, Shard(0), Replicate()),
            "feed_forward.w2": RowwiseParallel(output_layouts=Shard(0)),
        }
        for name in ("attention.wq", "attention.wk", "attention.wv"):
            plan[name] = ColwiseParallel()
        for name in ("feed_forward.w1", "feed_forward.w3"):
            plan[name] = ColwiseParallel()
        parallelize_module(block, mesh, plan)


def record_streams_of_collectives() -> None:
    """Lets collectives of DTensor call record_stream, as ProcessGroupNCCL did before torch 2.8.

    Such a collective is started with async_op=True. Its input and its output then come back to the
    allocator only when the card has passed the point at which they were freed.
    """
    from torch.distributed import _functional_collectives as collectives

    stream = torch.cuda.Stream()

    def recording(collective: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def recorded(one: Tensor, *given: Any, **named: Any) -> Tensor:
            result = collective(one, *given, **named)
            for tensor in (one, result):
                getattr(tensor, "elem", tensor).record_stream(stream)
            return result

        return recorded

    for name in ("all_reduce", "all_gather_single", "reduce_scatter_single"):
        setattr(collectives, name, recording(getattr(collectives, name)))


def _gathered(style: Callable[..., Any], divided: Any, whole: Any, *others: None) -> Any:
    return style(input_layouts=(divided, *others), desired_input_layouts=(whole, *others))


def _loss_context(logits: Tensor) -> Any:
    """Returns the context in which the loss of divided logits is computed by parts."""
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor.parallel import loss_parallel

    return loss_parallel() if isinstance(logits, DTensor) else nullcontext()
