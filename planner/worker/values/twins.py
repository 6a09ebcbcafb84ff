"""Known storages: a storage of the card and a host storage of the same size with its values.

In: tensors of the card. Out: their values as CPU tensors, where they are known. Convention: a Twin
is an attribute of the storage, which torch keeps as long as the storage lives; a view of a known
storage is the same view of its twin, so aliasing and lifetime need no care.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from planner.worker.model.tensors import is_float

# Of one storage. Integers decide sizes (ids, edges, masks). Floats that decide are few and small if
# the host sends them (boxes, scales), and larger if they are computed (distances of all anchors to
# all boxes); all others are weights and activations, which the host need not compute.
INTEGER_LIMIT_BYTES = 256 << 20
FLOAT_LIMIT_BYTES = 64 << 20
SENT_FLOAT_LIMIT_BYTES = 64 << 10

_ATTRIBUTE = "_planner_twin"


@dataclass(slots=True, eq=False)
class Twin:
    """The known values of a storage.

    `storage` is None while nothing has been written to it. `assumed`: drawn numbers took
    part. `views` are numbers drawn for a view of a storage that is too large to be drawn as a
    whole. `centred`: unknown values are around zero; `infinite`: the program has put infinities
    or NaN into them.
    """

    storage: torch.UntypedStorage | None = None
    assumed: bool = False
    blank: bool = False
    centred: bool = False
    infinite: bool = False
    views: dict[Any, torch.Tensor] = field(default_factory=dict)

    @property
    def is_drawn(self) -> bool:
        """Whether the known values are drawn, or computed from drawn numbers."""
        return self.assumed or (self.storage is None and bool(self.views))


def is_plain(tensor: Any) -> bool:
    """Returns whether `tensor` is a tensor on the card with one storage of its own."""
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.is_cuda
        and tensor.layout is torch.strided
        and is_ordinary(type(tensor))
    )


def is_ordinary(kind: Any) -> bool:
    """Returns whether a class of tensors leaves operators to torch.

    A subclass without a dispatch of its own (torchvision's images) has the storage of a plain
    tensor.
    """
    return kind.__torch_dispatch__ is _LEFT_TO_TORCH


_LEFT_TO_TORCH: Any = torch._C._disabled_torch_dispatch_impl


def twin_of(tensor: torch.Tensor) -> Twin | None:
    """Returns the twin of the tensor's storage; None if nothing is noted of it."""
    storage = tensor.untyped_storage()
    found: Twin | None = getattr(storage, _ATTRIBUTE, None)
    if found is None or found.storage is None:
        return found
    if found.storage.nbytes() < storage.nbytes():  # resized, which no operator tells
        found.storage, found.assumed, found.blank = None, False, False
        found.views.clear()
    return found


def noted(tensor: torch.Tensor) -> Twin:
    """Returns the twin of the tensor's storage; makes an empty one if there is none."""
    found = twin_of(tensor)
    if found is None:
        found = Twin()
        setattr(tensor.untyped_storage(), _ATTRIBUTE, found)
    return found


def is_known(tensor: torch.Tensor) -> bool:
    """Returns whether the values of the tensor are known."""
    twin = twin_of(tensor)
    return twin is not None and twin.storage is not None and not twin.blank


def is_blank(tensor: torch.Tensor) -> bool:
    """Returns whether nothing has been written to the tensor's storage yet."""
    twin = twin_of(tensor)
    return twin is not None and twin.blank


def value_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Returns the values as a view of the host storage; writing to it writes the known values."""
    twin = twin_of(tensor)
    if twin is None or twin.blank:
        return None
    if twin.storage is None:
        return twin.views.get(view_key(tensor)) if twin.views else None
    return view_like(tensor, twin.storage)


def view_like(tensor: torch.Tensor, storage: torch.UntypedStorage) -> torch.Tensor:
    """Returns a view of a host storage with the layout that `tensor` has in its own."""
    made = torch.empty(0, dtype=tensor.dtype)
    made.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
    if tensor.is_conj():
        made = made.conj()
    negated: Any = torch._neg_view
    return negated(made) if tensor.is_neg() else made


def view_key(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Returns a key that differs between views of one storage."""
    return (tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride())


def forget(tensor: torch.Tensor) -> None:
    """Forgets the values of the tensor's storage."""
    twin = twin_of(tensor)
    if twin is not None:
        twin.storage, twin.assumed, twin.blank = None, False, False
        twin.centred = twin.infinite = False
        twin.views.clear()


def note_as_sent(tensor: torch.Tensor) -> None:
    """Notes that the host sends a new tensor numbers which are not kept.

    They may contain NaN for missing values, so they do not count as finite.
    """
    if is_plain(tensor) and tensor.is_floating_point():
        noted(tensor).infinite = True


def leave_blank(tensor: torch.Tensor) -> None:
    """Notes that nothing has been written to this new storage yet."""
    noted(tensor).blank = True


def limit_bytes(dtype: torch.dtype) -> int:
    """Returns the bytes of the largest storage whose values are kept."""
    return FLOAT_LIMIT_BYTES if is_float(dtype) else INTEGER_LIMIT_BYTES


def is_small(tensor: torch.Tensor) -> bool:
    """Returns whether values of this tensor's storage are kept."""
    return tensor.untyped_storage().nbytes() <= limit_bytes(tensor.dtype)


def is_kept_when_sent(tensor: torch.Tensor) -> bool:
    """Returns whether values that the host sends to this tensor are kept."""
    size_bytes = tensor.numel() * tensor.element_size()
    if not is_float(tensor.dtype) or size_bytes <= SENT_FLOAT_LIMIT_BYTES:
        return True
    if size_bytes > FLOAT_LIMIT_BYTES:
        return False
    return not bool(torch.isfinite(tensor).all())  # NaN for missing values decides


def covers_storage(tensor: torch.Tensor) -> bool:
    """Returns whether writing the tensor writes every byte of its storage."""
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


def writable(tensor: torch.Tensor) -> torch.Tensor | None:
    """Returns the host view for known values; None if the rest of the storage is unknown."""
    twin = noted(tensor)
    if twin.storage is not None and not twin.blank:
        return view_like(tensor, twin.storage)
    if not (twin.blank or covers_storage(tensor)) or not is_small(tensor):
        return None
    twin.storage = torch.zeros(
        tensor.untyped_storage().nbytes(), dtype=torch.uint8
    ).untyped_storage()
    twin.blank, twin.assumed = False, False
    twin.views.clear()
    return view_like(tensor, twin.storage)


def learn(tensor: torch.Tensor, value: torch.Tensor, *, assumed: bool) -> None:
    """Stores `value`, a CPU tensor of its shape, as that of `tensor`, if it is small enough."""
    twin = noted(tensor)
    if not is_small(tensor) and not is_known(tensor):
        return
    own = value.untyped_storage()
    alike = (
        twin.storage is None
        and own.nbytes() == tensor.untyped_storage().nbytes()
        and value.storage_offset() == tensor.storage_offset()
        and value.stride() == tensor.stride()
        and value.dtype == tensor.dtype
        and not (value.is_conj() or value.is_neg())
    )
    if alike:
        twin.storage, twin.blank, twin.assumed = own, False, assumed
        twin.views.clear()
        return
    place = writable(tensor)
    if place is None:
        forget(tensor)
        return
    if place.data_ptr() != value.data_ptr() or place.numel() == 0:
        place.copy_(value)
    twin.assumed = twin.assumed or assumed
