"""transformers' questions whether a generation goes on are answered by its length."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from planner.worker.drive.token_loop import TokenLoops
from planner.worker.values import generation_ends


class Card(torch.Tensor):
    """A tensor that must not be read."""

    def __bool__(self) -> bool:
        raise AssertionError("a value of the card was read")


def card(*values: int) -> torch.Tensor:
    return torch.tensor(values).as_subclass(Card)


def made_up(version: int) -> ModuleType:
    """Returns a transformers.generation.utils with the loop of that version, as far as it ends."""
    module = ModuleType("transformers.generation.utils")

    class Criteria(list[Any]):
        max_length = 8

        def __call__(self, input_ids: torch.Tensor, scores: Any) -> torch.Tensor:
            return card(0)

    class StopCheck:
        streamer = None

        def __call__(self, unfinished: torch.Tensor, tokens: torch.Tensor, length: int) -> bool:
            return bool(unfinished.max() == 0)

    class Mixin:
        def generate(self, input_ids: torch.Tensor) -> torch.Tensor:
            criteria, unfinished, finished = Criteria(), card(1), False
            while self._has_unfinished_sequences(finished, False, device="cuda"):
                kwargs = self._update_model_kwargs_for_generation({"past": 1}, {})
                assert kwargs == {"past_key_values": [1]}
                input_ids = torch.cat([input_ids, input_ids[:, -1:]], dim=-1)
                unfinished = unfinished & ~criteria(input_ids, None)
                if version == 5:
                    finished = StopCheck()(unfinished, input_ids, input_ids.shape[1])
                elif version == 4:
                    finished = unfinished.max() == 0
                else:
                    finished = not self._beam_search_has_unfinished_sequences(unfinished)
            return input_ids

        def _update_model_kwargs_for_generation(self, outputs: Any, kwargs: Any) -> Any:
            return {"past_key_values": [outputs["past"]]}

        def _has_unfinished_sequences(
            self, this_peer_finished: Any, synced_gpus: bool, device: Any
        ) -> bool:
            return not this_peer_finished

        @staticmethod
        def _beam_search_has_unfinished_sequences(unfinished: torch.Tensor) -> torch.Tensor:
            return unfinished

    module.GenerationMixin = Mixin  # type: ignore[attr-defined]
    module.StoppingCriteriaList = Criteria  # type: ignore[attr-defined]
    if version == 5:
        module.StopCheck = StopCheck  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("version", [4, 5, 0])
def test_a_loop_reads_nothing_and_ends_with_its_length(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = TokenLoops()
    monkeypatch.setattr(generation_ends, "loops", loops)
    module = made_up(version)
    with pytest.raises(AssertionError, match="was read"):
        module.GenerationMixin().generate(torch.zeros(2, 3))
    generation_ends._change(module)
    assert module.GenerationMixin().generate(torch.zeros(2, 3)).shape == (2, 8)
    assert loops.has_run


def test_what_waits_for_other_ranks_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = TokenLoops()
    monkeypatch.setattr(generation_ends, "loops", loops)
    module = made_up(4)
    asked: list[bool] = []
    module.GenerationMixin._has_unfinished_sequences = lambda self, finished, synced, device: (
        asked.append(finished)
    )
    generation_ends._change(module)
    mixin = module.GenerationMixin()
    with loops.running():
        assert mixin._has_unfinished_sequences(SimpleNamespace(), True, device="cuda")
        loops.note_length(8, 8)
        assert not mixin._has_unfinished_sequences(False, True, device="cuda")
    assert asked == [False, True]
