"""vram-planner: does a PyTorch model fit on a GPU, and how large a batch, without the GPU.

    import planner
    estimate = planner.estimate("models/resnet50.py", gpu="a100", batch_size=32)
    estimate.fits(), estimate.total_bytes, estimate.max_batch_size

Importing this package imports neither torch nor anything else that is slow. The public names are
those of planner/questions/public.py, which is imported for the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner._version import __version__ as __version__

if TYPE_CHECKING:  # with no __getattr__ for it: a type checker sees a name that there is not
    from planner.questions.public import *  # noqa: F403  # the one list is there
else:
    _QUESTIONS = (
        "advise", "compare", "curve", "estimate", "inspect", "learn", "max_batch_size",
        "parallelize", "run", "sweep", "verify",
    )  # fmt: skip

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # of the import system: not one of ours
            raise AttributeError(f"module 'planner' has no attribute {name!r}")
        if name in _QUESTIONS:  # without what the others need: a command asks one question
            from importlib import import_module

            return getattr(import_module(f"planner.questions.{name}"), name)
        from planner.questions import public

        if name == "__all__":
            return public.__all__
        if name not in public.__all__:
            raise AttributeError(f"module 'planner' has no attribute {name!r}")
        return getattr(public, name)


def __dir__() -> list[str]:
    from planner.questions.public import __all__

    return __all__
