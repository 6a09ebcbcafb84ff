"""A script under torchrun: planner plays one of its ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import planner
from planner.errors import ModelError

MODEL = """
import torch
from torch import nn

def build_model():
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 1000),
    )

def build_batch(batch_size):
    return torch.zeros(batch_size, 3, 64, 64), torch.zeros(batch_size, dtype=torch.int64)
"""
SCRIPT = """
import os
import torch
import torch.distributed as dist
from model import build_batch, build_model
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
assert (dist.get_backend(), dist.get_world_size(), dist.get_rank()) == ("nccl", 2, 0)
objects = [None, None]
dist.all_gather_object(objects, {"rank": 0})
assert objects == [{"rank": 0}] * 2
data = TensorDataset(*build_batch(128))
loader = DataLoader(data, batch_size=16, sampler=DistributedSampler(data))
model = DistributedDataParallel(build_model().cuda())
optimizer = torch.optim.AdamW(model.parameters())
for images, labels in loader:
    images, labels = images.cuda(), labels.cuda()
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
dist.barrier()
dist.destroy_process_group()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the script and its model, in which this process is."""
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ddp_under_torchrun_is_that_of_the_estimate(folder: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    ran = planner.run([*torchrun, "train.py"], gpu="a100", max_batch=False)
    planned = planner.estimate(
        "model.py", gpu="a100", batch_size=16, num_gpus=2, parallel="ddp", max_batch=False
    )
    assert ran.config.parallel is not None
    assert ran.config.parallel.words == "ddp=2"
    assert ran.config.batch_size == 16
    for name in ("peak_allocated_bytes", "peak_reserved_bytes"):
        run, plan = getattr(ran.gpus[0], name), getattr(planned.gpus[0], name)
        assert run == pytest.approx(plan, rel=0.005), name
    assert ran.gpus[0].outside_bytes == planned.gpus[0].outside_bytes > 0
    time = ran.gpus[0].time
    assert time is not None
    assert time.messages_s is not None
    assert time.messages_s > 0


STUCK = """
import os
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

dist.init_process_group("nccl")
WAIT
"""


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        pytest.param(
            "store = dist.TCPStore('127.0.0.1', 0, 4, dist.get_rank() == 0); store.wait(['go'])",
            "waited 5 s for key go of a store, and nobody has set it", id="a key of a store",
        ),
        pytest.param(
            "init_device_mesh('cuda', (4,))['dp']",
            'mesh_dim_names=("dp",)), then mesh["dp"]', id="a mesh without names",
        ),
    ],
)  # fmt: skip
def test_what_a_script_cannot_have_ends_it(folder: Path, wait: str, said: str) -> None:
    (folder / "stuck.py").write_text(STUCK.replace("WAIT", wait))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4"]
    with pytest.raises(ModelError) as raised:
        planner.run([*torchrun, "stuck.py"], gpu="a100", max_batch=False)
    assert said in str(raised.value)


SAVING = """
import os
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions, get_model_state_dict, get_state_dict, set_model_state_dict, set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

dist.init_process_group("cpu:gloo,cuda:nccl")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
mesh = init_device_mesh("cuda", (dist.get_world_size(),), mesh_dim_names=("dp",))
model = nn.Sequential(*[nn.Linear(512, 512, bias=False) for _ in range(2)]).cuda()
fully_shard(model, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters())
batch = torch.randn(16, 512, device="cuda")
for _ in range(2):
    optimizer.zero_grad()
    model(batch).mean().backward()
    optimizer.step()

weights, states = get_state_dict(model, optimizer)
parts = {"model": weights, "optimizer": states, "epoch": 7}
dcp.save(parts, checkpoint_id="out/parts")
assert sorted(os.listdir("out/parts")) == [".metadata", "__0_0.distcp"]
read = {"model": weights, "optimizer": states, "epoch": 0}
dcp.load(read, checkpoint_id="out/parts")
assert read["epoch"] == 7
set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=states)

dcp.async_save({"model": weights}, checkpoint_id="out/async").result()
assert ".metadata" in os.listdir("out/async")

whole = get_model_state_dict(
    model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
)
assert [tuple(one.shape) for one in whole.values()] == [(512, 512)] * 2
assert all(one.device.type == "cpu" for one in whole.values())
torch.save(whole, "out/whole.pt")
set_model_state_dict(
    model,
    torch.load("out/whole.pt"),
    options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True),
)
"""


def test_a_script_saves_in_parts_and_as_a_whole(folder: Path) -> None:
    (folder / "save.py").write_text(SAVING)
    kept = folder / "out"
    kept.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4"]
    ran = planner.run([*torchrun, "save.py"], gpu="a100", max_batch=False, allow_writes=["out"])
    assert ran.fits()
    # A rank writes its own quarter of the model and of the two states of AdamW, in float32.
    part_bytes = (kept / "parts" / "__0_0.distcp").stat().st_size
    assert 0 <= part_bytes - 3 * 2 * 512 * 512 * 4 // 4 < 64 * 1024
    assert (kept / "whole.pt").stat().st_size > 2 * 512 * 512 * 4
