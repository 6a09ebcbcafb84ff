"""Model file of the published step times of many cards: SQuAD, NCF, SSD300, small batches.

BERT base on SQuAD as transformers has it, attention written out, 384 tokens; NeuMF on MovieLens
20M; SSD300 with torchvision's ResNet-50; other networks of images as torchvision has them. Sources
of the procedures: https://github.com/NVIDIA/DeepLearningExamples (PyTorch/LanguageModeling/BERT,
PyTorch/Recommendation/NCF, PyTorch/Detection/SSD), in the settings of
https://github.com/lambdal/deeplearning-benchmark, and
https://github.com/ryujaehun/pytorch-gpu-benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_TOKENS = 384  # --max_seq_length of run_squad.sh
_USERS, _ITEMS = 138_493, 26_744  # of MovieLens 20M
_FACTORS, _LAYERS = 64, (256, 256, 128, 64)
_CLASSES, _BOXES = 81, 8732  # of COCO, with the background; default boxes of SSD300
_OUT_CHANNELS = (1024, 512, 512, 256, 256, 256)
_MIDDLE_CHANNELS = (256, 256, 128, 128, 128)
_DEFAULTS = (4, 6, 6, 6, 4, 4)  # default boxes of a place of each map
_STRIDED = 3  # of the additional blocks, the others are not padded
_network = ""


class NeuMF(nn.Module):
    """Matrix factorization next to layers: users and items (batch,) to logits (batch, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.mf_user, self.mf_item = nn.Embedding(_USERS, _FACTORS), nn.Embedding(_ITEMS, _FACTORS)
        width = _LAYERS[0] // 2
        self.mlp_user, self.mlp_item = nn.Embedding(_USERS, width), nn.Embedding(_ITEMS, width)
        pairs = pairwise(_LAYERS)
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairs)
        self.final = nn.Linear(_LAYERS[-1] + _FACTORS, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns a logit for each pair of a user and an item."""
        factors = self.mf_user(user) * self.mf_item(item)
        hidden = torch.cat((self.mlp_user(user), self.mlp_item(item)), dim=1)
        for layer in self.layers:
            hidden = functional.dropout(functional.relu(layer(hidden)), 0.5, self.training)
        output: Tensor = self.final(torch.cat((factors, hidden), dim=1))
        return output


class SSD300(nn.Module):
    """ResNet-50 up to its third stage, without the stride of that, and the heads of SSD."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        layers: list[Any] = list(resnet50().children())[:7]
        first = layers[-1][0]
        first.conv1.stride = first.conv2.stride = first.downsample[0].stride = (1, 1)
        self.features = nn.Sequential(*layers)
        pairs = zip(_OUT_CHANNELS[:-1], _MIDDLE_CHANNELS, _OUT_CHANNELS[1:], strict=True)
        self.additional = nn.ModuleList(
            _block(*channels, strided=number < _STRIDED) for number, channels in enumerate(pairs)
        )
        heads = list(zip(_OUT_CHANNELS, _DEFAULTS, strict=True))
        self.places = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in heads)
        self.classes = nn.ModuleList(nn.Conv2d(c, n * _CLASSES, 3, padding=1) for c, n in heads)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns places (batch, 4, boxes) and logits of classes (batch, classes, boxes)."""
        maps = [self.features(images)]
        for block in self.additional:
            maps.append(block(maps[-1]))
        return (
            _joined(maps, self.places, 4).contiguous(),
            _joined(maps, self.classes, _CLASSES).contiguous(),
        )


def _block(channels: int, middle: int, out: int, *, strided: bool) -> nn.Module:
    second = nn.Conv2d(middle, out, 3, padding=int(strided), stride=2 if strided else 1, bias=False)
    return nn.Sequential(
        nn.Conv2d(channels, middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(inplace=True),
        second, nn.BatchNorm2d(out), nn.ReLU(inplace=True),
    )  # fmt: skip


def _joined(maps: list[Tensor], heads: nn.ModuleList, rows: int) -> Tensor:
    found = [
        head(one).reshape(one.shape[0], rows, -1) for one, head in zip(maps, heads, strict=True)
    ]
    return torch.cat(found, 2)


class Squad(nn.Module):
    """BERT with the head of SQuAD; returns the logits of begin and end (batch, tokens)."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertForQuestionAnswering

        self.network = BertForQuestionAnswering(BertConfig(attn_implementation="eager"))

    def forward(self, tokens: Tensor, segments: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Answers tokens, segments and mask (batch, tokens)."""
        output = self.network(input_ids=tokens, token_type_ids=segments, attention_mask=mask)
        return output.start_logits, output.end_logits


def build_model(network: str) -> nn.Module:
    """Builds a network by its name in measurements/step_time_cards.csv."""
    global _network  # build_batch gets only the size of the batch
    _network = network
    if network in _KINDS:
        return _KINDS[network]()
    import torchvision

    model: nn.Module = torchvision.models.get_model(network)
    return model


_KINDS: dict[str, Callable[[], nn.Module]] = {
    "bert-base-squad": Squad,
    "ncf": NeuMF,
    "ssd300-resnet50": SSD300,
}


def build_batch(batch_size: int) -> tuple[Tensor, ...]:
    """Draws the inputs of the network, and its targets."""
    if _network == "bert-base-squad":
        shape = (batch_size, _TOKENS)
        return (
            torch.randint(0, 30000, shape), torch.zeros(shape, dtype=torch.int64),
            torch.ones(shape, dtype=torch.int64), torch.randint(0, _TOKENS, (2, batch_size)).T,
        )  # fmt: skip
    if _network == "ncf":
        return (
            torch.randint(0, _USERS, (batch_size,)), torch.randint(0, _ITEMS, (batch_size,)),
            torch.randint(0, 2, (batch_size,)).float(),
        )  # fmt: skip
    if _network == "ssd300-resnet50":
        return (
            torch.randn(batch_size, 3, 300, 300), torch.rand(batch_size, 4, _BOXES),
            torch.randint(0, _CLASSES, (batch_size, _BOXES)),
        )  # fmt: skip
    return torch.randn(batch_size, 3, 224, 224), torch.randint(0, 1000, (batch_size,))


def training_step(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Returns the loss of the network's own procedure."""
    *inputs, targets = batch
    if _network == "ncf":
        logits = model(*inputs)
        losses = functional.binary_cross_entropy_with_logits(
            logits, targets.view(-1, 1), reduction="none"
        )
        return losses.float().view(-1).mean(0)
    if _network == "bert-base-squad":
        begin, end = model(*inputs)
        first, last = targets.unbind(1)
        return (functional.cross_entropy(begin, first) + functional.cross_entropy(end, last)) / 2
    if _network == "ssd300-resnet50":
        images, places = inputs
        return _ssd_loss(*model(images), places, targets)
    return functional.cross_entropy(model(*inputs), targets)


def inference_step(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Returns the output for the images; only networks of images were measured in inference."""
    output: Tensor = model(batch[0])
    return output


def _ssd_loss(places: Tensor, logits: Tensor, wanted: Tensor, classes: Tensor) -> Tensor:
    """Returns the loss of SSD: three negatives, those of the greatest loss, to a positive."""
    mask = classes > 0
    positives = mask.sum(dim=1)
    of_places = functional.smooth_l1_loss(places, wanted, reduction="none").sum(dim=1)
    of_places = (mask.float() * of_places).sum(dim=1)
    losses = functional.cross_entropy(logits, classes, reduction="none")
    negatives = losses.masked_fill(mask, 0)
    rank = negatives.sort(dim=1, descending=True)[1].sort(dim=1)[1]
    kept = rank < torch.clamp(3 * positives, max=mask.size(1)).unsqueeze(-1)
    total = of_places + (losses * (mask + kept).float()).sum(dim=1)
    return (total * (positives > 0).float() / positives.float().clamp(min=1e-6)).mean(dim=0)
