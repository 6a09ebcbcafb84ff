"""Lets ranks agree on things through the emulated card: objects, and how a pipeline begins.

In: the device's contents (native/contents.cpp), which copies and NCCL carry. Out: contents of what
the few operators between them compute: a sum of sizes, the larger one, a product of votes.
Convention: only inside these functions of PyTorch; a training step sees no dispatch mode.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from planner.worker.engines import emulation
from planner.worker.model.tensors import tensor_leaves

# torch/distributed/distributed_c10d.py: these pickle objects into tensors on the card.
_OBJECT_COLLECTIVES = (
    "all_gather_object",
    "gather_object",
    "broadcast_object_list",
    "scatter_object_list",
    "send_object_list",
    "recv_object_list",
)
# torch/distributed/pipelining/schedules.py: the stages vote whether all have given their shapes.
_SCHEDULES = "torch.distributed.pipelining.schedules"
_VOTE = "_warmup_p2p"
_MARK = "_planner_agreement"
# In place. Of all others that write what they get, copies are followed by the device itself.
_IN_PLACE = ("aten::add_", "aten::sub_", "aten::mul_")
_MOST_BYTES = 1 << 20  # of a content: kContentBytes in native/contents.h


def keep_agreements() -> None:
    """Makes the card keep contents, and wraps what agrees through it.

    To be called after the program has imported what it uses of torch.distributed.
    """
    import torch.distributed as distributed
    from torch.distributed import distributed_c10d

    emulation.keep_contents()
    for name in _OBJECT_COLLECTIVES:
        for owner in (distributed_c10d, distributed):
            _wrap(owner, name)
    schedules = sys.modules.get(_SCHEDULES)
    _wrap(getattr(schedules, "_PipelineSchedule", None), _VOTE)


def _wrap(owner: Any, name: str) -> None:
    function = getattr(owner, name, None)
    if function is not None and not hasattr(function, _MARK):
        setattr(owner, name, _with_contents(function))


def _with_contents(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with ComputedContents():  # type: ignore[no-untyped-call] # torch's
            return function(*args, **kwargs)

    setattr(wrapped, _MARK, True)
    return wrapped


class ComputedContents(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's
    """Computes the content of what an operator returns, where those of its inputs are known.

    An operator that writes nothing but its results leaves all other contents certain.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operator on the emulated card, and on the host with what is known."""
        kwargs = kwargs or {}
        if not _writes_only_results(func):
            return func(*args, **kwargs)
        inputs = _known((args, kwargs))
        with emulation.held_contents():
            result = func(*args, **kwargs)
        written = [tensor for tensor in tensor_leaves(result) if tensor.is_cuda]
        if written:
            _set_contents(written, _computed(func, inputs, written))
        return result


def _writes_only_results(func: Any) -> bool:
    """Returns whether an operator of ATen writes nothing but what it returns."""
    if func._schema.name in _IN_PLACE:
        return True
    if func.namespace != "aten" or func._schema.is_mutable:
        return False
    return all(value.alias_info is None for value in func._schema.returns)


def _computed(func: Any, inputs: Any, written: list[torch.Tensor]) -> list[torch.Tensor] | None:
    """Returns the results of an operator on the host; None if they are not certain."""
    if inputs is None or "empty" in func.__name__ or torch.Tag.nondeterministic_seeded in func.tags:
        return None
    if any(tensor.nbytes > _MOST_BYTES for tensor in written):
        return None
    args, kwargs = inputs
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    return tensor_leaves(func(*args, **kwargs))


def _known(tree: Any) -> Any:
    """Returns the tree with tensors of the host in place of the card's; None if one is unknown."""
    contents = {id(tensor): _content(tensor) for tensor in tensor_leaves(tree) if tensor.is_cuda}
    if any(content is None for content in contents.values()):
        return None
    return tree_map_only(torch.Tensor, lambda tensor: contents.get(id(tensor), tensor), tree)


def _content(tensor: torch.Tensor) -> torch.Tensor | None:
    if tensor.numel() == 0:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    content = emulation.content(tensor.data_ptr(), _span_bytes(tensor))
    if content is None:
        return None
    flat = torch.frombuffer(bytearray(content), dtype=tensor.dtype)
    return flat.as_strided(tensor.shape, tensor.stride())


def _span_bytes(tensor: torch.Tensor) -> int:
    """Returns the bytes from the tensor's first element to its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return (1 + sum((size - 1) * stride for size, stride in steps)) * tensor.element_size()


def _set_contents(written: list[torch.Tensor], computed: list[torch.Tensor] | None) -> None:
    values_of: Sequence[torch.Tensor | None] = computed or [None] * len(written)
    for emulated, values in zip(written, values_of, strict=True):
        if emulated.numel() == 0:
            continue
        content = None
        if values is not None and _has_the_same_bytes(values, emulated):
            content = ctypes.string_at(values.data_ptr(), emulated.nbytes)
        emulation.set_content(emulated.data_ptr(), _span_bytes(emulated), content)


def _has_the_same_bytes(values: torch.Tensor, emulated: torch.Tensor) -> bool:
    """Returns whether both have the same layout, without gaps."""
    layouts = [(one.shape, one.stride(), one.dtype) for one in (values, emulated)]
    return layouts[0] == layouts[1] and _span_bytes(emulated) == emulated.nbytes
