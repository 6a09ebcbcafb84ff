"""A repeat starts no child and gives the same document; a change of what it depends on runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.process import client
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
    import json
    import os
    from pathlib import Path

    import width

    HERE = Path(__file__).parent
    DEPTH = json.loads((HERE / "depth.json").read_text())
    EXTRA = len(os.listdir(HERE / "extra"))
    BIAS = os.environ.get("NET_BIAS") == "1"
    try:
        import faster
    except ImportError:
        faster = None

    def build_model():
        hidden = width.WIDTH + 8 * EXTRA + 16 * (faster is not None)
        hidden += 64 * (HERE / "wide").exists()
        layers = [nn.Linear(hidden, hidden, bias=BIAS) for _ in range(DEPTH)]
        return nn.Sequential(nn.Linear(256, hidden), *layers)

    def build_batch(batch_size):
        return torch.randn(batch_size, 256), None

    def training_step(model, batch):
        import late
        return model(batch[0]).sum() * late.FACTOR
"""


class NoChildError(Exception):
    """A child was to be started."""


class _NoChild:
    def __init__(self, *_: object, **__: object) -> None:
        raise NoChildError


Forbid = Callable[[], Any]


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """Forbids children within a context."""

    def context() -> Any:
        patch = pytest.MonkeyPatch()
        patch.setattr(client, "Child", _NoChild)
        return patch

    monkeypatch.delenv("VRAM_PLANNER_NO_CACHE")
    monkeypatch.delenv("NET_BIAS", raising=False)
    return context


@pytest.fixture
def net(write_model: WriteModel, tmp_path: Path) -> str:
    for name, text in {
        "width.py": "WIDTH = 256\n", "late.py": "FACTOR = 1.0\n", "depth.json": "1",
        "extra/one": "",
    }.items():  # fmt: skip
        write_model("", name)  # makes its folder
        (tmp_path / name).write_text(text)
    return write_model(MODEL)


def asked(path: str, gpu: str = "rtx3090", **options: Any) -> planner.Estimate:
    return planner.estimate(path, gpu=gpu, batch_size=64, **options)


def kept(forbid: Forbid, path: str, gpu: str = "rtx3090", **options: Any) -> planner.Estimate:
    patch = forbid()
    try:
        return asked(path, gpu, **options)
    finally:
        patch.undo()


def is_kept(forbid: Forbid, path: str, **options: Any) -> bool:
    try:
        kept(forbid, path, **options)
    except NoChildError:
        return False
    return True


def same_stat(file: Path, text: str) -> None:
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_repeat_and_each_change(
    net: str, forbid: Forbid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(net)
    again = kept(forbid, net)
    assert again == first
    assert again.to_dict() == first.to_dict()
    assert first.gpus[0].max_batch_confirmed
    assert not is_kept(forbid, net, precision="bf16")
    assert not is_kept(forbid, net, cache=False)

    def undone(name: str, text: str | None) -> None:
        if text is None:
            (tmp_path / name).unlink()
        else:
            same_stat(tmp_path / name, text)

    changes: dict[str, tuple[str, str, str | None]] = {
        "a module": ("width.py", "WIDTH = 128\n", "WIDTH = 256\n"),
        "a module that the step imports": ("late.py", "FACTOR = 2.0\n", "FACTOR = 1.0\n"),
        "a file": ("depth.json", "2", "1"),
    }
    for what, (name, text, before) in changes.items():
        same_stat(tmp_path / name, text)
        assert not is_kept(forbid, net), what
        undone(name, before)
        assert is_kept(forbid, net), f"{what}, undone"
    for name in ("extra/two", "faster.py", "wide"):
        (tmp_path / name).write_text("")
        assert not is_kept(forbid, net), name
        undone(name, None)
        assert is_kept(forbid, net), f"{name}, removed again"
    monkeypatch.setenv("NET_BIAS", "1")
    assert not is_kept(forbid, net)
    monkeypatch.delenv("NET_BIAS")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert not is_kept(forbid, net)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    assert is_kept(forbid, net)
    (tmp_path / "results.json").write_text("{}")  # nothing of the job
    assert is_kept(forbid, net)


def test_another_card_limit_or_setting_is_replayed(net: str, forbid: Forbid) -> None:
    asked(net)
    words: list[dict[str, Any]] = [
        {"gpu": "a40", "reserve": "10%"},
        {"gpu_memory": "20GiB", "alloc_conf": "expandable_segments:True"},
    ]
    for word in words:
        found = kept(forbid, net, **word)
        run = asked(net, **word, cache=False)
        card, own = found.gpus[0], run.gpus[0]
        assert card.max_batch_confirmed is False, word
        assert own.max_batch_confirmed is True
        assert any("from kept runs of" in text for text in found.assumptions)
        for figure in ("peak_allocated_bytes", "peak_reserved_bytes", "fits", "max_batch_size"):
            assert getattr(card, figure) == getattr(own, figure), (word, figure)
        assert found.step == run.step
        assert card.breakdown == own.breakdown
    assert not is_kept(forbid, net, gpu="a100"), "another compute capability runs"


def test_the_other_questions(net: str, forbid: Forbid) -> None:
    curve = planner.curve(net, gpu="t4", batches=[8, 16])
    counts = planner.inspect(net)
    patch = forbid()
    try:
        assert planner.curve(net, gpu="t4", batches=[8, 16]).to_dict() == curve.to_dict()
        assert planner.inspect(net).to_dict() == counts.to_dict()
    finally:
        patch.undo()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import subprocess; subprocess.run(['true'])", "starts a program (true)"),
        ("import sqlite3; sqlite3.connect(':memory:')", "reads a database"),
    ],
)
def test_what_cannot_be_known_is_run_again(
    line: str, said: str, write_model: WriteModel, forbid: Forbid
) -> None:
    path = write_model(f"""
    {line}

    def build_model():
        return nn.Linear(8, 8)

    def build_batch(batch_size):
        return torch.randn(batch_size, 8), torch.randn(batch_size, 8)
    """)
    found = asked(path, max_batch=False)
    assert any(said in text for text in found.notes)
    assert not is_kept(forbid, path, max_batch=False)
