"""`python -m benchmarks.catalog`: what it builds, compares and says where packages are missing."""

from __future__ import annotations

import pytest

from benchmarks import catalog
from planner.catalog.catalog import find_model
from planner.catalog.records import CatalogModel


def installed(monkeypatch: pytest.MonkeyPatch, *, yes: bool) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda _: object() if yes else None)


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch, yes=False)
    assert catalog.main(["gpt2", "flux"]) == 2
    assert capsys.readouterr().err == (
        "not installed here: diffusers, torch, transformers; run it where they are\n"
    )


def test_a_difference_is_told_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def built(model: CatalogModel) -> int:
        if model.name.endswith("large"):
            raise ValueError("no such class")
        return model.parameters - (model.name == "openai-community/gpt2-xl")

    installed(monkeypatch, yes=True)
    monkeypatch.setattr(catalog, "parameters_of", built)
    assert catalog.main(["gpt2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines if line.startswith("openai-community/gpt2-xl")] == [
        ["openai-community/gpt2-xl", "1,557,611,199", "1,557,611,200", "-1"]
    ]
    assert "openai-community/gpt2-large: cannot be built: ValueError: no such class" in lines
    assert lines[-1].startswith("4 models, 0 with a published count, 2 differ")
    assert catalog.main(["google-t5/t5-SMALL"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "flan-t5-small", "whisper-tiny", "all-MiniLM-L6-v2"])
def test_models_are_built_with_the_parameters_of_the_catalog(name: str) -> None:
    pytest.importorskip("transformers")
    model = find_model(name)
    assert model is not None
    assert catalog.parameters_of(model) == model.parameters


@pytest.mark.slow
def test_a_denoiser_is_built_with_the_parameters_of_the_catalog() -> None:
    pytest.importorskip("diffusers")
    model = find_model("stable-diffusion-v1-5")
    assert model is not None
    assert catalog.parameters_of(model) == model.parameters
