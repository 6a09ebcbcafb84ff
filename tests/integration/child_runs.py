"""Runs of model files on the emulated device, several in one child."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from planner.config.parse import step_config
from planner.config.target import Target, parse_target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.memory.allocator.settings import TorchVersion
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.wire.trace import StepTrace

WriteModel = Callable[..., str]
# Up to torch 2.14 each thread that calls cuBLAS keeps a workspace for good: the forward's thread
# and autograd's. From 2.15 on a product has one while it is computed.
CUBLAS_KEEPS_WORKSPACES = not TorchVersion.parse(find_torch().version).at_least(2, 15)


@contextmanager
def running(path: str | Target, gpu: str = "a100") -> Iterator[tuple[Runner, str]]:
    """A child that has loaded the model file, and the profile of a card without a limit."""
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    (budget,) = memory_budgets([gpu], hardware_db=None, gpu_memory=None, reserve=0)
    profile = cards.unlimited(budget)
    target = parse_target(path) if isinstance(path, str) else path
    with Runner(target, device=cards.device, profile=profile, timeout_s=120) as runner:
        runner.wait_loaded()
        yield runner, profile


def traces(path: str, *options: dict[str, Any], gpu: str = "a100") -> list[StepTrace]:
    """Runs of one model file in one child, on a card without a limit: one for each `options`."""
    with running(path, gpu) as (runner, profile):
        found = [
            runner.run(profile, step_config({"batch_size": 4, **option})) for option in options
        ]
        assert not runner.warnings
    for trace in found:
        assert trace.failure is None, trace.failure
    return found


def block_of_matrices(width: int) -> str:
    """The class Block of two square matrices without biases: all memory is float32 matrices."""
    return f"""
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear({width}, {width}, bias=False)
        self.down = nn.Linear({width}, {width}, bias=False)

    def forward(self, x):
        return self.down(self.up(x).relu())
"""


# After net_of_blocks(block_of_matrices(...)): the same model with a plan for its matrices.
PLANNED = """
def build_model():
    net = Net()
    net.tp_plan = {"blocks.*.up": "colwise", "blocks.*.down": "rowwise"}
    return net
"""


def net_of_blocks(block: str, *, layers: int, width: int) -> str:
    """A model file with so many modules of the class Block in `block`, on rows of `width`."""
    return f"""
{block}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range({layers}))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, {width})

def training_step(model, batch):
    return model(batch).mean()
"""
