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
# GradScaler and DeepSpeed read whether a gradient or its norm was infinite; unknown gradients count
# as finite, which is 0.
_READ_FOUND_INF = {
    "/torch/amp/grad_scaler.py": ("_maybe_opt_step", "<genexpr>"),
    "/deepspeed/runtime/utils.py": ("is_invalid_grad_norm", "check_using_norm", "has_overflow"),
    "/deepspeed/runtime/zero/stage_1_and_2.py": ("has_overflow",),
    "/deepspeed/runtime/zero/stage3.py": ("has_overflow",),
}
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
    return any(
        name.endswith(place) and frame.f_code.co_name in functions
        for place, functions in _READ_FOUND_INF.items()
    )


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
