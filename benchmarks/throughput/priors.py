"""What is expected of the efficiency of a kind of kernel before any step is seen.

In: keys of efficiencies. Out: their expected shares, and how alike two keys are. Convention: a key
is words, of which the first is the kind; logarithms. Keys of one kind that share a word (a pass, a
width, a layout) share a part of their efficiency, so that a kind that no fitted step has in one
layout is not far from the same kind in another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

import torch
from torch import Tensor

_COMPUTE, _BANDWIDTH = 0.75, 0.9
# A convolution of single channels uses each operand once: beside each multiply-add it issues two
# loads, two conversions and the arithmetic of addresses.
_DEPTHWISE_COMPUTE = 0.15
# Bytes that a record counts, over those that the kernels move. Batch norm reads its input for the
# statistics and again to normalise: 2 of 3 (aten/src/ATen/native/cuda/Normalization.cuh); its
# backward reads two tensors twice: 3 of 5. A layer norm's backward goes over both again for the
# gradients of the weights: 3 of 5, and its forward mostly finds the row in the cache.
_BANDWIDTHS = {
    ("batch norm", "forward"): 0.6, ("batch norm", "backward"): 0.54,
    ("layer norm", "forward"): 0.7, ("layer norm", "backward"): 0.54,
    ("group norm", "forward"): 0.6, ("group norm", "backward"): 0.54,
    ("softmax", "forward"): 0.8, ("softmax", "backward"): 0.8,
}  # fmt: skip
# Standard deviations of the parts of the logarithm of an efficiency.
_OF_KIND, _OF_WORD, _OF_CONVOLUTIONS, _OF_KEY = 0.5, 0.3, 0.2, 0.3
# cuDNN's kernels for groups differ by far more, between their classes and between its versions.
_GROUPED = 3.0


def expected_compute(keys: Sequence[str]) -> Tensor:
    """Returns the logarithm of the expected share of the arithmetic rate, by key."""
    shares = [_DEPTHWISE_COMPUTE if key.startswith("depthwise") else _COMPUTE for key in keys]
    return torch.tensor(shares, dtype=torch.float64).log()


def expected_bandwidth(keys: Sequence[str]) -> Tensor:
    """Returns the logarithm of the expected share of the bandwidth, by key."""
    return torch.tensor([math.log(_bandwidth(key)) for key in keys], dtype=torch.float64)


def _bandwidth(key: str) -> float:
    kind, *words = key.split(", ")
    known = [_BANDWIDTHS[kind, word] for word in words if (kind, word) in _BANDWIDTHS]
    return known[0] if known else _BANDWIDTH


def parts(keys: Sequence[str]) -> Tensor:
    """Returns a matrix of keys by parts: the standard deviation of each part that a key has.

    A product with standard normal weights has the distribution of the logarithms before the fit.
    """
    places: dict[tuple[str, ...], int] = {}
    found: list[list[tuple[int, float]]] = []
    for key in keys:
        kind, *words = key.split(", ")
        wider = _GROUPED if kind.startswith("grouped") else 1.0
        deviations = {("kind", kind): wider * _OF_KIND, ("key", key): wider * _OF_KEY}
        deviations |= {("word", kind, word): wider * _OF_WORD for word in words}
        if kind.endswith("convolution"):
            deviations |= {("convolution", word): _OF_CONVOLUTIONS for word in words}
        found.append(
            [(places.setdefault(part, len(places)), one) for part, one in deviations.items()]
        )
    matrix = torch.zeros(len(keys), len(places), dtype=torch.float64)
    for row, cells in enumerate(found):
        for place, deviation in cells:
            matrix[row, place] = deviation
    return matrix


_LAYOUTS = ("", "channels_last")
_BACKENDS = ("flash", "efficient", "cudnn")


def relatives(keys: Iterable[str]) -> list[str]:
    """Returns the keys that one of `keys` becomes with other words in the place of its own.

    Their efficiencies are those of the parts that they share with it, and go with planner too.
    """
    found = dict.fromkeys(other for key in keys for other in _others(key))
    return list(found)


def _others(key: str) -> Iterable[str]:
    kind, *words = key.split(", ")
    if (_is_convolution(kind) or kind in ("batch norm", "pooling")) and _LAYOUTS[1] not in words:
        words.append("")
    choices = [_choices(kind, word) for word in words]
    return (", ".join([kind, *filter(None, chosen)]) for chosen in product(*choices))


def _is_convolution(kind: str) -> bool:
    return kind.endswith("convolution")


def _choices(kind: str, word: str) -> tuple[str, ...]:
    """Returns the words that may stand in the place of one in a key of this kind."""
    widths, passes = ("half", "single"), ("forward", "backward")
    if _is_convolution(kind):
        passes = ("forward", "input gradient", "weight gradient")
    if kind == "batch norm":
        passes = ("forward", "evaluation", "backward")
    if kind in ("convolution", "grouped convolution"):
        widths = ("half", "single", "tf32")
    if kind == "matrix product":
        widths = ()  # published steps have products of every width
    found = (words for words in (widths, passes, _LAYOUTS, _BACKENDS) if word in words)
    return next(found, (word,))
