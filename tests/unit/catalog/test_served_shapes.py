"""Shapes that are kept for the language models of the catalog."""

from __future__ import annotations

import importlib.util
import json

import pytest

from planner.catalog.catalog import all_models, config_json
from planner.catalog.records import Library
from planner.catalog.served_shapes import catalog_shapes, shaped_models
from planner.config.model_shapes import deciding_keys, shapes_from
from planner.memory.kv_cache.facts import served_model

MODELS = {model.name: model for model in all_models()}


def test_every_language_model_has_shapes() -> None:
    wanted = {
        name
        for name, model in MODELS.items()
        if model.library is Library.TRANSFORMERS
        and model.model_class.endswith(("ForCausalLM", "LMHeadModel"))
    }
    assert wanted <= set(shaped_models()) <= set(MODELS)
    assert catalog_shapes("google-t5/t5-small") is None


@pytest.mark.parametrize("name", shaped_models())
def test_shapes_have_the_parameters_of_the_record_and_facts(name: str) -> None:
    shapes = catalog_shapes(name)
    assert shapes is not None
    assert shapes.parameters == MODELS[name].parameters
    model = served_model(shapes)
    assert model.layers
    assert sum(layer.count for layer in model.layers) <= model.num_layers
    assert shapes_from(shapes.to_dict()) == shapes


def test_the_part_of_a_config_that_is_the_language_model_decides() -> None:
    config = {
        "model_type": "whole", "tie_word_embeddings": True, "hidden_size": 1,
        "text_config": {"model_type": "part", "hidden_size": 2, "rms_norm_eps": 1e-6},
    }  # fmt: skip
    assert deciding_keys(config) == {
        "model_type": "part", "hidden_size": 2, "tie_word_embeddings": True,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="install 'vram-planner[hf]' to run this",
)
@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "google/gemma-3-4b-it"])
def test_shapes_are_those_that_the_library_builds(name: str) -> None:
    from planner.config.published import Library as PublishedLibrary
    from planner.config.published import PublishedModel
    from planner.config.target import Target, TargetKind
    from planner.worker.published.shapes import published_shapes

    model = MODELS[name]
    published = PublishedModel(
        library=PublishedLibrary.TRANSFORMERS, name=name, config=config_json(model)
    )
    built = published_shapes(
        Target(kind=TargetKind.LIBRARY, location=model.target, published=published)
    )
    kept = catalog_shapes(name)
    assert kept is not None
    assert built.tensors == kept.tensors
    assert json.loads(built.config) == kept.keys()
