"""Programs of one rank among two, for test_real_ranks: the order as JSON, one line of JSON out."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from benchmarks.real_ranks.rank import begin


def objects(rank: int) -> Any:
    """Objects of different sizes, in every direction."""
    import torch.distributed as dist

    mine = {"rank": rank, "text": "x" * (10 + 500 * rank)}
    gathered: list[Any] = [None, None]
    dist.all_gather_object(gathered, mine)
    sent = ["one", [2, 3]] if rank == 0 else [None, None]
    dist.broadcast_object_list(sent, src=0)
    if rank == 0:
        dist.send_object_list([mine, "more"], dst=1)
        received = None
    else:
        received = [None, None]
        dist.recv_object_list(received, src=0)
    dealt: list[Any] = [None]
    dist.scatter_object_list(dealt, ["first", "second"] if rank == 0 else None, src=0)
    collected: list[Any] | None = [None, None] if rank == 0 else None
    dist.gather_object(rank + 10, collected, dst=0)
    return [[len(one["text"]) for one in gathered], sent, received, dealt, collected]


def numbers(rank: int) -> Any:
    """Known numbers through each collective; what a kernel has written is unknown: zeros."""
    import torch
    import torch.distributed as dist

    found = {}
    for name, operation in (("sum", dist.ReduceOp.SUM), ("max", dist.ReduceOp.MAX),
                            ("min", dist.ReduceOp.MIN), ("avg", dist.ReduceOp.AVG)):  # fmt: skip
        tensor = torch.tensor([3.0 + rank, -1.0 * rank]).cuda()
        dist.all_reduce(tensor, operation)
        found[name] = tensor.tolist()
    computed = torch.tensor([1 + rank]).cuda() * 2
    dist.all_reduce(computed)
    found["computed"] = computed.tolist()
    both = torch.tensor([10 * rank, 10 * rank + 1]).cuda()
    part = torch.empty(1, dtype=torch.int64, device="cuda")
    dist.reduce_scatter_tensor(part, both)
    found["reduce_scatter"] = part.tolist()
    both = torch.tensor([10 * rank, 10 * rank + 1]).cuda()
    swapped = torch.empty_like(both)
    dist.all_to_all_single(swapped, both)
    found["all_to_all"] = swapped.tolist()
    large = torch.full((1 << 19,), 7.0).cuda()  # 2 MiB: more than is kept
    dist.all_reduce(large)
    found["large"] = large[:1].tolist()
    return found


def groups(rank: int) -> Any:
    """Groups of a part of the ranks, with the order of a mesh; four ranks."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cuda", (2, 2), mesh_dim_names=("outer", "inner"))
    sums = []
    for name in ("outer", "inner"):
        tensor = torch.tensor([10**rank]).cuda()
        dist.all_reduce(tensor, group=mesh.get_group(name))
        sums += tensor.tolist()
    return sums


def barrier(rank: int) -> Any:
    """Rank 1 is late: the barrier holds rank 0 back."""
    import torch.distributed as dist

    dist.barrier()
    if rank == 1:
        time.sleep(1.0)
    begin_s = time.monotonic()
    dist.barrier()
    return time.monotonic() - begin_s


def ahead(rank: int) -> Any:
    """Rank 0 does not wait for rank 1 where it reads nothing."""
    import torch
    import torch.distributed as dist

    dist.barrier()
    if rank == 1:
        time.sleep(1.0)
    begin_s = time.monotonic()
    for _ in range(50):
        dist.all_reduce(torch.ones(1024, device="cuda"))
    return time.monotonic() - begin_s


def death(rank: int) -> Any:
    """Rank 1 is killed; rank 0 gets an error from the collective that follows."""
    return _after_death(rank, dies_after_s=0.0, calls_after_s=1.0)


def death_while_waited_for(rank: int) -> Any:
    """Rank 1 is killed while rank 0 waits for what it would send."""
    return _after_death(rank, dies_after_s=1.0, calls_after_s=0.0)


def _after_death(rank: int, *, dies_after_s: float, calls_after_s: float) -> Any:
    import torch
    import torch.distributed as dist

    dist.barrier()
    if rank == 1:
        time.sleep(dies_after_s)
        os.kill(os.getpid(), signal.SIGKILL)
    begin_s = time.monotonic()
    time.sleep(calls_after_s)
    tensor = torch.tensor([1]).cuda()
    try:
        dist.all_reduce(tensor)
        tensor.tolist()
    except RuntimeError as error:
        return [time.monotonic() - begin_s, str(error)]
    return None


def disagreement(rank: int) -> Any:
    """The ranks mean different sizes; the next call says so."""
    import torch
    import torch.distributed as dist

    tensor = torch.zeros(3 + rank, dtype=torch.int64).cuda()
    try:
        dist.all_reduce(tensor)
        time.sleep(1.0)
        dist.all_reduce(tensor)
    except RuntimeError as error:
        return str(error)
    return None


def main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    if not order["is_quiet_end"]:  # torch's watchdog would end the process first
        os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"
    begin(order)
    print(json.dumps(globals()[order["program"]](order["rank"])), flush=True)
    if order["is_quiet_end"]:
        import torch.distributed as dist

        dist.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
