"""The components of a pipeline from a folder of configs, and the words for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.config.published import Attention, Decoding, Library, Task
from planner.errors import UsageError, WrongTargetError
from planner.published.names import NamedModel
from planner.published.pipelines import find_document
from planner.published.words import task_config

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.5.0",
    "requires_safety_checker": False,
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "image_encoder": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def folder(tmp_path: Path, index: Any = INDEX, *, without: str = "") -> Path:
    files = {
        "model_index.json": index,
        "text_encoder/config.json": {"model_type": "clip_text_model", "torch_dtype": "float16"},
        "tokenizer/tokenizer_config.json": {"model_max_length": 77},
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000},
    }
    for name, content in files.items():
        if name != without:
            path = tmp_path / "pipe" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
    return tmp_path / "pipe"


def document(name: Any) -> dict[str, Any]:
    found = find_document(NamedModel(library=Library.DIFFUSERS, name=str(name)))
    return dict(json.loads(found.text))


@pytest.mark.parametrize("end", ["", "model_index.json"])
def test_a_folder_gives_its_components(tmp_path: Path, end: str) -> None:
    found = document(folder(tmp_path) / end)
    assert found["_class_name"] == "StableDiffusionPipeline"
    assert found["dtype"] == "float16"
    assert found["tokenizers"] == {"tokenizer": 77}
    assert found["arguments"] == {"requires_safety_checker": False}
    assert list(found["components"]) == ["text_encoder", "scheduler"]
    assert found["components"]["scheduler"]["class"] == "PNDMScheduler"


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path, without="text_encoder/config.json")
    with pytest.raises(WrongTargetError, match="no config of its text_encoder"):
        document(place)


def test_a_folder_without_an_index_is_none(tmp_path: Path) -> None:
    with pytest.raises(WrongTargetError, match=r"holds no model_index\.json"):
        document(tmp_path)


def test_an_index_without_a_class_is_none(tmp_path: Path) -> None:
    with pytest.raises(WrongTargetError, match="_class_name"):
        document(folder(tmp_path, {"vae": ["diffusers", "AutoencoderKL"]}))


def test_an_unknown_name_says_where_it_was_looked_for() -> None:
    with pytest.raises(WrongTargetError, match="neither in the catalog of pipelines nor"):
        document("org/unknown-generator")


def words(library: Library = Library.DIFFUSERS, **options: Any) -> Any:
    return task_config({"task": "generate", **options}, library, infers=True)


def test_words_of_a_pipeline_become_a_task() -> None:
    found = words(image="1024x768", frames=49, denoise_steps=28, vae="tiling,slicing")
    assert (found.task, found.image, found.frames) == (Task.GENERATE, (1024, 768), 49)
    assert (found.denoise_steps, found.vae) == (28, (Decoding.SLICING, Decoding.TILING))
    assert dict(found.given())["vae"] == "slicing,tiling"
    assert words(attention="sliced").attention is Attention.SLICED
    assert words(vae=["slicing"]).vae == (Decoding.SLICING,)


@pytest.mark.parametrize(
    ("library", "options", "message"),
    [
        (Library.TRANSFORMERS, {"denoise_steps": 4}, "denoise_steps was given"),
        (Library.TRANSFORMERS, {"vae": "tiling"}, "vae was given"),
        (Library.TRANSFORMERS, {"attention": "sliced"}, "attention was given"),
        (Library.DIFFUSERS, {"new_tokens": 8}, "writes no tokens"),
        (Library.DIFFUSERS, {"vae": "tilling"}, "vae 'tilling' is not one of"),
        (Library.DIFFUSERS, {"denoise_steps": 0}, "at least 1"),
    ],
)
def test_words_that_do_not_belong_are_refused(
    library: Library, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        words(library, **options)
