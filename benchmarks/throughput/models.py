"""Model file of published step times that are not of timm's own benchmark.

ResNet-50 v1.5 as torchvision has it (torchvision puts the stride where NVIDIA's v1.5 does), the
other networks of images of NVIDIA as timm has them, GPT-2 large and BERT large by their
configurations. Sources of the procedures: https://github.com/NVIDIA/DeepLearningExamples
(PyTorch/Classification/ConvNets) and https://github.com/sitar-lab/NeuSight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SEQUENCE = {"gpt2_large": 1024, "bert_large": 512}
_IMAGE_SIZE = {
    "resnet50": 224, "resnext101_32x4d": 224, "seresnext101_32x4d": 224, "efficientnet_b0": 224,
    "efficientnet_b4": 380,
}  # fmt: skip
_network = ""


class Language(nn.Module):
    """A network of transformers; the output is that of its head."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the logits of tokens (batch, sequence)."""
        output: Tensor = self.network(input_ids=tokens)[0]
        return output


def resnet50() -> nn.Module:
    """ResNet-50 v1.5 with 1000 classes."""
    global _network  # build_batch gets only the size of the batch
    _network = "resnet50"
    from torchvision.models import resnet50 as build

    network: nn.Module = build()
    return network


def resnext101_32x4d() -> nn.Module:
    """ResNeXt-101, 32 groups of 4."""
    return _timm("resnext101_32x4d")


def seresnext101_32x4d() -> nn.Module:
    """ResNeXt-101, 32 groups of 4, with squeeze and excitation."""
    return _timm("seresnext101_32x4d")


def efficientnet_b0() -> nn.Module:
    """EfficientNet-B0."""
    return _timm("efficientnet_b0")


def efficientnet_b4() -> nn.Module:
    """EfficientNet-B4; NVIDIA's has 1280 features at its end, as B0, where the paper's has 1792."""
    network = _timm("efficientnet_b4")
    from timm.layers import BatchNormAct2d

    network.conv_head = nn.Conv2d(network.conv_head.in_channels, 1280, 1, bias=False)
    network.bn2 = BatchNormAct2d(1280, act_layer=nn.SiLU)
    network.classifier = nn.Linear(1280, 1000)
    return network


def _timm(name: str) -> Any:
    global _network
    _network = name
    import timm

    return timm.create_model(name)


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
    """Draws images and classes, or tokens, which are the targets too."""
    if size := _IMAGE_SIZE.get(_network):
        return torch.randn(batch_size, 3, size, size), torch.randint(0, 1000, (batch_size,))
    tokens = torch.randint(0, 30000, (batch_size, _SEQUENCE[_network]))
    return tokens, tokens


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the cross-entropy of classes or of the next tokens; without a head, the mean."""
    inputs, targets = batch
    output: Tensor = model(inputs)
    if _network == "bert_large":
        return output.mean()
    if _network == "gpt2_large":
        flat = output[:, :-1].reshape(-1, output.shape[-1])
        return functional.cross_entropy(flat, targets[:, 1:].reshape(-1))
    return functional.cross_entropy(output, targets)
