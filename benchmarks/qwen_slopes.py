"""Holds the growth of memory with the length against the published table of Qwen's LoRA runs.

In: benchmarks/measurements/qwen_lora.csv (batch 1, one A100 80GB), and an environment with
transformers and peft. Out: for each model the slope in MB a token between two lengths, measured and
predicted; a report, not a verdict: what was read, and which habits the runs had, is not published.
Convention: Qwen's own class is not in transformers; Qwen2 with its sizes stands for it, and its
fused projection of queries, keys and values is three. Rank 64 on attention and on both inputs of
the MLP, activations checkpointed: the defaults of the repository's finetune.py.

    python -m benchmarks.qwen_slopes
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import planner

MEASURED = Path(__file__).parent / "measurements" / "qwen_lora.csv"
CARD = "a100-sxm4-80gb"
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The sizes of one model, from its config.json on the hub."""

    hidden: int
    inner: int
    layers: int
    heads: int
    vocabulary: int = 151936


SIZES: Mapping[str, Size] = {
    "1.8b": Size(hidden=2048, inner=5504, layers=24, heads=16),
    "7b": Size(hidden=4096, inner=11008, layers=32, heads=32),
    "14b": Size(hidden=5120, inner=13696, layers=40, heads=40, vocabulary=152064),
}


def main() -> int:
    """Prints a table of slopes."""
    measured = _measured()
    print("model  tokens         measured  predicted  MB a token")
    for name, size in SIZES.items():
        lengths = sorted(measured[name])
        predicted = {length: _predicted(size, length) for length in lengths}
        for low, high in itertools.pairwise(lengths):
            seen = (measured[name][high] - measured[name][low]) / (high - low) / MB
            found = (predicted[high] - predicted[low]) / (high - low) / MB
            print(f"{name:5}  {low:5} to {high:5} {seen:9.2f} {found:10.2f}", flush=True)
    return 0


def _measured() -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    with MEASURED.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            length = int(row["sequence_length"])
            found.setdefault(row["model"], {})[length] = float(row["measured_gb"]) * 1e9
    return found


def _predicted(size: Size, length: int) -> int:
    config = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads,
        "vocab_size": size.vocabulary,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        card = planner.estimate(
            f"hf:{folder}",
            gpu=CARD,
            task="lora",
            lora_rank=64,
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"),
            checkpoint_activations=True,
            batch_size=1,
            sequence_length=length,
            max_batch=False,
        ).gpus[0]
    return card.peak_reserved_bytes


if __name__ == "__main__":
    sys.exit(main())
