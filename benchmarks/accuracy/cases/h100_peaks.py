"""Model file of the published runs: four networks, trained as they were for the measurement.

This file repeats the measuring script: the network is built on the card from its
configuration, for fp16 with float16 as default dtype; inputs and labels are drawn on the card
within the step and live until it ends; fp16 autocast covers forward and loss, without GradScaler;
attention may be flash, cuDNN's or memory-efficient; activation checkpointing is torch's composable
one, on the classes named below. Needs transformers 4.46.3, of the time of the measurement: other
versions compute the loss with other temporaries. Source of the procedure:
https://github.com/sanketpurandare/mem-run-estimator (driver.py and exp_utils.py at e2955a1)
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import timm
import torch
import transformers
from torch import Tensor, nn
from torch.distributed._composable import checkpoint
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

transformers.logging.set_verbosity_error()  # it warns of what later versions will remove

ATTENTION_BACKENDS = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
]
IMAGE_SIZE = 224
CLASSES = 1000

# Which modules recompute their activations, by network and class name.
CHECKPOINTED = {
    "t5-large": ("T5LayerFF", "T5LayerNorm"),
    "gpt2-large": ("GPT2Block",),
    "llama-1b": ("LlamaMLP", "LlamaRMSNorm"),
    "vit-huge": ("Block",),
}


class PublishedRun(nn.Module):
    """A network with its task: forward draws inputs and labels and returns the loss."""

    def __init__(self, network: nn.Module, *, sequence_length: int, autocast: bool) -> None:
        super().__init__()
        self.network = network
        self.sequence_length = sequence_length
        self.autocast = autocast
        self.held: tuple[Tensor, ...] = ()  # tensors that local names of the measured step kept

    def forward(self, batch_size: int, device: torch.device) -> Tensor:
        self.held = ()
        draw = self.draw_tokens if self.sequence_length else self.draw_images
        inputs, labels = draw(batch_size, device)
        context = torch.autocast("cuda", torch.float16) if self.autocast else nullcontext()
        with sdpa_kernel(ATTENTION_BACKENDS), context:
            if self.sequence_length:
                self.held = (inputs, labels)
                loss: Tensor = self.network(input_ids=inputs, labels=labels).loss
            else:
                output = self.network(inputs)
                self.held = (inputs, labels, output)
                loss = functional.cross_entropy(output, labels)
        return loss

    def draw_tokens(self, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draws token ids and labels, (batch, sequence) each."""
        vocabulary = self.network.config.vocab_size
        shape = (batch_size, self.sequence_length)
        inputs = torch.randint(0, vocabulary, shape, device=device)
        return inputs, torch.randint(0, vocabulary, shape, device=device)

    def draw_images(self, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draws images in the dtype of the weights, (batch, 3, 224, 224), and labels (batch,)."""
        dtype = next(self.network.parameters()).dtype
        images = torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=dtype, device=device)
        return images, torch.randint(0, CLASSES, (batch_size,), device=device)


def build_model(
    network: str, precision: str, sequence_length: int = 0, checkpointed: bool = False
) -> nn.Module:
    """Builds a published run; `precision`: fp32, fp16 or autocast-fp16; images have no sequence."""
    if precision == "fp16":
        torch.set_default_dtype(torch.float16)  # before building and during the steps, as measured
    built = BUILDERS[network]()
    if checkpointed:
        for module in built.modules():
            if type(module).__name__ in CHECKPOINTED[network]:
                checkpoint(module, preserve_rng_state=False)
    return PublishedRun(
        built, sequence_length=sequence_length, autocast=precision == "autocast-fp16"
    )


def build_batch(batch_size: int) -> Tensor:
    """Returns only the size of the batch: the step draws its own inputs on the card."""
    return torch.zeros(batch_size, dtype=torch.int64)


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Returns the loss of inputs drawn for this step."""
    loss: Tensor = model(batch.shape[0], batch.device)
    return loss


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds Adam, foreach by default. The ViT runs had no weight decay: no peak depends on it."""
    return torch.optim.Adam(parameters, lr=1e-4, weight_decay=1e-4, eps=1e-6)


def t5_large() -> nn.Module:
    """https://huggingface.co/google-t5/t5-large/blob/main/config.json, 737,668,096 parameters."""
    config = transformers.T5Config(
        d_model=1024, d_ff=4096, num_layers=24, num_heads=16, decoder_start_token_id=0
    )
    return _module(transformers.AutoModelForSeq2SeqLM.from_config(config))


def gpt2_large() -> nn.Module:
    """https://huggingface.co/openai-community/gpt2-large/blob/main/config.json, 774,030,080."""
    config = transformers.GPT2Config(n_embd=1280, n_layer=36, n_head=20)
    return _module(transformers.AutoModelForCausalLM.from_config(config))


def llama_1b() -> nn.Module:
    """Llama-3.2-1B-Instruct, 1,235,814,400 parameters: https://arxiv.org/abs/2407.21783.

    `use_cache` stays on, as by default: the keys and values of all layers, 12 MiB a layer at 4 x
    1024 under autocast, live together with the logits until the loss is computed.
    """
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_theta=500_000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        tie_word_embeddings=True,
    )
    return _module(transformers.AutoModelForCausalLM.from_config(config))


def vit_huge() -> nn.Module:
    """ViT-H/14 of timm, without its initialisers: those of the measurement drew in place, today's
    take temporaries on the card.
    """
    name = "vit_huge_patch14_clip_224.laion2b_ft_in12k_in1k"
    return _module(timm.create_model(name, pretrained=False, weight_init="skip"))


BUILDERS = {
    "t5-large": t5_large,
    "gpt2-large": gpt2_large,
    "llama-1b": llama_1b,
    "vit-huge": vit_huge,
}


def _module(built: Any) -> nn.Module:
    """Returns the network with its type: neither library is typed."""
    assert isinstance(built, nn.Module)
    return built
