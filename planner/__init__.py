"""vram-planner: does a PyTorch model fit on a GPU, and how large a batch, without the GPU.

    import planner
    estimate = planner.estimate("models/resnet50.py", gpu="a100", batch_size=32)
    estimate.fits(), estimate.total_bytes, estimate.max_batch_size

Importing this package imports neither torch nor anything else that is slow. The public names are
those of planner/public/names.py, which is imported for the first of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner._version import __version__ as __version__

if TYPE_CHECKING:  # with no __getattr__ for it: a type checker sees a name that there is not
    from planner.public.names import *  # noqa: F403  # the one list is there
else:
    _QUESTIONS = (
        "advise", "compare", "curve", "estimate", "inspect", "learn", "learn_trace",
        "max_batch_size", "parallelize", "run", "serving", "sweep", "verify",
    )  # fmt: skip
    _SHOWN = ("export", "report")

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # of the import system: not one of ours
            raise AttributeError(f"module 'planner' has no attribute {name!r}")
        if name in _QUESTIONS:  # without what the others need: a command asks one question
            from importlib import import_module

            return getattr(import_module(f"planner.questions.{name}"), name)
        if name in _SHOWN:
            from importlib import import_module

            return getattr(import_module(f"planner.public.{name}"), name)
        from planner.public import names

        if name == "__all__":
            return names.__all__
        if name not in names.__all__:
            raise AttributeError(f"module 'planner' has no attribute {name!r}")
        return getattr(names, name)


def __dir__() -> list[str]:
    from planner.public.names import __all__

    return __all__
