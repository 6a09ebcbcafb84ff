"""How many frames of a clip one latent frame stands for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.config.published import Library
from planner.published.latent_frames import frames_of_a_latent
from planner.published.names import NamedModel
from planner.published.pipelines import find_document


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        # num_frames of their pages: 81 = 4 * 20 + 1, 49 = 4 * 12 + 1, 161 = 8 * 20 + 1
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 4),
        ("zai-org/CogVideoX-5b", 4),
        ("Lightricks/LTX-Video", 8),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", None),
    ],
)
def test_the_catalog_says_it_for_video(name: str, frames: int | None) -> None:
    found = find_document(NamedModel(library=Library.DIFFUSERS, name=name))
    assert frames_of_a_latent(json.loads(found.text)) == frames


@pytest.mark.parametrize(
    ("config", "frames"),
    [
        ({"scale_factor_temporal": 4, "temperal_downsample": [True]}, 4),
        ({"temporal_compression_ratio": 8}, 8),
        ({"temporal_compression_ratio": None, "temperal_downsample": [False, True, True]}, 4),
        ({"spatio_temporal_scaling": [True, True, True, False], "patch_size_t": 2}, 16),
        ({"temporal_compression_ratio": True}, None),
        ({"temperal_downsample": "all"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_keys_of_decoders(config: dict[str, Any], frames: int | None) -> None:
    assert frames_of_a_latent({"components": {"vae": {"config": config}}}) == frames


def test_a_pipeline_without_a_decoder() -> None:
    assert frames_of_a_latent({"components": {}}) is None
