"""What a script saves from the card has names and shapes and takes no room; the rest is true."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest
import torch
from torch import nn

from planner.worker.script import saves
from planner.worker.script.saves import Saves, holds_card, write_sparse


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes tensors of more than 1000 elements for those of a card, which is not there."""

    def big(obj: object) -> bool:
        return isinstance(obj, dict) and any(
            isinstance(one, torch.Tensor) and one.numel() > 1000 for one in obj.values()
        )

    monkeypatch.setattr(saves, "holds_card", big)
    monkeypatch.setattr(torch, "save", torch.save)


def test_nothing_here_is_on_a_card() -> None:
    assert not holds_card({"model": nn.Linear(2, 2).state_dict(), "steps": [1, torch.ones(2)]})
    assert not holds_card(nn.Linear(2, 2))


def test_a_checkpoint_is_a_file_with_holes(tmp_path: Path, on_meta: None) -> None:
    seen = Saves()
    seen.watch()
    file, small, buffer = tmp_path / "model.pt", tmp_path / "data.pt", io.BytesIO()
    torch.save({"weight": torch.ones(1 << 20)}, file)
    torch.save({"weight": torch.ones(3)}, small)
    torch.save({"weight": torch.ones(2000)}, buffer)
    assert seen.files == [str(file)]
    assert file.stat().st_size > 4 << 20 > 100 * file.stat().st_blocks * 512
    assert torch.load(file)["weight"].shape == (1 << 20,)
    assert torch.equal(torch.load(small)["weight"], torch.ones(3))
    buffer.seek(0)
    assert torch.equal(torch.load(buffer)["weight"], torch.ones(2000))


def test_a_file_of_safetensors_has_its_header_and_a_hole(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tensors = {"a": torch.zeros(1 << 18, 2), "b": torch.zeros(3, dtype=torch.int64)}
    write_sparse(tensors, file, {"format": "pt"})
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header == {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [1 << 18, 2], "data_offsets": [0, 2 << 20]},
        "b": {"dtype": "I64", "shape": [3], "data_offsets": [2 << 20, (2 << 20) + 24]},
    }
    assert len(content) == 8 + length + (2 << 20) + 24
    assert file.stat().st_blocks * 512 < 1 << 16
