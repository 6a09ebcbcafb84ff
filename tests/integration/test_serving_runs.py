"""planner.serving of a config.json: the model is built by transformers in a child."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.errors import WrongTargetError
from planner.memory.serving.engine import PartKind

pytestmark = pytest.mark.slow

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 512,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def config(folder: Path, **changed: object) -> str:
    (folder / "config.json").write_text(json.dumps({**LLAMA, **changed}))
    return f"hf:{folder}"


def test_a_config_of_a_file(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")
    found = planner.serving(config(tmp_path), gpu="t4")
    layer = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 512 + 2 * 256
    elements = 2 * layer + 2 * 1024 * 256 + 256
    tables = 512 * 64 * 2
    weights = next(part for part in found.parts if part.kind is PartKind.WEIGHTS)
    assert weights.size_bytes == 2 * elements + tables
    assert found.needed_bytes == 512 * 2 * (2 * 2 * 64 * 2)
    assert found.fits
    assert any("LlamaForCausalLM of transformers" in one for one in found.assumptions)


BERT = {
    "model_type": "bert", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "vocab_size": 1024, "max_position_embeddings": 128,
}  # fmt: skip


@pytest.mark.parametrize("head", ["BertModel", "BertForSequenceClassification"])
def test_an_encoder_embeds_and_a_reranker_has_its_head(tmp_path: Path, head: str) -> None:
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")
    (tmp_path / "config.json").write_text(json.dumps({**BERT, "architectures": [head]}))
    found = planner.serving(f"hf:{tmp_path}", gpu="t4", users=8, prompt=64)
    assert not found.has_cache
    assert found.fits
    assert found.speed is not None
    assert any(f"{head} of transformers" in one for one in found.assumptions)


def test_a_model_of_images_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    with pytest.raises(WrongTargetError, match="writes no text and embeds none"):
        planner.serving(f"hf:{tmp_path}", gpu="t4")
