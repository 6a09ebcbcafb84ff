"""Writes a spread as code: a function parallelize(model, mesh), and the command that starts it.

In: the spread, the units of FSDP that a run has named, the step. Out: lines of Python. Convention:
the code does what the worker's own plan does (worker/ranks), so that a model file with it has the
same bytes; with FSDP's policy in it, autocast is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.config.parallel import DataParallel
from planner.config.step import Precision, StepConfig
from planner.estimation.spread.spreads import Spread

_TORCH = {"bf16": "torch.bfloat16", "fp32": "torch.float32"}
_STYLES = """\
    styles = {
        "colwise": ColwiseParallel(),
        "rowwise": RowwiseParallel(),
        "colwise_rep": ColwiseParallel(output_layouts=Replicate()),
        "colwise_gather_output": ColwiseParallel(output_layouts=Replicate()),
        "embedding_rowwise": RowwiseParallel(input_layouts=Replicate()),
        "sequence_parallel": SequenceParallel(),
    }
    words = getattr(model, "tp_plan", None) or model._tp_plan
    plan = {name: styles[word] for name, word in words.items() if word in styles}
    places = {}  # of parameters that several modules share
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            places.setdefault(parameter, []).append((module, name))
    parallelize_module(model, mesh["tp"], plan)
    for (owner, name), *others in places.values():
        for other, other_name in others:
            setattr(other, other_name, getattr(owner, name))"""

_OVER_SHARDS = """\
shards = [torch.nn.Parameter(p.detach().to_local()) for p in model.parameters()]
optimizer = bitsandbytes.optim.AdamW8bit(shards)  # it takes no DTensors
for shard, whole in zip(shards, model.parameters()):  # before each optimizer.step()
    shard.data, shard.grad = whole.detach().to_local(), whole.grad.to_local()
optimizer.zero_grad(), model.zero_grad()  # after it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCode:
    """Lines of `parallelize`, and whether it has FSDP's policy in the place of autocast."""

    lines: tuple[str, ...]
    replaces_autocast: bool


def plan_code(spread: Spread, units: Sequence[str], config: StepConfig) -> PlanCode:
    """Returns the function for a model file; no lines on one GPU."""
    if spread.gpus == 1:
        return PlanCode(lines=(), replaces_autocast=False)
    is_sharded = spread.data is DataParallel.FSDP
    has_policy = is_sharded and config.precision is Precision.AMP_BF16
    lines = [*_imports(spread, has_policy=has_policy), "", "", "def parallelize(model, mesh):"]
    if spread.tensor > 1:
        lines += _STYLES.splitlines()
    if is_sharded:
        lines += _sharding(spread, units, has_policy=has_policy)
    elif spread.data in (DataParallel.DDP, DataParallel.ZERO1):
        group = 'mesh["dp_replicate"].get_group()'
        lines.append(f"    return DistributedDataParallel(model, process_group={group})")
    return PlanCode(lines=tuple(lines), replaces_autocast=has_policy)


def _imports(spread: Spread, *, has_policy: bool) -> Iterator[str]:
    if has_policy:
        yield "import torch"
    if spread.data is DataParallel.FSDP:
        names = ["MixedPrecisionPolicy"] if has_policy else []
        yield f"from torch.distributed.fsdp import {', '.join([*names, 'fully_shard'])}"
    if spread.data in (DataParallel.DDP, DataParallel.ZERO1):
        yield "from torch.nn.parallel import DistributedDataParallel"
    if spread.tensor > 1:
        yield "from torch.distributed.tensor import Replicate"
        yield "from torch.distributed.tensor.parallel import ("
        yield "    ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module,"
        yield ")"


def _sharding(spread: Spread, units: Sequence[str], *, has_policy: bool) -> Iterator[str]:
    yield f"    options = {{{', '.join(_options(spread))}}}"
    if has_policy:
        param, reduce = _TORCH["bf16"], _TORCH["fp32"]
        yield f"    dtypes = MixedPrecisionPolicy(param_dtype={param}, reduce_dtype={reduce})"
        yield '    options["mp_policy"] = dtypes  # in the place of autocast'
    keeps = spread.keeps_gathered
    if units:
        yield f"    blocks = {_blocks(units)}"
        yield "    for block in blocks[:-1]:"
        yield f"        fully_shard(block, reshard_after_forward={not keeps}, **options)"
        yield "    fully_shard(blocks[-1], reshard_after_forward=False, **options)"
    yield f"    fully_shard(model, reshard_after_forward={not keeps}, **options)"


def _options(spread: Spread) -> Iterator[str]:
    yield f'"mesh": {_mesh(spread)}'


def _mesh(spread: Spread) -> str:
    """Returns the mesh to shard over, as World.sharding_mesh has it."""
    if spread.shard > 1 and spread.context > 1:
        return 'mesh["dp_shard", "cp"]._flatten("dp_shard_cp")'
    shards = "dp_shard" if spread.shard > 1 else "cp"
    if spread.replicate > 1:
        return f'mesh["dp_replicate", "{shards}"]' if shards == "dp_shard" else 'mesh["cp"]'
    return f'mesh["{shards}"]'


def _blocks(units: Sequence[str]) -> str:
    """Returns an expression for the list of modules: a range where their names count up."""
    matches = [re.fullmatch(r"(.*?)(\d+)", unit) for unit in units]
    stems = {"" if one is None else one[1] for one in matches}
    numbers = [None if one is None else int(one[2]) for one in matches]
    if len(stems) == 1 and numbers == list(range(len(units))) and len(units) > 1:
        return f'[model.get_submodule(f"{stems.pop()}{{n}}") for n in range({len(units)})]'
    return f"[model.get_submodule(name) for name in {list(units)!r}]"


def eight_bit_lines() -> tuple[str, ...]:
    """Returns the lines for 8-bit AdamW over the shards of FSDP: it takes no DTensors."""
    return tuple(_OVER_SHARDS.splitlines())


def launch_command(spread: Spread) -> str:
    """Returns the command that is started on each machine."""
    per_host = spread.gpus // spread.hosts
    if spread.gpus == 1:
        return "python train.py"
    if spread.hosts == 1:
        return f"torchrun --standalone --nproc-per-node {per_host} train.py"
    return (
        f"torchrun --nnodes {spread.hosts} --nproc-per-node {per_host} --rdzv-backend c10d "
        "--rdzv-endpoint HEAD:29500 train.py"
    )


def script_of(spread: Spread, optimizer: str) -> tuple[str, ...]:
    """Returns lines of the script beside the function."""
    if spread.gpus == 1:
        return ()
    degrees = [
        ("dp_replicate", spread.replicate), ("dp_shard", spread.shard), ("cp", spread.context),
        ("tp", spread.tensor),
    ]  # fmt: skip
    used = [one for one in degrees if one[1] > 1]
    sizes = ", ".join(str(size) for _, size in used) + ("," if len(used) == 1 else "")
    names = ", ".join(f'"{name}"' for name, _ in used) + ("," if len(used) == 1 else "")
    lines = [f'mesh = init_device_mesh("cuda", ({sizes}), mesh_dim_names=({names}))']
    if spread.data is DataParallel.ZERO1:
        kind = optimizer.partition(" (")[0] or "AdamW"
        fused = ", fused=True" if optimizer.endswith("(fused)") else ""
        lines.append(
            "optimizer = ZeroRedundancyOptimizer(model.parameters(), "
            f"optimizer_class=torch.optim.{kind}{fused})"
        )
    if spread.context > 1:
        lines.append(
            'with context_parallel(mesh["cp"], buffers=[ids], buffer_seq_dims=[1]): '
            "# forward and backward"
        )
    return tuple(lines)
