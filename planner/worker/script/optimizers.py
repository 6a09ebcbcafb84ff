"""The optimizers that a script makes, whether or not they ever step.

In: the making of subclasses of torch.optim.Optimizer. Out: names of their classes.
"""

from __future__ import annotations

import functools
from typing import Any

from torch.optim import Optimizer


class MadeOptimizers:
    """Watches the making of optimizers; `names` are their classes, each once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the classes of the optimizers that were made so far."""
        return tuple(self._names)

    def watch(self) -> None:
        """Sees each optimizer that is made from now on."""
        kind: Any = Optimizer
        made = kind.__init__

        @functools.wraps(made)
        def making(one: Any, *args: Any, **kwargs: Any) -> None:
            made(one, *args, **kwargs)
            self._names[type(one).__name__] = None

        kind.__init__ = making
