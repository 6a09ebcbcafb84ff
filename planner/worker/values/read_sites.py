"""Places in the user's code that read a value, and reads that decide nothing.

In: the Python frame in which torch copied from the card. Out: ReadSite. Convention: the innermost
line that is neither torch's nor planner's is the user's.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FrameType

from planner.wire.value_reads import ReadSite

# cuDNN's RNNs draw the seed of their dropout on the card: a value that decides nothing.
_READS_A_SEED = "/torch/nn/modules/rnn.py"
# GradScaler reads whether a gradient was infinite; unknown gradients count as finite, which is 0.
_READS_FOUND_INF = ("/torch/amp/grad_scaler.py", ("_maybe_opt_step", "<genexpr>"))
# torch.compile tries its kernels while it compiles.
_COMPILERS = (
    "/torch/_inductor/", "/torch/_dynamo/", "/site-packages/triton/", "/dist-packages/triton/",
)  # fmt: skip


def is_harmless(frame: FrameType | None) -> bool:
    """Returns whether zero is right for this read, or decides nothing."""
    if frame is None:
        return False
    name = frame.f_code.co_filename
    if name.endswith(_READS_A_SEED) or any(part in name for part in _COMPILERS):
        return True
    place, functions = _READS_FOUND_INF
    return name.endswith(place) and frame.f_code.co_name in functions


def site_of(frame: FrameType | None) -> ReadSite:
    """Returns the user's line; an empty site if there is none, as in autograd's own thread."""
    internal = _internal_prefixes()
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(internal) and not code.co_filename.startswith("<"):
            return ReadSite(file=code.co_filename, line=frame.f_lineno, function=code.co_name)
        frame = frame.f_back
    return ReadSite()


@cache
def _internal_prefixes() -> tuple[str, ...]:
    """Returns paths of planner, torch and contextlib; called when torch has been imported."""
    return (
        str(Path(__file__).resolve().parents[2]) + "/",
        str(Path(str(sys.modules["torch"].__file__)).parent) + "/",
        sysconfig.get_path("stdlib") + "/contextlib.py",
    )
