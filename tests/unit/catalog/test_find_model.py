"""Finding published models by name, a user's own models, and the config.json they give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from planner.catalog.catalog import all_models, config_json, find_model, near_models
from planner.errors import CatalogError

ENTRY = {
    "name": "lab/Tiny-1B",
    "aliases": ["lab/Tiny-1B-chat"],
    "library": "transformers",
    "model_class": "LlamaForCausalLM",
    "dtype": "bfloat16",
    "parameters": 1000,
    "parameters_source": "built",
    "source": "our own lab",
    "date": "2026-11-28",
    "config": {"model_type": "llama", "hidden_size": 8, "rms_norm_eps": 1.0e-5},
}


def own(folder: Path, *entries: object, name: str = "lab.yaml") -> Path:
    """A user's folder with a file of these models."""
    (folder / "models").mkdir(exist_ok=True)
    document = {"family": "lab", "models": list(entries)}
    (folder / "models" / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B",
        "META-LLAMA/llama-3.1-8b",
        " meta-llama/Llama-3.1-8B ",
        "Llama-3.1-8B",
        "llama-3.1-8b-instruct",
        "meta-llama/Meta-Llama-3.1-8B",
    ],
)
def test_spellings(name: str) -> None:
    model = find_model(name)
    assert model is not None
    assert model.name == "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    "name", ["", "/", "llama", "Llama-3.1", "other/Llama-3.1-8B", "hidden_size"]
)
def test_no_such_model(name: str) -> None:
    assert find_model(name) is None


def test_every_name_leads_to_its_model() -> None:
    for model in all_models():
        for name in model.names:
            assert find_model(name) == model


def test_near_names_are_of_models_and_nearest_first() -> None:
    near = near_models("meta-llama/Llama-3.1-8C")
    assert near[0] == "meta-llama/Llama-3.1-8B"
    assert all(find_model(name) is not None for name in near)
    assert near_models("llama-3.1")[0].startswith("meta-llama/Llama-3.1")
    assert near_models("%%%%") == ()


def test_config_json_is_the_published_one() -> None:
    model = find_model("Llama-3.1-8B")
    assert model is not None
    document = json.loads(config_json(model))
    assert document["architectures"] == ["LlamaForCausalLM"]
    assert document["torch_dtype"] == "bfloat16"
    assert document["rope_scaling"]["factor"] == 8.0
    assert document["rms_norm_eps"] == 1e-5
    assert document == {
        **model.config,
        "architectures": [model.model_class],
        "torch_dtype": model.dtype,
    }


def test_a_users_model_comes_first(tmp_path: Path) -> None:
    mine = {**ENTRY, "name": "meta-llama/Llama-3.1-8B"}
    folder = own(tmp_path, ENTRY, {**mine, "aliases": []})
    found = find_model("llama-3.1-8b", folder)
    assert found is not None
    assert found.source == "our own lab"
    assert find_model("tiny-1b-CHAT", folder) is not None
    assert find_model("tiny-1b-chat") is None
    assert near_models("tiny-1a", folder) == ("lab/Tiny-1B",)
    names = [model.name for model in all_models(folder)]
    assert len(names) == len(set(names)) == len(all_models()) + 1


def test_a_last_part_of_two_models_is_none_of_them(tmp_path: Path) -> None:
    folder = own(tmp_path, ENTRY, {**ENTRY, "name": "other/Tiny-1B", "aliases": []})
    assert find_model("tiny-1b", folder) is None
    assert find_model("other/tiny-1b", folder) is not None
    assert set(near_models("tiny-1b", folder)) == {"lab/Tiny-1B", "other/Tiny-1B"}


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("name", "a b", "name: 'a b' does not have the form"),
        ("name", None, "name: is null"),
        ("aliases", ["x/y/z"], "aliases: 'x/y/z' does not have the form"),
        ("library", "timm", "library: 'timm' is not one of transformers, diffusers"),
        ("model_class", "llama", "model_class: 'llama' does not have the form"),
        ("dtype", "int8", "dtype: 'int8' does not have the form"),
        ("parameters", 1.5, "parameters: must be a whole number"),
        ("parameters", "8B", "parameters: must be a plain number"),
        ("date", "today", "date: 'today' does not have the form"),
        ("sauce", "x", "sauce: is not a key here"),
        ("config", [], "config: must be a mapping of keys to values, not a list"),
        ("config", {}, "config: is empty"),
        ("config", {"hidden_size": 8}, "config.model_type: is missing"),
        ("config", {"model_type": "llama", 1: 2}, "config: the key 1 is not text"),
        ("config", {"model_type": "llama", "eps": "1e-5"}, "config.eps: '1e-5' is text"),
        ("config", {"model_type": "llama", "eps": float("nan")}, "config.eps: nan is not a number"),
        ("config", {"model_type": "llama", "a": {"b": [1, "2"]}}, r"config.a.b\[1\]: '2' is text"),
    ],
)
def test_a_fault_names_file_and_key(tmp_path: Path, key: str, value: object, fault: str) -> None:
    folder = own(tmp_path, {**ENTRY, key: value})
    with pytest.raises(CatalogError, match=rf"lab\.yaml: models\[0\]\.{fault}"):
        all_models(folder)


def test_a_date_in_a_config_is_no_value_of_json(tmp_path: Path) -> None:
    (own(tmp_path, ENTRY) / "models" / "lab.yaml").write_text(
        yaml.safe_dump({"family": "lab", "models": [ENTRY]}).replace(
            "hidden_size: 8", "hidden_size: 2026-11-28"
        )
    )
    with pytest.raises(CatalogError, match=r"config\.hidden_size: a date is not a value of JSON"):
        all_models(tmp_path)


def test_a_config_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump({"family": "lab", "models": [ENTRY]})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lab.yaml").write_text(
        text.replace("hidden_size: 8", "a: &a {b: *a}"), encoding="utf-8"
    )
    with pytest.raises(CatalogError, match="nested more than 12 levels deep"):
        all_models(tmp_path)


def test_a_config_of_billions_of_values_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump({"family": "lab", "models": [ENTRY]})
    bomb = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"
    for level in range(1, 10):
        bomb += f"\n    x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lab.yaml").write_text(
        text.replace("hidden_size: 8", bomb), encoding="utf-8"
    )
    with pytest.raises(CatalogError, match="config: has more than 5000 values"):
        all_models(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("family: lab\nfamily: lab", "the key 'family' is written twice"),
        ("family: [", "is not valid YAML"),
        ("- 1", "must be a mapping of keys"),
        ("family: lab", "models: is missing or empty"),
        ("family: lab\nmodels: []", "models: is missing or empty"),
        ("family: lab\nmodels: {a: 1}", "models: must be a list"),
        ("family: Lab\nmodels: []", "family: 'Lab' does not have the form"),
        ("#" * 200_000, "is too long"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lab.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match=rf"lab\.yaml: .*{fault}"):
        all_models(tmp_path)


def test_a_name_twice_is_an_error(tmp_path: Path) -> None:
    own(tmp_path, ENTRY, {**ENTRY, "name": "LAB/tiny-1b-CHAT", "aliases": []})
    with pytest.raises(
        CatalogError, match=r"models\[1\]\.name: 'LAB/tiny-1b-CHAT' is in this file"
    ):
        all_models(tmp_path)
    own(tmp_path, ENTRY)
    own(tmp_path, {**ENTRY, "aliases": []}, name="other.yaml")
    with pytest.raises(CatalogError, match=r"other\.yaml: name: 'lab/tiny-1b' is already in .*lab"):
        all_models(tmp_path)
