"""Frames of a clip that one latent frame stands for, from the config of a pipeline's decoder.

In: the document of a pipeline (planner/published/pipelines.py). Out: a number of frames.
Convention: a clip has a whole number of these and one frame more, as causal decoders make them:
81 = 4 * 20 + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The keys of the decoders of diffusers, in models/autoencoders/: autoencoder_kl_wan.py has the
# first and counts the third, autoencoder_kl_cogvideox.py has the second, autoencoder_kl_ltx.py has
# it and else counts the fourth and multiplies it by patch_size_t.
_FACTORS = ("scale_factor_temporal", "temporal_compression_ratio")
_HALVINGS = ("temperal_downsample", "spatio_temporal_scaling")
_DECODER = "vae"


def frames_of_a_latent(document: Mapping[str, Any]) -> int | None:
    """Returns the frames between two latent frames; None: the decoder's config does not say."""
    decoder = document["components"].get(_DECODER)
    config: Mapping[str, Any] = {} if decoder is None else decoder["config"]
    for key in _FACTORS:
        if _is_count(config.get(key)):
            return int(config[key])
    for key in _HALVINGS:
        flags = config.get(key)
        if isinstance(flags, list) and all(isinstance(one, bool) for one in flags):
            patch = config.get("patch_size_t", 1)
            return int(2 ** sum(flags) * patch) if _is_count(patch) else None
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
