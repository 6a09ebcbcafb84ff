"""One rank, in a process of its own: loads the emulated card, runs a program, prints its peaks.

In: an Order as JSON, the only argument. Out: one line of JSON. Convention: torch is imported after
the card is loaded.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from planner.worker.engines import emulation

_WAIT_S = 60
# PyTorch's watchdog drops what a collective has held every 0.1 s: as often as a step of a card, and
# much later than one here.
_PAUSE_S = 0.3


def main() -> None:
    """Runs the order; ends without destructors, as NCCL's threads of torch outlive them."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    begin(order)
    print(json.dumps(_peaks(order["program"], order["steps"])), flush=True)
    _leave()
    os._exit(0)


def begin(order: dict[str, Any]) -> None:
    """Loads the card and joins the other ranks."""
    emulation.load(order["libraries"])
    emulation.configure(order["profile"])
    import torch

    profile, _ = emulation.settle_architecture(order["profile"])
    emulation.configure(profile)
    emulation.count_one_card()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    gc.disable()
    if order["program"].startswith("pp"):
        import torch.distributed.pipelining
    _join(order)


def _join(order: dict[str, Any]) -> None:
    import datetime

    import torch
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from planner.worker.ranks import membership
    from planner.worker.ranks.agreements import keep_agreements

    keep_agreements()
    rank, ranks = order["rank"], order["ranks"]
    if order["group"] == "planner":
        membership.begin(rank, ranks, ranks)
        return
    if order["group"] == "fake":
        dist.init_process_group("fake", rank=rank, world_size=ranks, store=FakeStore())
        return
    dist.init_process_group(
        "nccl",
        rank=rank,
        world_size=ranks,
        init_method=f"file://{order['meeting_file']}",
        timeout=datetime.timedelta(seconds=order.get("wait_s", _WAIT_S)),
        device_id=torch.device("cuda", 0) if order["is_eager"] else None,
    )


def _peaks(program: str, steps: int) -> dict[str, Any]:
    """Returns the peaks of each step in bytes, and those of all."""
    import torch

    from benchmarks.real_ranks.programs import PROGRAMS

    step = PROGRAMS[program]()
    allocated, reserved = [], []
    for _ in range(steps):
        torch.cuda.reset_peak_memory_stats()
        time.sleep(_PAUSE_S)
        step()
        allocated.append(torch.cuda.max_memory_allocated())
        reserved.append(torch.cuda.max_memory_reserved())
    return {"allocated_bytes": allocated, "reserved_bytes": reserved}


def _leave() -> None:
    """Waits for the others: whoever goes first takes its letters with it."""
    import torch.distributed as dist

    if dist.get_backend() == "nccl":
        dist.barrier()


if __name__ == "__main__":
    main()
