"""The image of vLLM's profile run: what its encoder holds at the peak, and what it leaves.

In: ServedModel. Out: ImageBytes, or None where the encoder is not known. Convention: profile_run of
vllm/v1/worker/gpu_model_runner.py (0.33.0) reads the largest image that the processor makes, keeps
its vectors, and then runs the language model. Of the encoders of Qwen's models the largest image
is known: 16,384 vectors of 4 patches (Qwen2VLImageProcessor: 12,845,056 pixels in patches of 14,
and 16,777,216 of 16, in squares of 2 x 2 patches).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.memory.kv_cache.facts import ServedModel

_WIDE = re.compile(r"(^|\.)visual\.blocks\.\*\.mlp\.(linear_fc1|up_proj)\.weight$")
_MERGERS = re.compile(r"(^|\.)visual\.deepstack_merger_list\.\*\.norm\.weight$")
_VECTORS, _PATCHES = 16_384, 4
_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBytes:
    """Bytes of one rank. `peak`: while the image is read; `kept`: its vectors, while text is."""

    peak: int
    kept: int


def image_bytes(model: ServedModel, ranks: int) -> ImageBytes | None:
    """Returns the bytes of the largest image; None: no encoder, or one that is not known.

    At the peak a block holds its input, the same after the norm, and the wide part before and after
    its activation; with a gate both halves.
    """
    wide = [one for one in model.tensors if _WIDE.search(one.name)]
    if not wide:
        return None
    out, hidden = wide[0].shape
    halves = 3 if wide[0].name.endswith("up_proj.weight") else 2
    more = sum(one.count for one in model.tensors if _MERGERS.search(one.name))
    kept = _BYTES * _VECTORS * model.hidden_size * (1 + more)
    patches = _VECTORS * _PATCHES
    peak = _BYTES * patches * (2 * hidden + halves * out // ranks)
    return ImageBytes(peak=peak + kept, kept=kept)
