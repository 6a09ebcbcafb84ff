"""The catalog of pipelines: every component is there, and a wrong record is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.catalog.pipelines import all_pipelines, find_pipeline, pipeline_json, read_pipelines
from planner.errors import HardwareDatabaseError

PART = {
    "name": "vae", "library": "diffusers", "part_class": "AutoencoderKL", "source": "here",
    "date": "2026-11-30", "config": {"latent_channels": 4},
}  # fmt: skip


def pipeline(**changes: Any) -> dict[str, Any]:
    return {
        "name": "org/name", "pipeline_class": "StableDiffusionPipeline", "dtype": "float16",
        "source": "here", "date": "2026-11-30",
        "components": [{"role": "vae", "part": "vae"}], **changes,
    }  # fmt: skip


@pytest.mark.parametrize("one", all_pipelines(), ids=lambda one: one.name)
def test_every_pipeline_has_its_components(one: Any) -> None:
    document = json.loads(pipeline_json(one))
    components = document["components"]
    assert components.keys() >= {"vae", "scheduler"}
    assert {"unet", "transformer"} & components.keys()
    assert {role for role in components if role.startswith("text_encoder")}
    assert len(document["tokenizers"]) == sum(role.startswith("text_enc") for role in components)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CompVis/stable-diffusion-v1-4", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("flux.1-dev", "black-forest-labs/FLUX.1-dev"),
        ("THUDM/CogVideoX-5b", "zai-org/CogVideoX-5b"),
        ("gpt2", None),
    ],
)
def test_a_pipeline_is_found_by_its_names(text: str, name: str | None) -> None:
    found = find_pipeline(text)
    assert (None if found is None else found.name) == name


def test_a_component_has_one_source() -> None:
    wrong = pipeline(components=[{"role": "vae", "part": "vae", "tokens": 77}])
    with pytest.raises(HardwareDatabaseError, match="one of part, model and tokens"):
        read_pipelines({"parts": [PART], "pipelines": [wrong]}, "x.yaml")


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(HardwareDatabaseError, match="steps"):
        read_pipelines({"pipelines": [pipeline(steps=4)]}, "x.yaml")


def test_a_part_twice_is_an_error() -> None:
    with pytest.raises(HardwareDatabaseError, match="twice"):
        read_pipelines({"parts": [PART, PART]}, "x.yaml")
