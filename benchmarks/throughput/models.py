"""Model file of published step times that are not of timm's own benchmark.

ResNet-50 v1.5 as torchvision has it (torchvision puts the stride where NVIDIA's v1.5 does), GPT-2
large and BERT large by their configurations. Sources of the procedures:
https://github.com/NVIDIA/DeepLearningExamples (PyTorch/Classification/ConvNets/resnet50v1.5) and
https://github.com/sitar-lab/NeuSight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SEQUENCE = {"gpt2_large": 1024, "bert_large": 512}
_IMAGES = (3, 224, 224)
_network = ""


class Language(nn.Module):
    """A network of transformers; the output is that of its head."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of tokens (batch, sequence)."""
        output: Tensor = self.network(input_ids=tokens)[0]
        return output


def resnet50() -> nn.Module:
    """ResNet-50 v1.5 with 1000 classes."""
    global _network  # build_batch is told the size of the batch alone
    _network = "resnet50"
    from torchvision.models import resnet50 as build

    network: nn.Module = build()
    return network


def gpt2_large() -> nn.Module:
    """GPT-2 large with its language-modelling head, attention written out."""
    global _network
    _network = "gpt2_large"
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_embd=1280, n_layer=36, n_head=20, use_cache=False, attn_implementation="eager"
    )
    return Language(GPT2LMHeadModel(config))


def bert_large() -> nn.Module:
    """BERT large with its pooler, attention written out."""
    global _network
    _network = "bert_large"
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        attn_implementation="eager",
    )  # fmt: skip
    return Language(BertModel(config))


def build_batch(batch_size: int) -> tuple[Tensor, Tensor]:
    """Images and classes, or tokens and nothing to learn but their mean."""
    if _network == "resnet50":
        return torch.randn(batch_size, *_IMAGES), torch.randint(0, 1000, (batch_size,))
    tokens = torch.randint(0, 30000, (batch_size, _SEQUENCE[_network]))
    return tokens, tokens


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss: cross-entropy of classes or of the next tokens; without a head, the mean."""
    inputs, targets = batch
    output: Tensor = model(inputs)
    if _network == "bert_large":
        return output.mean()
    if _network == "gpt2_large":
        flat = output[:, :-1].reshape(-1, output.shape[-1])
        return functional.cross_entropy(flat, targets[:, 1:].reshape(-1))
    return functional.cross_entropy(output, targets)
