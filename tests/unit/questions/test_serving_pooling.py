"""serving() of embedding models and rerankers: no output layer, no cache of an encoder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from planner.config.model_shapes import ModelShapes, WeightShape
from planner.errors import UsageError
from planner.estimation import served_shapes
from planner.memory.serving.engine import PartKind
from planner.questions.serving import serving
from planner.results.serving import ServingPlan

HIDDEN, WIDE, LAYERS, WORDS, POSITIONS = 1024, 4096, 24, 250_002, 8194
BGE = {
    "model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "hidden_size": HIDDEN,
    "intermediate_size": WIDE, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
    "vocab_size": WORDS, "max_position_embeddings": POSITIONS,
}  # fmt: skip


def weight(name: str, *shape: int, count: int = LAYERS) -> WeightShape:
    return WeightShape(name=name, shape=shape, dtype="float16", count=count)


def shapes() -> ModelShapes:
    layer = "encoder.layer.*"
    return ModelShapes(
        tensors=(
            weight("embeddings.word_embeddings.weight", WORDS, HIDDEN, count=1),
            weight("embeddings.position_embeddings.weight", POSITIONS, HIDDEN, count=1),
            weight(f"{layer}.attention.self.query.weight", HIDDEN, HIDDEN),
            weight(f"{layer}.attention.self.key.weight", HIDDEN, HIDDEN),
            weight(f"{layer}.attention.self.value.weight", HIDDEN, HIDDEN),
            weight(f"{layer}.attention.output.dense.weight", HIDDEN, HIDDEN),
            weight(f"{layer}.intermediate.dense.weight", WIDE, HIDDEN),
            weight(f"{layer}.output.dense.weight", HIDDEN, WIDE),
        ),
        config=json.dumps(BGE),
        has_vision=False,
        built_by="by hand",
        is_encoder=True,
    )


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(BGE))
    monkeypatch.setattr(served_shapes, "_built", lambda *_: shapes())
    return f"hf:{file}"


def part(plan: ServingPlan, kind: PartKind) -> int:
    return sum(one.size_bytes for one in plan.parts if one.kind is kind)


def test_an_encoder_has_weights_and_no_cache(target: str) -> None:
    found = serving(target, gpu="l4")
    filled = -(-WORDS // 64) * 64
    layer = 4 * HIDDEN * HIDDEN + 2 * HIDDEN * WIDE
    elements = (filled + POSITIONS) * HIDDEN + LAYERS * layer
    assert part(found, PartKind.WEIGHTS) == 2 * elements
    assert found.needed_bytes == 0
    assert not found.has_cache
    assert found.fits
    assert found.max_model_len == POSITIONS - 2  # RoBERTa's begin after the padding
    steps = next(one for one in found.settings if one.name == "max-num-batched-tokens")
    assert int(steps.value) == found.max_model_len  # a whole text in a step
    assert "--runner pooling" in found.command


def test_the_speed_of_an_encoder_is_that_of_its_products(target: str) -> None:
    found = serving(target, gpu="h100", users=256, prompt=512)
    speed = found.speed
    assert speed is not None
    flops = 2 * LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * WIDE)
    share = speed.prompt_tokens_per_s.middle * flops / 989e12
    assert 0.2 < share < 0.75
    assert speed.is_pooled
    assert speed.tpot_s.middle == 0
    assert speed.output_tokens_per_s.middle == 0
    assert speed.prompt_tokens_per_s.middle == pytest.approx(512 * speed.requests_per_s.middle)
    assert speed.cost is not None
    document = json.loads(json.dumps(found.to_dict()))["speed"]
    assert document["cost_per_million_output_tokens"] is None
    assert document["cost_per_million_prompt_tokens"] == speed.cost.middle
    assert ServingPlan.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_a_language_model_that_pools_has_no_output_layer() -> None:
    text = serving("meta-llama/Llama-3.1-8B", gpu="l40s", max_model_len=4096)
    vectors = serving("meta-llama/Llama-3.1-8B", gpu="l40s", max_model_len=4096, runner="pooling")
    head = 2 * 128_256 * 4096
    assert part(text, PartKind.WEIGHTS) - part(vectors, PartKind.WEIGHTS) == head
    assert vectors.has_cache
    assert vectors.needed_bytes == text.needed_bytes
    words = shlex.split(vectors.command)
    assert words[words.index("--runner") + 1] == "pooling"
    old = serving("meta-llama/Llama-3.1-8B", gpu="l40s", runner="pooling", engine_version="0.9")
    assert "--task embed" in old.command


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runner": "generate"}, "a text encoder, which writes"),
        ({"engine": "sglang"}, "take --engine vllm"),
        ({"users": 2, "prompt": 5, "output": 5}, "output .* gives a vector or a score"),
        ({"users": 2, "prompt": 5, "tpot": "50ms"}, "tpot .* gives a vector or a score"),
    ],
)
def test_what_does_not_go_with_an_encoder(
    target: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        serving(target, gpu="l4", **options)  # type: ignore[arg-type]


def test_a_model_that_writes_needs_the_tokens_of_its_answers() -> None:
    with pytest.raises(UsageError, match="embeddings are --runner pooling"):
        serving("Qwen/Qwen3-0.6B", gpu="l4", users=2, prompt=100)
