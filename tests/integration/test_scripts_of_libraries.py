"""Unchanged scripts of other libraries: the figures of the published target that does the same.

They run where the libraries are installed: in an environment of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 32000, "max_position_embeddings": 512,
    "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_BEGIN = """
import json
import torch
from transformers import AutoConfig, AutoModelForCausalLM

keys = json.load(open("config.json"))
keys.pop("torch_dtype")
config = AutoConfig.for_model(**keys)
model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
rows = [{"input_ids": [(i * j) % 1000 for j in range(256)]} for i in range(16)]
"""
TRAINER = (
    _BEGIN
    + """
from transformers import Trainer, TrainingArguments, default_data_collator

model.config.use_cache = False
for row in rows:
    row["labels"] = row["input_ids"]
Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="out", per_device_train_batch_size=4, max_steps=8, report_to="none",
        save_strategy="no",
    ),
    train_dataset=rows,
    data_collator=default_data_collator,
).train()
"""
)
SFT = (
    _BEGIN
    + """
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

words = {f"w{i}": i for i in range(1000)} | {"<pad>": 1000, "<eos>": 1001}
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(words)), pad_token="<pad>", eos_token="<eos>"
)
SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir="out", per_device_train_batch_size=4, max_length=256, max_steps=8,
        report_to="none", save_strategy="no",
    ),
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
    peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]),
).train()
"""
)
CASES = {
    "Trainer": (TRAINER, ("transformers", "accelerate"), ()),
    "SFTTrainer with LoRA": (
        SFT,
        ("trl", "peft", "datasets"),
        ("--task", "lora", "--like", "trl"),
    ),
}


def planner(folder: Path, cache: Path, asks: str, *words: str) -> dict[str, Any]:
    ended = subprocess.run(
        [
            sys.executable, "-m", "planner", asks, "--gpu", "a100", "--no-max-batch", "--json",
            *words,
        ],
        cwd=folder,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "VRAM_PLANNER_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)["gpus"][0]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_script_has_the_figures_of_its_target(
    name: str, tmp_path: Path, device_cache: Path
) -> None:
    script, packages, options = CASES[name]
    for package in packages:
        pytest.importorskip(package, reason=f"install {package} to run this")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "train.py").write_text(script)
    seen = planner(tmp_path, device_cache, "run", "--", sys.executable, "train.py")
    expected = planner(
        tmp_path, device_cache, "estimate", "hf:config.json", "--batch", "4", "--seq", "256",
        *options,
    )  # fmt: skip
    for figure in ("peak_allocated_bytes", "peak_reserved_bytes"):
        assert seen[figure] == pytest.approx(expected[figure], rel=0.01)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_trainer_under_accelerate_launch_is_a_rank_of_ddp(
    tmp_path: Path, device_cache: Path
) -> None:
    for package in ("transformers", "accelerate"):
        pytest.importorskip(package, reason=f"install {package} to run this")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "train.py").write_text(TRAINER)
    launch = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu")
    seen = planner(tmp_path, device_cache, "run", "--", *launch, "--num_processes", "2", "train.py")
    expected = planner(
        tmp_path, device_cache, "estimate", "hf:config.json", "--batch", "4", "--seq", "256",
        "--num-gpus", "2", "--parallel", "ddp",
    )  # fmt: skip
    for figure in ("peak_allocated_bytes", "peak_reserved_bytes"):
        assert seen[figure] == pytest.approx(expected[figure], rel=0.01)
    assert seen["outside_bytes"] == expected["outside_bytes"]
