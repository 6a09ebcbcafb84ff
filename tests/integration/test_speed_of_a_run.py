"""Step time, host and cost of real counted steps, and data sets that cannot be timed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.errors import ModelError, TargetError
from planner.timing.bottleneck import Bound
from planner.units import GIB
from planner.wire.trace import Phase
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

NET = """
def build_model():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

def build_batch(batch_size):
    return torch.randn(batch_size, 64), torch.zeros(batch_size, dtype=torch.long)
"""
DATA = """
class Items:
    def __len__(self):
        return 100

    def __getitem__(self, index):
        BODY
        return torch.randn(64), 0

def build_dataset():
    return Items()
"""


def test_a_small_net_waits_for_its_launches(write_model: WriteModel) -> None:
    found = planner.estimate(write_model(NET), gpu="a100", max_batch=False).gpus[0]
    assert found.time is not None
    assert found.time.bottleneck.bound is Bound.LAUNCHES
    assert [phase for phase, _ in found.time.phases_s] == [
        Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER_STEP
    ]  # fmt: skip
    assert sum(seconds for _, seconds in found.time.phases_s) == pytest.approx(found.time.gpu_s)
    assert found.time.samples_per_s == pytest.approx(8 / found.time.step_s)
    assert found.host is not None
    assert found.host.ram.base_bytes > 64 << 20  # torch alone
    assert found.cost is not None


def test_inference_has_a_forward_alone(write_model: WriteModel) -> None:
    found = planner.estimate(
        write_model(NET), gpu="a100", mode="infer", max_batch=False, ram=64 * GIB
    ).gpus[0]
    assert found.time is not None
    assert {phase for phase, _ in found.time.phases_s} == {Phase.FORWARD}
    assert found.host is not None
    assert (found.host.ram.checkpoint_bytes, found.host.fits) == (0, True)


def test_the_users_own_items_are_timed(write_model: WriteModel) -> None:
    path = write_model(NET + DATA.replace("BODY", "pass"))
    found = planner.estimate(path, gpu="a100", max_batch=False, measure_data=True, cpu="epyc-7742")
    host = found.gpus[0].host
    assert host is not None
    assert host.data == "build_dataset"
    assert any("items timed on this machine" in text for text in found.assumptions)


def test_a_data_set_that_is_missing_or_raises_ends_it(write_model: WriteModel) -> None:
    with pytest.raises(TargetError, match="build_dataset"):
        planner.estimate(write_model(NET), gpu="a100", measure_data=True)
    path = write_model(NET + DATA.replace("BODY", 'raise KeyError("picture 57")'))
    with pytest.raises(ModelError, match="picture 57"):
        planner.estimate(path, gpu="a100", measure_data=True)
    result = CliRunner().invoke(root, ["estimate", path, "--gpu", "a100", "--measure-data", "-q"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the data set failed: KeyError: 'picture 57'" in result.stderr
    assert "in __getitem__" in result.stderr
