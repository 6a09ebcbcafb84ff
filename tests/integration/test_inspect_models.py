"""`inspect` as a whole: every file in models/, the fork of the child, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

import planner
from planner.errors import ModelError
from tests.integration.child_runs import WriteModel

MODELS = Path(__file__).parents[2] / "models"
TARGETS = [*sorted(path.name for path in MODELS.glob("*.py")), "llama.py:llama_8b", "t5.py:t5_base"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_fvcore_and_torch_agree_within_2_percent(target: str) -> None:
    found = planner.inspect(str(MODELS / target), batch_size=2, depth=1)
    assert found.model.flop_rules.value == "fvcore"
    ratio = found.module().forward_flops / found.model.forward_flops_by_torch
    # What torch does not count (norms, elementwise work) can only make fvcore's figure greater.
    assert 1 <= ratio < 1.02, f"{target}: {ratio:.4f}"
    assert found.model.step.uncounted_operators == ()
    # Backward is twice the forward, without the gradient of the images, with recomputed attention.
    assert 2.5 < found.model.step.step_flops / found.model.forward_flops_by_torch < 3.2
    assert found.model.counts.parameters == found.module().parameters
    assert found.warnings == ()


@pytest.mark.slow
def test_counts_grow_with_the_batch() -> None:
    small, large = (
        planner.inspect(str(MODELS / "mlp.py"), batch_size=batch).to_dict()["counts"]
        for batch in (2, 64)
    )
    assert small["forward_flops_per_sample"] == large["forward_flops_per_sample"]
    assert small["forward_flops_per_sample"] >= 2 * (784 * 1024 + 1024 * 1024 + 1024 * 10)
    assert 32 * small["step_flops"] == large["step_flops"]


@pytest.mark.slow
def test_a_card_in_the_import_and_an_error(write_model: WriteModel) -> None:
    path = write_model(
        """
        torch.zeros(1, device="cuda")

        def build_model():
            return nn.Linear(3, 5)
        """
    )
    found = planner.inspect(path, inputs="3", batch_size=4)
    assert found.model.step.forward_flops_per_sample == 2 * 3 * 5
    with pytest.raises(ModelError, match="step 1, batch 4"):
        planner.inspect(path, inputs="7", batch_size=4)
