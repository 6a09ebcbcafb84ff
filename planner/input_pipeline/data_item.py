"""Describes one item of a data set: the cost to prepare it, and its bytes.

In: the words of `--data`. Out: DataItem. Convention: seconds are CPU seconds on the reference core
of hardware/cpu_specs.py; an item is in the form that a worker collates, after every transform.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.errors import UsageError
from planner.hardware.cpu_specs import REFERENCE_DECODE_ITEMS_PER_S

# Pillow: decode 500x375, random resized crop 224, flip, to tensor, normalise; measured (torch
# 2.14.1) on a virtual CPU that decodes 420 such JPEGs a second.
_JPEG_PREPARE_S = 4.8e-3
_JPEG_CORE_DECODES_PER_S = 420.0
_IMAGENET_PIXELS = 3 * 224 * 224
# ILSVRC2012_img_train.tar: 137.9 GB, 1 281 167 pictures (https://image-net.org).
_IMAGENET_STORED_BYTES = 107_600
# 1024 tokens and their targets, cut from a memory map of uint16 and widened to int64; an item of
# a tensor in memory. Both measured on the same virtual CPU, the map in the page cache.
_TOKENS = 1024
_TOKENS_PREPARE_S = 7e-6
_TENSOR_PREPARE_S = 4e-6

_MOST_MS = 86.4e6  # a day: a longer time is a mistake

CHOICES = "imagenet-jpeg, tokens, tensor, or milliseconds per item like 4.8"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataItem:
    """One item of a data set; `basis` says in words where its figures come from.

    `item_bytes` are those that a worker hands over, None until the batch of the step is known;
    `stored_bytes` are read from storage for it. `collate_s` is its share of default_collate where
    that was measured; None: it is computed from its bytes.
    """

    name: str
    prepare_s: float
    item_bytes: int | None
    stored_bytes: int
    basis: str
    collate_s: float | None = None


_PRESETS = {
    item.name: item
    for item in (
        DataItem(
            name="imagenet-jpeg",
            prepare_s=_JPEG_PREPARE_S * _JPEG_CORE_DECODES_PER_S / REFERENCE_DECODE_ITEMS_PER_S,
            item_bytes=_IMAGENET_PIXELS * 4,
            stored_bytes=_IMAGENET_STORED_BYTES,
            basis="JPEGs of ImageNet with Pillow: decode, random crop 224, flip, normalise",
        ),
        DataItem(
            name="tokens",
            prepare_s=_TOKENS_PREPARE_S * _JPEG_CORE_DECODES_PER_S / REFERENCE_DECODE_ITEMS_PER_S,
            item_bytes=2 * _TOKENS * 8,
            stored_bytes=_TOKENS * 2,
            basis=f"{_TOKENS} tokens and their targets from a memory map",
        ),
        DataItem(
            name="tensor",
            prepare_s=_TENSOR_PREPARE_S * _JPEG_CORE_DECODES_PER_S / REFERENCE_DECODE_ITEMS_PER_S,
            item_bytes=None,
            stored_bytes=0,
            basis="items of a tensor that is in memory",
        ),
    )
}


def parse_data(text: str, *, core_speed: float = 1.0) -> DataItem:
    """Returns the item that `--data` names; a number is milliseconds on a core of that speed.

    Raises:
        UsageError: neither a preset nor a time above zero and of at most a day.
    """
    word = text.strip().lower()
    if word in _PRESETS:
        return _PRESETS[word]
    try:
        milliseconds = float(word)
    except ValueError:
        raise UsageError(f"no data item {text!r}; give {CHOICES}") from None
    if not 0 < milliseconds <= _MOST_MS:
        raise UsageError(f"an item cannot take {text!r} milliseconds; give {CHOICES}")
    return DataItem(
        name=f"{milliseconds:g} ms",
        prepare_s=milliseconds / 1e3 * core_speed,
        item_bytes=None,
        stored_bytes=0,
        basis="as given",
    )


def with_batch(item: DataItem, batch_bytes: int, batch_size: int) -> DataItem:
    """Returns the item with the bytes that it has in the batch of the step."""
    return replace(item, item_bytes=-(-batch_bytes // batch_size))
