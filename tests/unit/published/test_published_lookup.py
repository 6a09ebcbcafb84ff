"""The config of a published model: from a file, the catalog, the cache of Hugging Face, the hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from planner.config.published import Library
from planner.errors import WrongTargetError
from planner.published.lookup import find_config
from planner.published.names import NamedModel, named_model

CONFIG = {"model_type": "llama", "hidden_size": 8}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def hf(name: str) -> NamedModel:
    return NamedModel(library=Library.TRANSFORMERS, name=name)


@pytest.mark.parametrize(
    ("text", "library", "name"),
    [
        ("hf:org/name", Library.TRANSFORMERS, "org/name"),
        ("hf:a/b/config.json", Library.TRANSFORMERS, "a/b/config.json"),
        ("timm:resnet50", Library.TIMM, "resnet50"),
        ("torchvision:vit_b_16", Library.TORCHVISION, "vit_b_16"),
        ("diffusers:org/name", Library.DIFFUSERS, "org/name"),
    ],
)
def test_a_library_before_the_colon(text: str, library: Library, name: str) -> None:
    assert named_model(text) == NamedModel(library=library, name=name)


@pytest.mark.parametrize(
    "text", ["models/gpt2.py", "torchvision.models:resnet18", "hf:", "hf", "x:y"]
)
def test_other_targets_name_no_published_model(text: str) -> None:
    assert named_model(text) is None


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    by_file, by_folder = find_config(hf(str(file))), find_config(hf(str(tmp_path)))
    assert json.loads(by_file.text) == CONFIG
    assert by_file == by_folder
    assert str(file) in by_file.origin


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "it holds a list"),
        ("{}", 'it has no "model_type"'),
        ('{"peft_type": "LORA"}', "it is a config of adapters"),
        ('{"_class_name": "UNet2DConditionModel"}', "write diffusers:"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_config(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(WrongTargetError, match=says):
        find_config(hf(str(file)))


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongTargetError, match="there is no file"):
        find_config(hf(str(tmp_path / "no.json")))
    with pytest.raises(WrongTargetError, match=r"holds no config\.json"):
        find_config(hf(str(tmp_path)))


def test_the_catalog_comes_first() -> None:
    found = find_config(hf("meta-llama/Llama-3.2-1B"))
    assert json.loads(found.text)["hidden_size"] == 2048
    assert found.origin.startswith("config: the catalog, meta-llama/Llama-3.2-1B, read 20")


def test_a_model_of_the_other_library() -> None:
    with pytest.raises(WrongTargetError, match="is a model of transformers: write hf:"):
        find_config(NamedModel(library=Library.DIFFUSERS, name="meta-llama/Llama-3.2-1B"))


def snapshot(hub: Path, commit: str, config: object) -> Path:
    folder = hub / "models--org--name" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_cache_of_hugging_face(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    snapshot(hub, "old", {**CONFIG, "hidden_size": 1})
    snapshot(hub, "main", CONFIG)
    refs = hub / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("main")
    found = find_config(hf("org/name"))
    assert json.loads(found.text) == CONFIG
    assert "the cache of Hugging Face" in found.origin


def test_no_config_anywhere_says_what_helps() -> None:
    with pytest.raises(WrongTargetError) as error:
        find_config(hf("meta-llama/Llama-3.2-1"))
    text = str(error.value)
    assert "HF_HUB_OFFLINE=1" in text
    assert "did you mean hf:meta-llama/Llama-3.2-1B" in text
    assert "hf:path/to/config.json" in text


class Hub(BaseHTTPRequestHandler):
    """A hub with one model; `seen` are the headers of its requests."""

    seen: list[str | None] = []  # noqa: RUF012  # set anew by the fixture

    def do_GET(self) -> None:  # its name in the standard library
        self.seen.append(self.headers.get("Authorization"))
        there = self.path == "/org/name/resolve/main/config.json"
        self.send_response(200 if there else 401 if "gated" in self.path else 404)
        self.end_headers()
        if there:
            self.wfile.write(json.dumps(CONFIG).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.seen = []
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_is_asked_last(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "abc")
    found = find_config(hf("org/name"))
    assert json.loads(found.text) == CONFIG
    assert "read today" in found.origin
    assert hub.seen == ["Bearer abc"]


@pytest.mark.parametrize(
    ("name", "says"), [("org/other", "has no org/other"), ("org/gated", "set HF_TOKEN")]
)
def test_what_the_hub_does_not_give(hub: type[Hub], name: str, says: str) -> None:
    with pytest.raises(WrongTargetError, match=says):
        find_config(hf(name))


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WrongTargetError, match="cannot be reached"):
        find_config(hf("org/name"))
