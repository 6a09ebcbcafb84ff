"""Pipelines of several models on the emulated card: by a model file, and by diffusers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import UsageError
from planner.results.device_estimate import DeviceEstimate

pytestmark = pytest.mark.slow

MIB = 1 << 20
FILE = """
from torch import nn
import torch

class Scheduler:
    def step(self, sample):
        return sample.mul(0.5)

class Pipeline:
    def __init__(self):
        self.encoder = nn.Linear(1024, 1024, bias=False)
        self.denoiser = nn.Linear(1024, 2048, bias=False)
        self.decoder = nn.Linear(1024, 8192, bias=False)
        self.scheduler = Scheduler()

def build_pipeline():
    return Pipeline()

def build_batch(batch_size):
    return torch.zeros(batch_size, 1024)

def inference_step(pipeline, batch):
    sample = pipeline.encoder(batch)
    for _ in range(3):
        sample = pipeline.scheduler.step(pipeline.denoiser(sample)[:, :1024])
    return pipeline.decoder(sample).sum()
"""


def test_a_model_file_with_a_pipeline_has_a_peak_for_each_stage(tmp_path: Path) -> None:
    path = tmp_path / "pipe.py"
    path.write_text(FILE)
    found = planner.estimate(str(path), gpu="a100", batch_size=256, mode="infer", max_batch=False)
    breakdown = found.gpu().breakdown
    assert breakdown is not None
    weights = (4 + 8 + 32) * MIB  # of float32 matrices
    # a sample of 1024 is 1 MiB in the batch of 256; cuBLAS has a workspace from its first product
    workspace = 8_519_680
    expected = {
        "encoder": weights + 1 * MIB + 1 * MIB + workspace,  # batch, output
        "denoiser": weights + 1 * MIB + 1 * MIB + 2 * MIB + 1 * MIB + workspace,
        "decoder": weights + 1 * MIB + 1 * MIB + 8 * MIB + workspace,
    }
    assert [one.stage for one in breakdown.stages] == list(expected)
    for one in breakdown.stages:
        assert one.weights_bytes == weights
        assert one.peak_bytes == pytest.approx(expected[one.stage], abs=4096)
    seconds = dict(found.gpu().time.stages_s) if found.gpu().time else {}
    assert list(seconds) == list(expected)


def test_a_pipeline_does_not_train(tmp_path: Path) -> None:
    path = tmp_path / "pipe.py"
    path.write_text(FILE)
    with pytest.raises(UsageError, match="add --mode infer"):
        planner.estimate(str(path), gpu="a100", batch_size=1, max_batch=False)


CLIP = {
    "model_type": "clip_text_model", "hidden_size": 64, "intermediate_size": 128,
    "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 1000, "projection_dim": 64,
    "max_position_embeddings": 77, "torch_dtype": "float16",
}  # fmt: skip
UNET = {
    "block_out_channels": [64, 128], "layers_per_block": 1, "cross_attention_dim": 64,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "sample_size": 16,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "attention_head_dim": 4,
}  # fmt: skip
VAE = {
    "block_out_channels": [32, 64], "latent_channels": 4, "layers_per_block": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "sample_size": 32,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    for name in ("diffusers", "accelerate"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    place = tmp_path_factory.mktemp("tiny")
    files: dict[str, Any] = {
        "model_index.json": {
            "_class_name": "StableDiffusionPipeline",
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        },
        "text_encoder/config.json": CLIP,
        "tokenizer/tokenizer_config.json": {"model_max_length": 77},
        "unet/config.json": UNET,
        "vae/config.json": VAE,
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000},
    }
    for file, content in files.items():
        path = place / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return f"diffusers:{place}"


def generated(target: str, **options: Any) -> DeviceEstimate:
    found = planner.estimate(
        target, gpu="a100", task="generate", max_batch=False, **{"batch_size": 2, **options}
    )
    return found.gpu()


def test_offloading_has_less_on_the_card_the_more_it_does(tiny: str) -> None:
    peaks = [
        generated(tiny, **options).peak_allocated_bytes
        for options in ({}, {"offload": "model"}, {"offload": "sequential"})
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == 3


def test_stages_are_those_of_the_pipeline(tiny: str) -> None:
    found = generated(tiny)
    assert found.breakdown is not None
    assert [one.stage for one in found.breakdown.stages] == ["text_encoder", "unet", "vae"]


def test_time_grows_with_the_steps_and_memory_does_not(tiny: str) -> None:
    # 2 steps are run as they are, of the others 3: the third needs no more than the second
    few, many, run = (generated(tiny, denoise_steps=steps) for steps in (10, 40, 2))
    assert few.peak_allocated_bytes == many.peak_allocated_bytes == run.peak_allocated_bytes
    seconds = [dict(one.time.stages_s)["unet"] for one in (few, many) if one.time is not None]
    assert seconds[1] == pytest.approx(4 * seconds[0], rel=0.02)


def test_slicing_decodes_one_sample_at_a_time(tiny: str) -> None:
    peaks = []
    for options in ({}, {"vae": "slicing"}):
        found = generated(tiny, batch_size=8, **options)
        assert found.breakdown is not None
        peaks.append({one.stage: one.peak_bytes for one in found.breakdown.stages})
    whole, sliced = peaks
    assert sliced["vae"] < whole["vae"]
    assert sliced["unet"] == whole["unet"]


def test_the_largest_image_fits_and_the_next_one_does_not(tiny: str) -> None:
    options = {"gpu_memory": "1GiB", "batch_size": 1}
    found = generated(tiny, image="64x64", largest="image", **options)
    assert found.max_image_confirmed
    assert found.max_image is not None
    side, width = found.max_image
    assert side == width > 64
    assert generated(tiny, image=(side, side), **options).fits
    assert not generated(tiny, image=(side + 64, side + 64), **options).fits
