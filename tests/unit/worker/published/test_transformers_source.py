"""Models of transformers as targets, tiny and on the CPU; skipped where transformers is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from planner.config.generation import KvCache, TokenWindow
from planner.config.published import Library, Like, PublishedModel, Task, TaskConfig
from planner.config.target import Target, TargetKind
from planner.errors import LengthError, WrongTargetError
from planner.worker.drive.forward import call
from planner.worker.drive.token_loop import loops
from planner.worker.published.source import published_source
from planner.worker.target.source import ModelSource
from planner.worker.values import generation_ends

pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run these")

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 64,
    "torch_dtype": "bfloat16",
}  # fmt: skip
BERT = {
    "model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96,
    "max_position_embeddings": 64,
}  # fmt: skip
T5 = {
    "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 32, "d_kv": 8,
    "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 96, "is_encoder_decoder": True,
    "decoder_start_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
VIT = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
CLIP = {
    "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 16,
    "text_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 96, "max_position_embeddings": 16,
    },
    "vision_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
    },
}  # fmt: skip
WHISPER = {
    "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": 32,
    "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
    "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 192, "vocab_size": 96,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    "is_encoder_decoder": True,
}  # fmt: skip
LLAVA = {
    "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
    "image_token_index": 90, "text_config": LLAMA,
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
    },
}  # fmt: skip
GEMMA4 = {
    "model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"],
    "audio_config": None, "image_token_id": 90,
    "text_config": {
        "model_type": "gemma4_text", "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "global_head_dim": 16, "vocab_size": 96,
        "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "vision_config": {
        "model_type": "gemma4_vision", "hidden_size": 64, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "head_dim": 16, "global_head_dim": 16, "patch_size": 4, "pooling_kernel_size": 3,
        "default_output_length": 20,
    },
}  # fmt: skip
ALL = {
    "llama": LLAMA, "bert": BERT, "t5": T5, "vit": VIT, "clip": CLIP, "whisper": WHISPER,
    "llava": LLAVA, "gemma4": GEMMA4,
}  # fmt: skip


def source(
    config: dict[str, Any],
    dtype: str | None = None,
    arguments: tuple[tuple[str, Any], ...] = (),
    **task: Any,
) -> ModelSource:
    model = PublishedModel(
        library=Library.TRANSFORMERS,
        name="tiny",
        config=json.dumps(config),
        dtype=dtype,
        task=TaskConfig(**task),
    )
    target = Target(
        kind=TargetKind.LIBRARY, location="hf:tiny", arguments=arguments, published=model
    )
    return published_source(target, model)


def trained(found: ModelSource, batch_size: int = 2, **sizes: int) -> nn.Module:
    """Returns the model after one backward, with or without a training step of its own."""
    model = found.build_model().train()
    assert found.build_batch is not None
    batch = found.build_batch(batch_size, **sizes)
    if found.training_step is None:
        call(model, batch, 1)["loss"].backward()
    else:
        found.training_step(model, batch).backward()
    return model


@pytest.mark.parametrize("name", ALL)
def test_a_model_of_each_kind_trains_one_step(name: str) -> None:
    found = source(ALL[name], dtype="float32")
    model = trained(found)
    with_gradient = [one for one in model.parameters() if one.grad is not None]
    assert len(with_gradient) > 10
    assert found.settles_dtypes


@pytest.mark.parametrize("name", ["llama", "bert", "t5", "vit"])
def test_adapters_alone_train(name: str) -> None:
    pytest.importorskip("peft")
    model = trained(source(ALL[name], dtype="bfloat16", task=Task.LORA, lora_rank=4))
    trainable = {key: one for key, one in model.named_parameters() if one.requires_grad}
    assert trainable
    assert all("lora_" in key or "classifier" in key for key in trainable)
    adapters = {one.dtype for key, one in trainable.items() if "lora_" in key}
    assert adapters == {torch.float32}, "peft keeps adapters beside 16-bit weights in float32"
    frozen = {one.dtype for one in model.parameters() if not one.requires_grad}
    assert frozen == {torch.bfloat16}


def test_the_rank_and_the_modules_of_the_caller() -> None:
    pytest.importorskip("peft")
    found = source(LLAMA, task=Task.LORA, lora_rank=4, lora_targets=("q_proj",))
    elements = sum(one.numel() for one in found.build_model().parameters() if one.requires_grad)
    assert elements == 2 * 4 * (32 + 32)  # two layers: A is 4 x 32, B is 32 x 4
    assert any("adapters of rank 4 on q_proj;" in text for text in found.assumptions)
    with pytest.raises(WrongTargetError, match="--lora-targets all-linear"):
        source(LLAMA, task=Task.LORA, lora_targets=("nothing",)).build_model()


def test_the_published_dtype_unless_another_was_requested() -> None:
    assert {one.dtype for one in source(LLAMA).build_model().parameters()} == {torch.bfloat16}
    assert {one.dtype for one in source(BERT).build_model().parameters()} == {torch.float32}


def test_sfttrainer_makes_the_loss_without_whole_logits() -> None:
    pytest.importorskip("trl", reason="install trl to run this")
    pytest.importorskip("peft")
    found = source(LLAMA, dtype="float32", task=Task.LORA, like=Like.TRL)
    model, by_trainer = trained(found), trained(source(LLAMA, dtype="float32", task=Task.LORA))
    assert {name for name, one in model.named_parameters() if one.grad is not None} == {
        name for name, one in by_trainer.named_parameters() if one.grad is not None
    }
    with pytest.raises(WrongTargetError, match="--like trl stands for"):
        source(BERT, like=Like.TRL)


def test_a_loop_by_hand_holds_the_output() -> None:
    assert source(LLAMA, like=Like.LOOP).training_step is None
    assert source(LLAMA).training_step is not None


def test_a_key_of_the_config_is_replaced() -> None:
    model = source(LLAMA, arguments=(("num_hidden_layers", 1),)).build_model()
    assert model.config.num_hidden_layers == 1  # type: ignore[union-attr]
    with pytest.raises(WrongTargetError, match="near it: num_hidden_layers"):
        source(LLAMA, arguments=(("num_hiden_layers", 1),))


def test_sequence_lengths() -> None:
    build = source(LLAMA).build_batch
    assert build is not None
    assert build(2)["input_ids"].shape == (2, 64)  # its positions
    assert build(2, sequence_length=8)["input_ids"].shape == (2, 8)
    assert int(build(9, sequence_length=50)["input_ids"].max()) < 96


def test_the_tasks_of_a_text_encoder() -> None:
    heads = {
        task: type(source(BERT, task=task).build_model()).__name__
        for task in (Task.PRETRAIN, Task.FINETUNE, Task.EMBED)
    }
    assert heads == {
        Task.PRETRAIN: "BertForMaskedLM",
        Task.FINETUNE: "BertForSequenceClassification",
        Task.EMBED: "BertModel",
    }
    with pytest.raises(WrongTargetError, match="does not generate"):
        source(BERT, task=Task.GENERATE)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {}),
        ("t5", {}),
        ("llama", {"num_beams": 2}),
        ("llama", {"kv_cache": KvCache.STATIC}),
    ],
)
def test_generation_writes_the_same_tokens_as_transformers(
    name: str, options: dict[str, Any]
) -> None:
    found = source(ALL[name], dtype="float32", task=Task.GENERATE, new_tokens=5, **options)
    model: Any = found.build_model().eval()
    assert found.build_batch is not None
    assert found.inference_step is not None
    batch = found.build_batch(2, sequence_length=7)
    with torch.inference_mode():
        written = found.inference_step(model, batch)
        beams = options.get("num_beams", 1)
        right = model.generate(**batch, max_new_tokens=5, do_sample=False, num_beams=beams)
    assert written.tolist() == right.tolist()


def test_a_window_has_a_longer_prompt_and_its_own_tokens() -> None:
    found = source(LLAMA, dtype="float32", task=Task.GENERATE, new_tokens=9)
    assert found.build_batch is not None
    assert found.inference_step is not None
    model = found.build_model().eval()
    with loops.watched(TokenWindow(skipped=6, tokens=2), lambda cache: None):
        batch = found.build_batch(2, sequence_length=7)
        assert {name: tuple(one.shape) for name, one in batch.items()} == {
            "input_ids": (2, 13), "attention_mask": (2, 13),
        }  # fmt: skip
        generation_ends.install()
        with torch.inference_mode():
            assert found.inference_step(model, batch).shape == (2, 15)
        encoded = source(T5, task=Task.GENERATE, new_tokens=9).build_batch
        assert encoded is not None
        assert encoded(2, sequence_length=7)["decoder_input_ids"].shape == (2, 7)


def test_types_without_a_class() -> None:
    with pytest.raises(WrongTargetError, match=r"no model of type 'llamma'.*near it: llama"):
        source({**LLAMA, "model_type": "llamma"})
    remote = {"model_type": "own", "auto_map": {"AutoModel": "own.py"}}
    with pytest.raises(WrongTargetError, match="trust_remote_code"):
        source(remote)


@pytest.mark.parametrize("is_tied", [True, False])
def test_the_output_layer_of_a_t5_has_a_weight_of_its_own_where_the_config_says_so(
    is_tied: bool,
) -> None:
    """transformers 5 ties it in every T5; Flan-T5 small would lack 16.4 of 77.0 M parameters."""
    built = source({**T5, "tie_word_embeddings": is_tied}).build_model()
    assert isinstance(built, nn.Module)
    shared = sum(parameter.numel() for parameter in built.parameters())
    output, embedding = built.get_output_embeddings(), built.get_input_embeddings()
    assert (output.weight is embedding.weight) == is_tied
    assert output.weight.shape == (96, 32)
    other = source({**T5, "tie_word_embeddings": not is_tied}).build_model()
    apart = abs(shared - sum(parameter.numel() for parameter in other.parameters()))
    assert apart == 96 * 32


def test_weights_that_are_published_quantised_are_said_to_be_whole() -> None:
    config = {**LLAMA, "quantization_config": {"quant_method": "fp8"}}
    assert any("published quantised" in said for said in source(config).assumptions)
    assert not any("quantised" in said for said in source(LLAMA).assumptions)


GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 16, "n_layer": 1,
    "n_head": 2, "vocab_size": 96, "n_positions": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "length"),
    [
        ({"task": Task.INFER}, 32),
        ({"task": Task.GENERATE, "new_tokens": 9}, 24),  # the last new token is not read
    ],
)
def test_texts_beyond_a_table_of_positions_are_refused(task: dict[str, Any], length: int) -> None:
    build = source(GPT2, **task).build_batch
    assert build is not None
    assert build(1, sequence_length=length)["input_ids"].shape == (1, length)
    with pytest.raises(LengthError, match=r"gpt2 has positions for 32: .* ask for less"):
        build(1, sequence_length=length + 1)


def test_positions_that_are_computed_have_no_end() -> None:
    build = source(LLAMA, task=Task.INFER).build_batch
    assert build is not None
    assert build(1, sequence_length=640)["input_ids"].shape == (1, 640)
