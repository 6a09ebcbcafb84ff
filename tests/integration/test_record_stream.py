"""Memory that another stream has used comes back when the card, behind the host, has reached it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import LAUNCH_LAG, UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import find_torch
from planner.memory.budget import memory_budgets
from planner.process.environment import child_environment
from planner.units import MIB
from planner.wire.trace import StepTrace
from tests.integration.child_runs import WriteModel, running
from tests.integration.recorded_runs import ROOT

pytestmark = pytest.mark.slow

BATCH, PIECES = 16, 12
PIECE_BYTES = BATCH * MIB  # 2 ** 18 float32 a sample; the allocator takes a segment for each
# The prefetcher of NVIDIA's examples, on pieces of a step: while one is used, the next is copied.
# One side stream for all steps: each stream has cached memory of its own.
PREFETCHER = f"""
    import functools

    @functools.cache
    def side_stream():
        return torch.cuda.Stream()

    class Prefetcher:
        def __init__(self, rows, pieces):
            self.host = torch.empty(rows, 1 << 18)
            self.left = pieces
            self.stream = side_stream()
            self.preload()

        def preload(self):
            self.following = None
            if self.left:
                self.left -= 1
                with torch.cuda.stream(self.stream):
                    self.following = self.host.cuda(non_blocking=True)

        def next(self):
            torch.cuda.current_stream().wait_stream(self.stream)
            piece = self.following
            if piece is not None:
                piece.record_stream(torch.cuda.current_stream())
            self.preload()
            return piece

    def build_model():
        return nn.Linear(8, 8)

    def build_batch(batch_size):
        return torch.zeros(batch_size, 8)

    def training_step(model, batch):
        torch.cuda.synchronize()
        loss = model(batch).sum()
        pieces = Prefetcher(len(batch), {PIECES})
        piece = pieces.next()
        while piece is not None:
            loss = loss + piece.sum()
            del piece
            piece = pieces.next()
        return loss
"""


def profile_of(device: EmulatedDevice, lag: int | None, gpu: str = "t4") -> str:
    (budget,) = memory_budgets([gpu], hardware_db=None, gpu_memory=None, reserve=0)
    return device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=budget.usable_memory_bytes,
        capacity_bytes=UNLIMITED_BYTES,
        launch_lag=lag,
    )


def runs(path: str, device: EmulatedDevice, *lags: int | None) -> list[StepTrace]:
    with running(path, "t4") as (runner, _):
        config = step_config({"batch_size": BATCH})
        return [runner.run(profile_of(device, lag), config) for lag in lags]


def test_pieces_of_a_prefetcher_wait_for_the_card(
    device: EmulatedDevice, write_model: WriteModel
) -> None:
    """A card that keeps up has the piece in use and the next one; one behind has all of a step."""
    idle, few, behind, never = runs(write_model(PREFETCHER), device, 0, 8, LAUNCH_LAG, None)
    waiting_bytes = (PIECES - 2) * PIECE_BYTES
    for trace in (behind, never):
        assert trace.failure is None
        assert trace.peak_active_bytes - idle.peak_active_bytes == waiting_bytes
        assert trace.peak_reserved_bytes - idle.peak_reserved_bytes == waiting_bytes
        assert trace.peak_allocated_bytes == idle.peak_allocated_bytes
    assert idle.peak_reserved_bytes < few.peak_reserved_bytes < behind.peak_reserved_bytes
    said = "memory that another stream still uses (record_stream) comes back "
    assert f"{said}1,024 launches later, or when the host waits for the card" in behind.assumptions
    assert f"{said}when the host waits for the card" in never.assumptions
    assert not any("record_stream" in text for text in idle.assumptions)


def test_the_estimate_spans_a_card_that_keeps_up(
    device: EmulatedDevice, write_model: WriteModel
) -> None:
    path = write_model(PREFETCHER)
    idle, behind = runs(path, device, 0, LAUNCH_LAG)
    found = planner.estimate(path, gpu="t4", batch_size=BATCH)
    (card,) = found.gpus
    assert card.peak_reserved_bytes == behind.peak_reserved_bytes
    assert sum("record_stream" in text for text in found.assumptions) == 1
    assert any("a card that keeps up with the host" in text for text in found.assumptions)
    assert card.device_total_interval_bytes is not None
    low, high = card.device_total_interval_bytes
    context_bytes = card.context_overhead_bytes
    without_idle_bytes = 0.9 * behind.peak_reserved_bytes + 0.5 * context_bytes  # at the least
    assert low < idle.peak_reserved_bytes + context_bytes < without_idle_bytes
    assert high > behind.peak_reserved_bytes + context_bytes
    # When the card is full, the allocator waits: what fits is what a card that keeps up holds.
    assert (card.max_batch_method, card.max_batch_confirmed) == ("replay", True)
    assert card.max_batch_size is not None
    in_use_bytes = 2 * card.max_batch_size * MIB
    free_bytes = card.usable_memory_bytes - context_bytes - in_use_bytes
    assert 0 <= free_bytes < 64 * MIB


PROGRAM = """
import json, os, sys
given = json.load(sys.stdin)
from planner.worker.engines import emulation
emulation.load(given["libraries"])
emulation.configure(given["profile"])
import torch
from torch import nn
from torch.nn import functional
emulation.configure(emulation.settle_architecture(given["profile"])[0])
emulation.count_one_card()

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(512, 2048), nn.Linear(2048, 512)

    def forward(self, x):
        return x + self.down(functional.gelu(self.up(x)))

def rank(world):
    from torch.testing._internal.distributed.fake_pg import FakeStore
    torch.distributed.init_process_group("fake", rank=0, world_size=world, store=FakeStore())

def train(model, batches):
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for batch in batches:
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

model = nn.Sequential(*(Block() for _ in range(8)))
on_card = [torch.zeros(256, 512, device="cuda") for _ in range(3)]
BODY
stats = torch.cuda.memory_stats()
names = "allocated", "active", "reserved"
peaks = [stats[f"{name}_bytes.all.peak"] for name in names]
print(json.dumps([peaks, "events-pending" in emulation.notes()]), flush=True)
os._exit(0)
"""
ONE_CARD = """
from torch.utils.data import DataLoader
loader = DataLoader(torch.zeros(768, 512), batch_size=256, pin_memory=True)
with torch.autocast("cuda", torch.bfloat16):
    train(model.cuda(), (batch.cuda(non_blocking=True) for batch in loader))
"""
# Sizes, and the order of buckets, would be read back from the card: without them.
DDP = """
rank(8)
net = nn.parallel.DistributedDataParallel(
    model.cuda(), init_sync=False, find_unused_parameters=True
)
def summed(state, bucket):
    torch.distributed.all_reduce(bucket.buffer(), async_op=True)
    future = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future
net.register_comm_hook(None, summed)
train(net, on_card)
"""
FSDP2 = """
rank(8)
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
for block in model:
    fully_shard(block, mp_policy=policy)
train(fully_shard(model, mp_policy=policy).cuda(), on_card)
"""
FSDP1 = """
rank(8)
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
train(FullyShardedDataParallel(
    model, auto_wrap_policy=ModuleWrapPolicy({Block}), device_id=torch.device("cuda", 0),
    limit_all_gathers=False,
), on_card)
"""


def peaks(device: EmulatedDevice, body: str, lag: int | None) -> tuple[list[int], bool]:
    """Peaks allocated, active and reserved of three steps, and whether the allocator waited."""
    given: dict[str, Any] = {
        "libraries": [str(path) for path in device.libraries],
        "profile": profile_of(device, lag, "h100"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("BODY", body)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**child_environment({}), "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found, is_pending = json.loads(done.stdout.splitlines()[-1])
    return found, is_pending


@pytest.mark.parametrize("body", [ONE_CARD, DDP, FSDP2], ids=["one card", "DDP", "FSDP2"])
def test_what_calls_no_record_stream_does_not_depend_on_the_lag(
    device: EmulatedDevice, body: str
) -> None:
    idle, idle_is_pending = peaks(device, body, 0)
    never, never_is_pending = peaks(device, body, None)
    assert idle == never
    assert idle[0] > 8 * 2 * 512 * 2048 * 4 / 8  # a shard of the weights at the least
    assert not idle_is_pending
    assert not never_is_pending


def test_the_first_fsdp_depends_on_it(device: EmulatedDevice) -> None:
    idle, idle_is_pending = peaks(device, FSDP1, 0)
    never, never_is_pending = peaks(device, FSDP1, None)
    assert idle[0] == idle[1]  # nothing waits
    assert never[0] < 1.02 * idle[0]  # blocks that are too short to be split
    assert never[1] > 1.2 * idle[1]
    assert (idle_is_pending, never_is_pending) == (False, True)
