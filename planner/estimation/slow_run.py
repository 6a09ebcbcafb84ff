"""Says that a run goes on where it takes long: a model that is compiled may take minutes.

In: what runs within the context. Out: a line of progress, once. Convention: nothing is known of
what the run does, so nothing is claimed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AFTER_S = 20.0  # most runs take a few seconds


@contextmanager
def noted_when_slow(
    progress: Callable[[str], None], what: str, after_s: float = _AFTER_S
) -> Iterator[None]:
    """Within the context, `progress` is told once that `what` goes on after so many seconds."""
    text = (
        f"{what}: still running after {after_s:.0f} s; where the model uses torch.compile, it is "
        "compiled now, which can take minutes"
    )
    timer = threading.Timer(after_s, progress, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
