"""A process group of one rank alone: its peers are taken to do the same, at the same time.

In: collectives of torch.distributed. Out: works that are done, and a log of the messages.
Convention: a large tensor is not touched, because the emulated card has no content; a small one
becomes what equal peers would make of it, so that sizes and counters that are read stay true.
Requests for memory are those of PyTorch's ProcessGroupNCCL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from planner.hardware.link_specs import Collective
from planner.worker.ranks.communication import CommunicationLog, RankGroup

BACKEND = "planner"
_OF_A_MESH = "mesh_"  # in torch's descriptions of groups
_distributed: Any = torch._C._distributed_c10d
_Group: Any = dist.ProcessGroup  # its methods have other signatures in other versions of torch
# Larger tensors hold weights, gradients or activations, which no program reads.
_SMALL_ELEMENTS = 1 << 16


class OneRank(_Group):  # type: ignore[misc] # a class of C++
    """Plays one rank of a group."""

    def __init__(self, rank: int, group: RankGroup, log: CommunicationLog) -> None:
        super().__init__(rank, group.ranks)
        self._rank_here = rank
        self._group_here = group
        self._log = log
        self._name = self._description = ""
        self._stream: Any = None  # of messages from rank to rank

    def size(self) -> int:
        """Returns the number of ranks."""
        return self._group_here.ranks

    def rank(self) -> int:
        """Returns the rank within the group."""
        return self._rank_here

    def getBackendName(self) -> str:  # noqa: N802 # torch's name
        """Returns the name of the backend, as torch asks for it."""
        return BACKEND

    @property
    def group_name(self) -> str:
        """Returns the name under which torch has registered the group."""
        return self._name

    def getGroupName(self) -> str:  # noqa: N802 # torch's name
        """Returns the name, as C++ asks for it."""
        return self._name

    def _set_group_name(self, name: str) -> None:
        self._name = name

    @property
    def group_desc(self) -> str:
        """Returns the description; that of a dimension of a mesh ends with its name."""
        return self._description

    def getGroupDesc(self) -> str:  # noqa: N802 # torch's name
        """Returns the description, as C++ asks for it."""
        return self._description

    def _set_group_desc(self, description: str) -> None:
        self._description = description
        if self._group_here.name:
            name = description.removeprefix(_OF_A_MESH)
            self._group_here = replace(self._group_here, name=name)

    @property
    def _device_types(self) -> list[torch.device]:
        return [torch.device("cuda"), torch.device("cpu")]

    def _get_backend(self, device: Any) -> OneRank:
        return self

    @property
    def supports_coalescing(self) -> bool:
        """Returns True: several messages may be one."""
        return True

    def _start_coalescing(self, device: Any) -> None:
        pass

    def _end_coalescing(self, device: Any) -> Any:
        return _done([])

    def allreduce(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        """Sums `tensors` over the ranks."""
        self._note(Collective.ALL_REDUCE, tensors)
        self._reduce(tensors, opts)
        return _done(tensors)

    def allreduce_coalesced(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        """Sums `tensors` over the ranks."""
        return self.allreduce(tensors, opts)

    def reduce(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        """Sums `tensors` over the ranks, on one of them."""
        self._note(Collective.BROADCAST, tensors)
        self._reduce(tensors, opts)
        return _done(tensors)

    def broadcast(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        """Leaves `tensors`: the sender has the same."""
        self._note(Collective.BROADCAST, tensors)
        return _done(tensors)

    def allgather(
        self, outputs: list[list[torch.Tensor]], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        """Gathers each rank's tensor into a list."""
        self._note(Collective.ALL_GATHER, outputs[0])
        _flattened(outputs[0])
        for output, one in zip(outputs, inputs, strict=True):
            _fill(output, one)
        return _done(outputs)

    def all_gather_single(self, output: torch.Tensor, one: torch.Tensor, opts: Any = None) -> Any:
        """Gathers each rank's tensor into one."""
        self._note(Collective.ALL_GATHER, [output])
        self._fill_whole(output, one)
        return _done([output])

    def all_gather_single_coalesced(
        self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        """Gathers several tensors, each into one."""
        for output, one in zip(outputs, inputs, strict=True):
            self.all_gather_single(output, one, opts)
        return _done(outputs)

    def gather(
        self, outputs: list[list[torch.Tensor]], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        """Gathers each rank's tensor on one of them."""
        self._note(Collective.BROADCAST, inputs)
        for output, one in zip(outputs, inputs, strict=False):
            _fill(output, one)
        return _done(outputs)

    def scatter(
        self, outputs: list[torch.Tensor], inputs: list[list[torch.Tensor]], opts: Any = None
    ) -> Any:
        """Deals out a list of one rank's tensors."""
        self._note(Collective.BROADCAST, outputs)
        for output, parts in zip(outputs, inputs, strict=False):
            _fill([output], parts[self._rank_here])
        return _done(outputs)

    def reduce_scatter(
        self, outputs: list[torch.Tensor], inputs: list[list[torch.Tensor]], opts: Any = None
    ) -> Any:
        """Sums lists of tensors, and deals the sums out."""
        self._note(Collective.REDUCE_SCATTER, inputs[0])
        _flattened(inputs[0])
        for output, parts in zip(outputs, inputs, strict=True):
            _fill([output], parts[self._rank_here])
        self._reduce(outputs, opts)
        return _done(outputs)

    def reduce_scatter_single(
        self, output: torch.Tensor, whole: torch.Tensor, opts: Any = None
    ) -> Any:
        """Sums tensors, and deals the parts of the sum out."""
        self._note(Collective.REDUCE_SCATTER, [whole])
        if _is_small(whole) and whole.shape[:1] and whole.shape[0] % self.size() == 0:
            _fill([output], whole.chunk(self.size())[self._rank_here])
            self._reduce([output], opts)
        return _done([output])

    def reduce_scatter_single_coalesced(
        self, outputs: list[torch.Tensor], wholes: list[torch.Tensor], opts: Any = None
    ) -> Any:
        """Sums several tensors, and deals the parts out."""
        for output, whole in zip(outputs, wholes, strict=True):
            self.reduce_scatter_single(output, whole, opts)
        return _done(outputs)

    def all_to_all_single(
        self,
        output: torch.Tensor,
        one: torch.Tensor,
        output_sizes: Sequence[int] | None = None,
        input_sizes: Sequence[int] | None = None,
        opts: Any = None,
    ) -> Any:
        """Exchanges parts of a tensor; this rank gets what it sends, or most: see the log."""
        self._note(Collective.ALL_TO_ALL, [one])
        if output.shape == one.shape:
            if self._log.most_to_this_rank and one.shape and one.shape[0] % self.size() == 0:
                own = one.chunk(self.size())[self._rank_here]
                _fill(output.chunk(self.size()), own)
            else:
                _fill([output], one)
        return _done([output])

    def alltoall(
        self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        """Exchanges tensors."""
        self._note(Collective.ALL_TO_ALL, inputs)
        for output, one in zip(outputs, inputs, strict=True):
            if output.shape == one.shape:
                _fill([output], one)
        return _done(outputs)

    def barrier(self, opts: Any = None) -> Any:
        """Waits for nobody; takes the element that NCCL's barrier sums."""
        if torch.cuda.is_available():
            self.allreduce([torch.zeros(1, device="cuda")])
        return _done([])

    def monitored_barrier(self, *_: Any, **__: Any) -> None:
        """Waits for nobody, as `barrier`."""
        self.barrier()

    def send(self, tensors: list[torch.Tensor], to: int, tag: int) -> Any:
        """Sends to a rank that takes it at once."""
        self._note(Collective.SEND_RECV, tensors)
        self._record(tensors)
        return _done(tensors)

    def recv(self, tensors: list[torch.Tensor], origin: int, tag: int) -> Any:
        """Receives what is not known."""
        self._note(Collective.SEND_RECV, tensors)
        self._record(tensors)
        return _done(tensors)

    def recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> Any:
        """Receives what is not known."""
        return self.recv(tensors, -1, tag)

    # Names before torch 2.12.
    _allgather_base = all_gather_single
    _reduce_scatter_base = reduce_scatter_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single

    def _note(self, collective: Collective, tensors: Sequence[torch.Tensor]) -> None:
        size_bytes = sum(one.numel() * one.element_size() for one in tensors)
        self._log.note(self._group_here, collective, size_bytes)

    def _record(self, tensors: Sequence[torch.Tensor]) -> None:
        """Lets the allocator keep tensors until their stream is done, as ProcessGroupNCCL does."""
        for tensor in tensors:
            if tensor.is_cuda:
                if self._stream is None:
                    stream: Any = torch.cuda.Stream  # untyped in torch
                    self._stream = stream(tensor.device)
                tensor.record_stream(self._stream)

    def _fill_whole(self, output: torch.Tensor, one: torch.Tensor) -> None:
        if not _is_small(output) or output.numel() != one.numel() * self.size():
            return
        rows, part = output.detach().view(self.size(), -1), one.detach().view(1, -1)
        # FSDP sends a part of what it gathers into; a copy refuses to write what it reads.
        own = self.rank() if rows[self.rank()].data_ptr() == part.data_ptr() else self.size()
        rows[:own].copy_(part)
        rows[own + 1 :].copy_(part)

    def _reduce(self, tensors: Sequence[torch.Tensor], opts: Any) -> None:
        """Makes sums of small tensors; averages and extremes of equal ones are what they were."""
        operation = getattr(opts, "reduceOp", dist.ReduceOp.SUM)
        if operation != dist.ReduceOp.SUM:
            return
        for tensor in filter(_is_small, tensors):
            tensor.detach().mul_(self.size())


def _done(result: Any) -> Any:
    future: Any = torch.futures.Future()
    future.set_result(result)
    return _distributed._create_work_from_future(future)


def _is_small(tensor: torch.Tensor) -> bool:
    return 0 < tensor.numel() <= _SMALL_ELEMENTS


def _fill(outputs: Sequence[torch.Tensor], one: torch.Tensor) -> None:
    for output in outputs:
        if _is_small(output) and output.numel() == one.numel():
            output.detach().copy_(one.detach().view(output.shape))


def _flattened(tensors: Sequence[torch.Tensor]) -> None:
    """Takes memory for all tensors and gives it back: NCCL sends equally large ones as one."""
    first = tensors[0]
    if first.is_cuda and all(one.shape == first.shape for one in tensors):
        torch.empty((len(tensors), *first.shape), dtype=first.dtype, device=first.device)
