from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import sys
import torch
from torch import nn
from planner.worker.model.compiler import defer_compiler
assert "torch._dynamo" not in sys.modules
defer_compiler()
model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
def loaded():
    return "torch._dynamo.eval_frame" in sys.modules
"""


def run(code: str) -> str:
    """A process of its own: this one may have imported the compiler already."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_training_step_does_not_load_the_compiler() -> None:
    code = """
    from torch.utils.checkpoint import checkpoint
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        checkpoint(model, torch.ones(3, 4), use_reentrant=False).sum().backward()
        optimizer.step()
    torch.empty(3, device="meta").normal_()
    @torch.compiler.disable
    def hidden():
        return 3
    print(loaded(), hidden())
    """
    assert run(code).split() == ["False", "3"]


@pytest.mark.slow
def test_compiling_loads_it_and_works() -> None:
    code = """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(3, 4)
    expected = model(x)
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled(x), expected)
    compiled(x).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    import torch._dynamo.config
    assert torch._dynamo.config is sys.modules["torch._dynamo.config"]
    assert type(torch._dynamo).__name__ == "module"
    print(loaded())
    """
    assert run(code).split() == ["True"]


def test_who_asks_each_module_for_its_file_does_not_load_it() -> None:
    code = """
    import torch.distributed._functional_collectives  # inspect asks, in the middle of it
    assert not hasattr(sys.modules["torch._dynamo"], "__file__")
    assert not loaded()
    """
    run(code)


@pytest.mark.slow
def test_a_process_group_does_not_load_the_compiler() -> None:
    code = """
    import torch.distributed as dist
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    print(loaded())
    import torch._dynamo.trace_rules as rules
    print(loaded(), rules is torch._dynamo.trace_rules)
    """
    assert run(code).split() == ["False", "True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "is_loaded"), [("ddp", "False"), ("fsdp", "True")])
def test_it_is_loaded_ahead_of_runs_that_need_it(words: str, is_loaded: str) -> None:
    code = f"""
    from planner.config.parallel_words import parallel_config
    from planner.worker.ranks.ahead import import_for
    import_for(parallel_config(8, None, "{words}", ()))
    print(loaded(), "torch.distributed.fsdp" in sys.modules)
    """
    assert run(code).split() == [is_loaded, is_loaded]
