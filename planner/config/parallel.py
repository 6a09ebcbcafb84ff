"""How a job is spread over several GPUs, as data: degrees of parallelism and their knobs.

In: nothing. Out: frozen records that go to the child as a part of StepConfig. Convention: a degree
is a number of ranks; the product of all degrees is the number of GPUs, and each GPU is one rank.
config/parallel_words.py makes the records of the caller's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DataParallel(str, Enum):
    """How ranks with different samples share parameters, gradients and optimizer state."""

    NONE = "none"
    """All ranks work on the same samples."""
    DDP = "ddp"
    """Each has all of them: torch.nn.parallel.DistributedDataParallel."""
    ZERO1 = "zero1"
    """DDP whose optimizer state is dealt out: torch.distributed.optim.ZeroRedundancyOptimizer."""
    FSDP = "fsdp"
    """All three are sharded: torch.distributed.fsdp.fully_shard; with `replicate` above 1, HSDP."""


class ComputeDtype(str, Enum):
    """A dtype of FSDP's MixedPrecisionPolicy."""

    FP32 = "fp32"
    """torch.float32."""
    BF16 = "bf16"
    """torch.bfloat16."""
    FP16 = "fp16"
    """torch.float16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FsdpOptions:
    """Knobs of FSDP2, under the names that PyTorch gives them."""

    reshard_after_forward: bool | None = None
    """Whether parameters are sharded again after forward; None: all but the last block's."""
    param_dtype: ComputeDtype | None = None
    """Dtype of gathered parameters; None: bf16 with amp-bf16, else that of the parameter."""
    reduce_dtype: ComputeDtype | None = None
    """Dtype in which gradients are reduced; None: fp32 with amp-bf16, else the gradient's."""
    prefetch: int | None = None
    """Blocks that are gathered ahead, in forward and backward; None: FSDP's own order."""
    wrap: tuple[str, ...] = ()
    """Classes or names of modules that are sharded as a unit, with * as in fnmatch; none: the
    repeated blocks of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DdpOptions:
    """Knobs of DistributedDataParallel, under the names that PyTorch gives them."""

    bucket_cap_mb: float | None = None
    """Size of a bucket in MiB; None: that of PyTorch, 25."""
    gradient_as_bucket_view: bool = False
    """Gradients are views of the buckets."""
    static_graph: bool = False
    """Each step uses the same parameters."""
    find_unused_parameters: bool = False
    """Each step looks for parameters without a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorOptions:
    """Knobs of tensor parallelism."""

    loss_parallel: bool = False
    """Logits stay sharded, and the cross-entropy is computed on the shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """The ranks of a job, and the one that a run plays."""

    gpus: int
    """Number of GPUs of the whole job: the world size."""
    hosts: int = 1
    """Number of machines, with equally many GPUs each."""
    data: DataParallel = DataParallel.NONE
    """How ranks with different samples share what they keep."""
    replicate: int = 1
    """Ranks that hold the same parameters and see different samples."""
    shard: int = 1
    """Ranks over which FSDP shards."""
    context: int = 1
    """Ranks among which each sequence is divided."""
    tensor: int = 1
    """Ranks among which matrices are divided."""
    rank: int = 0
    """The rank that a run plays; in a result, the one with the highest peak."""
    fsdp: FsdpOptions = FsdpOptions()
    """Knobs of FSDP."""
    ddp: DdpOptions = DdpOptions()
    """Knobs of DDP and of ZeRO-1's DDP."""
    tensor_options: TensorOptions = TensorOptions()
    """Knobs of tensor parallelism."""

    @property
    def dimensions(self) -> tuple[tuple[str, int], ...]:
        """Name and degree of each dimension of the device mesh, outermost first.

        Names are those of torchtitan. Dimensions of degree 1 are left out, unless all are.
        """
        every = (
            ("dp_replicate", self.replicate),
            ("dp_shard", self.shard),
            ("cp", self.context),
            ("tp", self.tensor),
        )
        return tuple(one for one in every if one[1] > 1) or (("dp_shard", 1),)

    @property
    def samples_ranks(self) -> int:
        """Number of ranks that see samples of their own."""
        return self.replicate * self.shard

    @property
    def gpus_of_a_host(self) -> int:
        """GPUs of one machine."""
        return self.gpus // self.hosts

    @property
    def words(self) -> str:
        """The strategy in the words of --parallel, with all degrees."""
        words = []
        if self.data is DataParallel.FSDP and self.replicate > 1:
            words.append(f"hsdp={self.replicate}x{self.shard}")
        elif self.data is not DataParallel.NONE:
            words.append(f"{self.data.value}={self.samples_ranks}")
        if self.context > 1:
            words.append(f"cp={self.context}")
        if self.tensor > 1:
            words.append(f"tp={self.tensor}")
        return ",".join(words)
