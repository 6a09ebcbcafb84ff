"""The loops of generate() of transformers: which token comes next, and where a loop ends.

In: marks of the changed functions of transformers (values/generation_ends.py), and the window that
a run is to write. Out: whether the loop goes on. Convention: a loop ends with its greatest length;
what ends a sequence earlier is a value of the card, and is taken not to happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from planner.config.generation import TokenWindow

WORDS = (
    "generate() of transformers: no sequence ends before its greatest length, as with a text in "
    "which no token of the end comes"
)


OnToken = Callable[[Iterable[torch.Tensor]], None]
_DEPTH = 8  # of a cache: lists and attributes, down to the states of a layer


@dataclass(slots=True)
class _Loop:
    """One call of generate(). `rounds` counts how often its loop has begun anew."""

    rounds: int = 0
    has_ended: bool = False
    cache: Any = None


@dataclass(slots=True)
class TokenLoops:
    """The loops of this process: one, or those of an assistant within the loop that it assists."""

    window: TokenWindow | None = None
    on_token: OnToken = lambda cache: None
    has_run: bool = False
    _loops: list[_Loop] = field(default_factory=list)

    @contextmanager
    def watched(self, window: TokenWindow | None, on_token: OnToken) -> Iterator[None]:
        """Ends outermost loops with `window`; `on_token` is called before each of their rounds.

        It gets the tensors of the cache as they are then.
        """
        before = self.window, self.on_token
        self.window, self.on_token, self.has_run = window, on_token, False
        try:
            yield
        finally:
            self.window, self.on_token = before

    @contextmanager
    def running(self) -> Iterator[None]:
        """Notes a call of generate() within the context."""
        self.has_run = True
        self._loops.append(_Loop())
        try:
            yield
        finally:
            self._loops.pop()

    def note_length(self, length: int, longest: int | None) -> None:
        """Notes that the sequences have `length` tokens of at most `longest`."""
        if self._loops:
            self._loops[-1].has_ended = longest is not None and length >= longest

    def note_cache(self, cache: Any) -> None:
        """Notes the object that keeps what later tokens need; it must not outlive its loop."""
        if self._loops:
            self._loops[-1].cache = cache

    def has_ended(self) -> bool:
        """Returns whether the sequences have their greatest length."""
        return bool(self._loops) and self._loops[-1].has_ended

    def goes_on(self) -> bool:
        """Returns whether the innermost loop takes another round, which begins then."""
        if not self._loops:
            return True
        loop, is_outermost = self._loops[-1], len(self._loops) == 1
        if is_outermost:
            self.on_token(_tensors_in(loop.cache))
        is_over = loop.has_ended or (
            is_outermost and self.window is not None and loop.rounds >= self.window.tokens
        )
        loop.rounds += 1
        return not is_over


def _tensors_in(value: Any, depth: int = _DEPTH) -> Iterator[torch.Tensor]:
    """Yields the tensors on a card that a cache of transformers holds."""
    if isinstance(value, torch.Tensor):
        if value.is_cuda:
            yield value
    elif depth and isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors_in(one, depth - 1)
    elif depth and isinstance(value, dict):
        yield from _tensors_in(list(value.values()), depth - 1)
    elif depth and hasattr(value, "__dict__"):
        yield from _tensors_in(list(vars(value).values()), depth - 1)


loops = TokenLoops()
