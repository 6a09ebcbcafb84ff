"""Deals whole experts out to ranks, by the plan and the code of transformers.

In: a model without weights, the mesh, FsdpOptions. Out: the same model, whose experts are DTensors
over `ep`, and units of FSDP over `efsdp`. Convention: as DistributedConfig(fsdp_size=, ep_size=) of
transformers (distributed/expert_parallel.py, distributed/fsdp.py): tokens go to the rank of their
expert by an all-to-all, and back by another. PyTorch has no plan of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from planner.config.parallel import FsdpOptions
from planner.errors import UsageError
from planner.units import counted
from planner.worker.ranks.sharding import Dtypes, arguments

_CODE = "transformers.distributed.expert_parallel"
_DISPATCH = "ep_dispatch_experts"
_INSTEAD = (
    'write parallelize(model, mesh) in the model file: mesh["ep"] are the ranks to which experts '
    'are dealt out, mesh["efsdp"] those that hold the same ones, and mesh["dp_shard"] all'
)


def deal_out(model: nn.Module, mesh: Any, options: FsdpOptions, dtypes: Dtypes) -> tuple[str, ...]:
    """Deals the experts of `model` out over `mesh`; returns what was assumed.

    Raises:
        UsageError: the model has no plan for experts, or their number cannot be divided.
    """
    from torch.distributed.fsdp import fully_shard

    plan = _plan_of(model)
    modules: dict[str, Any] = dict(model.named_modules())
    dealt = [modules[name] for name, style in plan.items() if style == _DISPATCH]
    ranks = mesh["ep"].size()
    number = _number_of_experts(dealt, ranks)
    _code().apply_expert_parallelism(
        model, mesh["ep"], _mesh_of_one(mesh), plan, ep_implementation="all_to_all"
    )
    for unit in dealt:
        fully_shard(unit, reshard_after_forward=True, **arguments(mesh["efsdp"], options, dtypes))
        # An expert's gradient is a sum over the samples of all ranks (distributed/fsdp.py).
        unit.set_gradient_divide_factor(float(mesh.size()))
        if mesh["efsdp"].size() > 1:
            unit.set_force_sum_reduction_for_comms(True)
    return (
        f"expert parallelism: {number // ranks} of {number} experts on each GPU, in "
        f"{counted(len(dealt), 'layer')}, by the model's own plan; tokens go there by all-to-all",
        "experts: a rank is taken to get as many tokens as it sends, as where routing is balanced "
        f"over ranks; it may get none, or {_most(model, ranks, number):.3g} times as many, and "
        "what its experts keep grows alike: --data-dependent most plans for that",
    )


def _code() -> Any:
    try:
        found = importlib.import_module(_CODE)
    except ImportError:
        found = None
    if not hasattr(found, "apply_expert_parallelism"):
        raise UsageError(
            f"ep (--parallel) deals out the experts of a model by {_CODE}, which the transformers "
            f"that is installed here has not (5.24 has it): install that, or {_INSTEAD}"
        )
    return found


def _plan_of(model: nn.Module) -> dict[str, str]:
    """Returns the styles of the model's experts and of their weights, by full names."""
    given = getattr(model, "ep_plan", None)
    expand = getattr(model, "_expand_parallel_plan", None)
    plan: dict[str, str] = expand(dict(given)) if given and expand is not None else {}
    if _DISPATCH not in plan.values():
        raise UsageError(
            "ep (--parallel) needs a model of transformers with a plan for its experts (ep_plan), "
            f"and this one has none. PyTorch has none for all models; {_INSTEAD}"
        )
    return plan


def _number_of_experts(dealt: Sequence[Any], ranks: int) -> int:
    """Returns the experts of a layer.

    Raises:
        UsageError: they cannot be dealt out equally.
    """
    for unit in dealt:
        if unit.num_experts % ranks:
            fitting = [n for n in range(2, unit.num_experts + 1) if unit.num_experts % n == 0]
            raise UsageError(
                f"ep={ranks} (--parallel) does not divide the {unit.num_experts} experts of a "
                f"layer: take one of {', '.join(map(str, fitting))}"
            )
    return int(dealt[0].num_experts)


def _most(model: Any, ranks: int, experts: int) -> float:
    """Returns how many times its balanced load a rank gets if every token goes to its experts."""
    chosen = getattr(getattr(model, "config", None), "num_experts_per_tok", None)
    here = experts // ranks
    return ranks if not isinstance(chosen, int) else ranks * min(chosen, here) / chosen


def _mesh_of_one(mesh: Any) -> Any:
    """Returns a mesh of this rank alone: no ranks share their samples."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cuda", (mesh.size(), 1), mesh_dim_names=("dp_shard", "tp"))["tp"]
