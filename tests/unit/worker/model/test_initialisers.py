from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import init

from planner.worker.model import initialisers
from planner.worker.model.initialisers import no_redraw_on_cuda

BOUNDS = [
    pytest.param({"std": 0.02}, id="wide"),
    pytest.param({"std": 1.0, "a": -0.1, "b": 0.1}, id="narrow"),
    pytest.param({"mean": 0.5, "std": 0.1, "a": 0.4, "b": 1.0}, id="shifted"),
]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_other_devices_get_torchs_own(bounds: dict[str, float]) -> None:
    weight = torch.full((1000,), 9.0)
    with no_redraw_on_cuda():
        assert init.trunc_normal_(weight, **bounds) is weight
    assert weight.min() >= bounds.get("a", -2.0)
    assert weight.max() <= bounds.get("b", 2.0)
    assert weight.std() > 0


@pytest.mark.parametrize("bounds", BOUNDS)
def test_one_draw_ends_whatever_the_values_are(
    bounds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*values: Any, **options: Any) -> torch.Tensor:
        while True:  # what the replacement looks for in the source
            raise AssertionError("the loop of torch was entered")

    class OnCuda(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(init, "_no_grad_trunc_normal_", endless)
    initialisers._loops.cache_clear()
    weight = torch.zeros(8).as_subclass(OnCuda)
    with no_redraw_on_cuda():
        assert init.trunc_normal_(weight, **bounds) is weight
    initialisers._loops.cache_clear()
    assert init._no_grad_trunc_normal_ is endless
    assert weight.abs().sum() > 0
