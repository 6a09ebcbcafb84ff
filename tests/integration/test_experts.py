"""Experts that are dealt out to ranks: their parameters and tokens, against hand arithmetic."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.errors import UsageError
from planner.memory.peak import breakdown
from planner.wire.trace import TensorCategory
from tests.integration.child_runs import WriteModel, running

pytestmark = pytest.mark.slow

RANKS, EXPERTS, WIDTH, HIDDEN, ROWS = 4, 8, 256, 512, 64
# One layer of experts, of which each token takes the first by a number; the file's own plan.
GROUPED = f"""
import torch.distributed as dist
from torch.distributed._functional_collectives import all_to_all_single_autograd

class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.empty({EXPERTS}, {WIDTH}, {HIDDEN}))
        self.down = nn.Parameter(torch.empty({EXPERTS}, {HIDDEN}, {WIDTH}))
        self.group = None

    def forward(self, x):
        # Routing that is balanced over ranks: as many tokens for each.
        sizes = [len(x) // self.group.size()] * self.group.size()
        tokens = all_to_all_single_autograd(x, sizes, sizes, self.group)
        up, down = (getattr(one, "to_local", lambda one=one: one)() for one in (self.up, self.down))
        rows = tokens.view(up.shape[0], -1, {WIDTH})
        out = torch.bmm(torch.bmm(rows, up).relu(), down).view(-1, {WIDTH})
        return all_to_all_single_autograd(out, sizes, sizes, self.group)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear({WIDTH}, {WIDTH}, bias=False)
        self.experts = Experts()

    def forward(self, x):
        return self.experts(self.dense(x))

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, {WIDTH})

def training_step(model, batch):
    return model(batch).mean()
"""
PLAN = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor
    experts = model.experts
    experts.group = mesh["ep"].get_group()
    for name in ("up", "down"):
        whole = getattr(experts, name)
        dealt = distribute_tensor(whole, mesh["ep"], [Shard(0)], src_data_rank=None)
        setattr(experts, name, nn.Parameter(dealt))
    fully_shard(experts, mesh=mesh["efsdp"])
    fully_shard(model, mesh=mesh["dp_shard"])
"""
EXPERTS_BYTES = 2 * EXPERTS * WIDTH * HIDDEN * 4
DENSE_BYTES = WIDTH * WIDTH * 4
CONFIG: dict[str, Any] = {
    "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 256,
    "intermediate_size": 512, "moe_intermediate_size": 256, "num_experts": 16,
    "num_experts_per_tok": 4, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 1024, "max_position_embeddings": 512,
    "decoder_sparse_step": 1, "tie_word_embeddings": False,
}  # fmt: skip
# By layer: 16 experts of three matrices of 256 x 256; four matrices of attention, two norms of a
# head, two of the layer, a router. Beside the layers an embedding, a head and a norm.
EXPERT_ELEMENTS = 2 * 16 * 3 * 256 * 256
DENSE_ELEMENTS = 2 * (4 * 256 * 256 + 2 * 64 + 2 * 256 + 16 * 256) + 2 * 1024 * 256 + 256


@pytest.mark.parametrize(("gpus", "same"), [(RANKS, 1), (2 * RANKS, 2)])
def test_a_files_own_plan_has_a_mesh_of_experts(
    write_model: WriteModel, gpus: int, same: int
) -> None:
    options = {"batch_size": ROWS, "num_gpus": gpus, "parallel": f"ep={RANKS}"}
    with running(write_model(GROUPED + PLAN)) as (runner, profile):
        trace, allocations = runner.record(profile, step_config(options))
    assert trace.failure is None, trace.failure
    assert allocations is not None
    kept = breakdown(allocations).by_category()[TensorCategory.PARAMETER.value]
    # Experts over the ranks of ep, and their shards over those with the same ones: over all.
    assert kept == EXPERTS_BYTES // (RANKS * same) + DENSE_BYTES // gpus


def test_a_model_without_a_plan_for_its_experts(write_model: WriteModel) -> None:
    options = {"batch_size": ROWS, "num_gpus": RANKS, "parallel": "ep=4"}
    with (
        running(write_model(GROUPED)) as (runner, profile),
        pytest.raises(UsageError, match=r'parallelize\(model, mesh\).*mesh\["ep"\]'),
    ):
        runner.run(profile, step_config(options))


@pytest.fixture
def published(tmp_path: Path) -> str:
    """A target of transformers with 16 experts."""
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")
    if find_spec("transformers.distributed.expert_parallel") is None:
        pytest.skip("this transformers has no plan for experts")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return f"hf:{tmp_path / 'config.json'}"


def options_of(gpus: int, **changes: Any) -> dict[str, Any]:
    return {
        "batch_size": 2, "sequence_length": 128, "num_gpus": gpus, "parallel": "ep=8", **changes,
    }  # fmt: skip


@pytest.mark.parametrize("gpus", [8, 16])
def test_experts_of_transformers(published: str, gpus: int) -> None:
    found = planner.estimate(published, gpu="a100", max_batch=False, **options_of(gpus))
    assert found.counts is not None
    assert found.counts.parameters == EXPERT_ELEMENTS + DENSE_ELEMENTS
    parts = found.gpus[0].breakdown
    assert parts is not None
    kept = parts.by_category()[TensorCategory.PARAMETER.value]
    elements = EXPERT_ELEMENTS // gpus + DENSE_ELEMENTS // gpus
    # A tensor takes whole blocks of 512 bytes; the few norms and routers are smaller than that.
    assert 4 * elements <= kept <= 4 * elements + 20 * 512
    said = " ".join(found.assumptions)
    assert "2 of 16 experts on each GPU, in 2 layers" in said
    # 2 of the 4 experts of each token can be on one of 8 ranks.
    assert "it may get none, or 4 times as many" in said


def test_most_tokens_on_one_rank(published: str) -> None:
    balanced, most = (
        planner.estimate(published, gpu="a100", max_batch=False, **options_of(8, **changes)).gpus[0]
        for changes in ({}, {"data_dependent": "most"})
    )
    # 256 tokens with 4 experts each: 1,024 rows of 256 float32 at the least, or four times as many.
    rows_bytes = 1024 * 256 * 4
    assert most.peak_allocated_bytes - balanced.peak_allocated_bytes >= 3 * rows_bytes


def test_experts_that_cannot_be_dealt_out(published: str) -> None:
    with pytest.raises(UsageError, match="take one of 2, 4, 8, 16"):
        planner.estimate(published, gpu="a100", max_batch=False, **options_of(3, parallel="ep=3"))
