"""Answers by length whether generate() of transformers goes on; its own answer is on the card.

In: the functions of transformers that ask. Out: changed functions, which make the same kernels run.
Convention: an end of a sequence would be a token that only a card could compute, and a language
model of random weights writes it by chance alone: every sequence gets its greatest length.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from planner.worker.drive.token_loop import loops
from planner.worker.engines.after_import import after_import

_GENERATION = "transformers.generation.utils"
_CACHES = ("cache", "past_key_values", "cache_params", "state", "mems", "past_buckets_states")


def install() -> None:
    """Changes transformers, now or once it is imported."""
    after_import(_GENERATION, _change)


def _change(module: ModuleType) -> None:
    mixin: Any = module.GenerationMixin
    _wrap_generate(mixin)
    _wrap_criteria(module.StoppingCriteriaList)
    _wrap_question(mixin)
    _wrap_update(mixin)
    if hasattr(mixin, "_beam_search_has_unfinished_sequences"):
        _wrap_beams(mixin)
    if hasattr(module, "StopCheck"):
        _wrap_check(module.StopCheck)


def _wrap_generate(mixin: Any) -> None:
    original = mixin.generate

    @functools.wraps(original)
    def generate(*args: Any, **kwargs: Any) -> Any:
        with loops.running():
            return original(*args, **kwargs)

    mixin.generate = generate


def _wrap_criteria(criteria: Any) -> None:
    """Notes the length that the criteria of the end have looked at."""
    original = criteria.__call__

    @functools.wraps(original)
    def called(self: Any, input_ids: Any, *args: Any, **kwargs: Any) -> Any:
        found = original(self, input_ids, *args, **kwargs)
        loops.note_length(int(input_ids.shape[-1]), self.max_length)
        return found

    criteria.__call__ = called


def _wrap_question(mixin: Any) -> None:
    """Asks the length where transformers would ask a value of the card, at each round."""
    original = mixin._has_unfinished_sequences

    @functools.wraps(original)
    def _has_unfinished_sequences(
        self: Any, this_peer_finished: Any, synced_gpus: bool, *args: Any, **kwargs: Any
    ) -> bool:
        goes_on = loops.goes_on()
        if synced_gpus:  # a collective of all ranks
            original(self, not goes_on, synced_gpus, *args, **kwargs)
        return goes_on

    mixin._has_unfinished_sequences = _has_unfinished_sequences


def _wrap_update(mixin: Any) -> None:
    """Notes the cache that a model has returned."""
    original = mixin._update_model_kwargs_for_generation

    @functools.wraps(original)
    def _update_model_kwargs_for_generation(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        loops.note_cache([found.get(name) for name in _CACHES])
        return found

    mixin._update_model_kwargs_for_generation = _update_model_kwargs_for_generation


def _wrap_beams(mixin: Any) -> None:
    original = mixin._beam_search_has_unfinished_sequences

    @functools.wraps(original)
    def _beam_search_has_unfinished_sequences(*args: Any, **kwargs: Any) -> bool:
        original(*args, **kwargs)
        return not loops.has_ended()

    mixin._beam_search_has_unfinished_sequences = staticmethod(
        _beam_search_has_unfinished_sequences
    )


def _wrap_check(check: Any) -> None:
    """Changes the check of transformers 5, which waits for the card."""
    original = check.__call__

    @functools.wraps(original)
    def called(self: Any, unfinished_sequences: Any, tokens: Any, length: int) -> bool:
        if type(self) is not check:
            return bool(original(self, unfinished_sequences, tokens, length))
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())
        unfinished_sequences.max() == 0  # noqa: B015  # its kernels
        return loops.has_ended()

    check.__call__ = called
