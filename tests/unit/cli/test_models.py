"""`planner models`: what it lists, finds and shows, as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner.catalog.catalog import all_models, config_json, find_model
from planner.cli.models import models
from planner.cli.root import root
from planner.errors import CatalogError, UnknownModelError, UsageError
from planner.units import format_count


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_has_one_line_per_model() -> None:
    lines = run().splitlines()
    known = all_models()
    assert lines[0].split() == ["model", "parameters", "dtype", "library", "family"]
    for line, model in zip(lines[1:], known, strict=True):
        assert line.split() == [
            model.name, *format_count(model.parameters).split(), model.dtype,
            model.library.value, model.family,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["Llama-3.2"], ["meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"]),
        (["llama", "405b"], ["meta-llama/Llama-3.1-405B"]),
        (["405b", "llama"], ["meta-llama/Llama-3.1-405B"]),
        (["SD3Transformer2DModel", "large"], ["stabilityai/stable-diffusion-3.5-large"]),
        (["hf:gpt2-xl"], ["openai-community/gpt2-xl"]),
        (["r1-distill", "70b"], ["meta-llama/Llama-3.1-70B"]),  # an alias
    ],
    ids=" ".join,
)
def test_search_by_words(words: list[str], found: list[str]) -> None:
    assert [line.split()[0] for line in run(*words).splitlines()[1:]] == found
    document = json.loads(run(*words, "--json"))
    assert [model["name"] for model in document["models"]] == found
    assert document == json.loads(run("--json", *words))


def test_nothing_found_is_a_usage_error_with_near_names() -> None:
    with pytest.raises(UnknownModelError, match="near names: meta-llama/Llama-3"):
        run("meta-llama/Lama-3.1-8B")
    result = CliRunner().invoke(root, ["models", "%%%"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: no model with '%%%' in its names; run `planner models` to list all of them\n"
    )


@pytest.mark.parametrize("name", ["hf:meta-llama/Llama-3.2-1B", "llama-3.2-1b-instruct"])
def test_show_has_the_config_and_where_it_was_read(name: str) -> None:
    model = find_model("Llama-3.2-1B")
    assert model is not None
    output = run("show", name)
    assert output.splitlines()[0] == "meta-llama/Llama-3.2-1B"
    for said in (model.source, model.parameters_source, model.date, "1,235,814,400", "bfloat16"):
        assert said in output
    lines = [tuple(line.split(None, 1)) for line in output.partition("\nconfig\n")[2].splitlines()]
    assert ("hidden_size", "2048") in lines
    assert ("rope_scaling.factor", "32.0") in lines
    assert ("hidden_act", '"silu"') in lines
    assert len(lines) == len(model.config) - 1 + len(model.config["rope_scaling"])


def test_show_prints_the_config_json_alone() -> None:
    for name in ("gpt2", "diffusers:FLUX.1-dev"):
        model = find_model(name.rpartition(":")[2])
        assert model is not None
        assert run("show", name, "--config") == config_json(model)


def test_json_keys_are_stable() -> None:
    document = json.loads(run("show", "bert-base-uncased", "--json"))
    assert list(document) == ["schema_version", "requested", "model"]
    assert list(document["model"]) == [
        "name", "aliases", "family", "library", "model_class", "dtype", "parameters",
        "parameters_source", "source", "date", "notes", "config",
    ]  # fmt: skip
    assert document["model"]["config"]["vocab_size"] == 30522
    assert document == json.loads(run("--json", "show", "bert-base-uncased"))


def test_unknown_name_is_a_usage_error() -> None:
    result = CliRunner().invoke(root, ["models", "show", "whisper-large-v9"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "error: no model named 'whisper-large-v9' in the catalog; near names: openai/whisper-large"
    )


def test_own_folder_is_taken(tmp_path: Path) -> None:
    text = run("show", "gpt2", "--json")
    entry = json.loads(text)["model"]
    del entry["family"]
    entry |= {"name": "lab/gpt-mine", "aliases": ["gpt2"]}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text(
        yaml.safe_dump({"family": "lab", "models": [entry]}), encoding="utf-8"
    )
    option = ["--hardware-db", str(tmp_path)]
    assert run("show", "gpt2", *option).startswith("lab/gpt-mine\n")
    assert "lab/gpt-mine" in run("lab", *option)
    assert "lab/gpt-mine" in run(*option)
    with pytest.raises(UsageError, match="no such folder"):
        run("--hardware-db", str(tmp_path / "none"))
    (tmp_path / "models" / "mine.yaml").write_text("family: lab")
    with pytest.raises(CatalogError, match=r"mine\.yaml: models"):
        run(*option)


def test_help_of_the_program_reads_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the catalog was read")

    monkeypatch.setattr("planner.catalog.catalog.read_text", refused)
    assert "models" in CliRunner().invoke(root, ["--help"]).stdout
    assert "show" in CliRunner().invoke(root, ["models", "--help"]).stdout


def test_a_model_is_written_as_a_file_once(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    assert str(file) in run("show", "gpt2", "--write", str(file))
    code = file.read_text()
    compile(code, str(file), "exec")
    written: dict[str, object] = {}
    exec(code[code.index("CONFIG = ") : code.index("def build_model")], written)
    model = find_model("gpt2")
    assert model is not None
    assert (written["CONFIG"], written["TOKENS"]) == (dict(model.config), 1024)
    with pytest.raises(UsageError, match="not replaced"):
        run("show", "gpt2", "--write", str(file))
    assert file.read_text() == code


def test_a_model_of_images_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hf:openai/clip-vit-base-patch32"):
        run("show", "clip-vit-base-patch32", "--write", str(tmp_path / "model.py"))
