"""Runs one rank of a case on the emulated card, in this process; as a program, for __main__.py.

In: on stdin the libraries of the device, the card's profile, the name of a case. Out: on stdout
the peaks of its last step in bytes, and whether the allocator waited for events. Facts, read in
torchtitan of spring 2024 (torchtrain/parallelisms/parallelize_llama.py, train.py): parameters and
AdamW in float32, products in bfloat16, gradients reduced in float32, a block with its checkpoint is
a unit of FSDP; logits live until the next ones; the loss is read by the host after each step. In
llama-recipes of 2023 (llama_finetuning.py): all in bfloat16, adapters are units of their own.
Convention: the process group is fake, and collectives do nothing.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.lag.cases import CASES, Case, Checkpointing, Sharding
from planner.worker.engines import emulation

_STEPS = 3


def main() -> None:
    """Runs the case; see the module's text."""
    given = json.load(sys.stdin)
    emulation.load(given["libraries"])
    emulation.configure(given["profile"])
    import torch

    emulation.configure(emulation.settle_architecture(given["profile"])[0])
    emulation.count_one_card()
    (case,) = [case for case in CASES if case.name == given["case"]]
    # On an H100 torch of today takes cuDNN's attention, and the published runs had the flash one.
    torch.backends.cuda.enable_cudnn_sdp(False)
    found = peaks(case)
    is_pending = "events-pending" in emulation.notes()
    print(json.dumps({**found, "events_pending": is_pending}), flush=True)
    os._exit(0)  # the threads of torch.distributed outlive main


def peaks(case: Case) -> dict[str, int]:
    """Returns the peaks of the last step in bytes: allocated, active, reserved."""
    import torch
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=case.ranks, store=FakeStore())
    model = _sharded(case)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    logits = None
    for _ in range(_STEPS):
        torch.cuda.reset_peak_memory_stats()
        shape = (2, case.batch, case.sequence)
        ids, labels = torch.zeros(shape, dtype=torch.int64).cuda()
        optimizer.zero_grad()
        logits = model(ids)
        loss = _loss(case, logits, labels)
        loss.backward()
        if not case.is_lora:
            _clip(case, model)
        optimizer.step()
        loss.item()
    stats = torch.cuda.memory_stats()
    return {name: stats[f"{name}_bytes.all.peak"] for name in ("allocated", "active", "reserved")}


def _loss(case: Case, logits: Any, labels: Any) -> Any:
    from torch.nn import functional

    if case.is_lora:  # as transformers: each token is compared with the next
        logits, labels = logits[:, :-1].contiguous(), labels[:, 1:].contiguous()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1))


def _clip(case: Case, model: Any) -> None:
    import torch

    if case.sharding is Sharding.FSDP1:
        model.clip_grad_norm_(1.0)
    else:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def _sharded(case: Case) -> Any:
    import torch

    from benchmarks.lag.llama import Llama

    with torch.device("meta"):
        model = Llama(case.sequence, case.is_lora)
    if case.is_lora:
        model.to(torch.bfloat16)
        model.angles = torch.empty_like(model.angles, dtype=torch.complex64)
    return _fsdp1(case, model) if case.sharding is Sharding.FSDP1 else _fsdp2(case, model)


def _fsdp1(case: Case, model: Any) -> Any:
    import torch
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        apply_activation_checkpointing,
    )
    from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision
    from torch.distributed.fsdp.wrap import CustomPolicy

    from benchmarks.lag.llama import Block

    precision = MixedPrecision(torch.bfloat16, torch.float32)
    sharded = FullyShardedDataParallel(
        model,
        auto_wrap_policy=CustomPolicy(functools.partial(_is_unit, is_lora=case.is_lora)),
        mixed_precision=None if case.is_lora else precision,
        device_id=torch.device("cuda", 0),
        param_init_fn=lambda module: module.to_empty(device="cuda", recurse=False),
        use_orig_params=not case.is_lora,
        limit_all_gathers=case.limits_all_gathers,
    )
    apply_activation_checkpointing(
        sharded,
        checkpoint_wrapper_fn=_checkpointing(case.checkpointing),
        check_fn=lambda module: isinstance(module, Block),
    )
    return sharded


def _is_unit(module: Any, *, is_lora: bool) -> bool:
    from benchmarks.lag.llama import Block

    if isinstance(module, Block):
        return True
    is_leaf = not any(True for _ in module.children())
    weight = getattr(module, "weight", None)
    return is_lora and is_leaf and weight is not None and weight.requires_grad


def _fsdp2(case: Case, model: Any) -> Any:
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    wrapped = _checkpointing(case.checkpointing)
    for index, block in enumerate(model.blocks):
        model.blocks[index] = fully_shard(wrapped(block), mp_policy=precision)
    return fully_shard(model, mp_policy=precision).to_empty(device="cuda")


def _checkpointing(kind: Checkpointing) -> Callable[[Any], Any]:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    options: dict[str, Any] = {"preserve_rng_state": False}
    if kind is Checkpointing.SELECTIVE:
        options["context_fn"] = _saves_every_second_product
    return functools.partial(checkpoint_wrapper, **options)


def _saves_every_second_product() -> Any:
    """Makes the contexts of a checkpoint that keeps attention and every second product."""
    import torch
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    operators = torch.ops.aten
    product = operators.mm.default
    kept = (
        operators._scaled_dot_product_efficient_attention.default,
        operators._scaled_dot_product_flash_attention.default,
    )
    counts = {True: 0, False: 0}

    def policy(context: Any, operator: Any, *_: Any, **__: Any) -> Any:
        if operator is product:
            counts[context.is_recompute] += 1
            keeps = counts[context.is_recompute] % 2 == 1
        else:
            keeps = operator in kept
        return CheckpointPolicy.MUST_SAVE if keeps else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


if __name__ == "__main__":
    main()
