"""The published figures, with their source.

Convention: GiB, as printed by the measuring script (which writes "GB" for bytes / 1024^3).
"""

from __future__ import annotations

from dataclasses import dataclass

# The issue has the script in its first text, and the figures below in a comment of 2025-11-11.
SOURCE = "https://github.com/pytorch/pytorch/issues/166643"

# One unit of the last of the four digits printed.
TOLERANCE_GIB = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One run of the script: peak allocated before the convolutions, and at the end."""

    torch_version: str
    dtype: str
    before_gib: float
    after_gib: float


# All with cuDNN 9.10.2, which both versions of torch bring. torch 2.9.1 does not give bfloat16 to
# that cuDNN: its own convolution unfolds the whole input instead.
PUBLISHED = (
    Published(torch_version="2.8.0", dtype="float32", before_gib=0.8427, after_gib=3.3555),
    Published(torch_version="2.9.1", dtype="float32", before_gib=0.8427, after_gib=3.3555),
    Published(torch_version="2.9.1", dtype="bfloat16", before_gib=1.2622, after_gib=8.5288),
)
