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


class Schedule(str, Enum):
    """The order in which a pipeline computes micro-batches, by torch.distributed.pipelining."""

    GPIPE = "gpipe"
    """ScheduleGPipe: all forwards, then all backwards."""
    ONE_F_ONE_B = "1f1b"
    """Schedule1F1B: one forward and one backward in turn."""
    INTERLEAVED = "interleaved"
    """ScheduleInterleaved1F1B: a rank has several stages, far from each other."""
    ZERO_BUBBLE = "zb"
    """ScheduleInterleavedZeroBubble: gradients of weights are computed where a rank would wait."""
    ZERO_BUBBLE_V = "zbv"
    """ScheduleZBVZeroBubble: the same, with two stages of a rank, in the form of a V."""

    @property
    def stages_of_a_rank(self) -> int:
        """The usual number of stages that a rank has."""
        return 1 if self in (Schedule.GPIPE, Schedule.ONE_F_ONE_B) else 2


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
    cpu_offload: bool = False
    """CPUOffloadPolicy: parameters, gradients and optimizer state are in the RAM of the host."""
    pin_memory: bool = True
    """With `cpu_offload`, whether that RAM is pinned."""
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
class PipelineOptions:
    """Knobs of a pipeline."""

    schedule: Schedule = Schedule.ONE_F_ONE_B
    """The order of forwards and backwards."""
    microbatches: int | None = None
    """Micro-batches of a step; None: twice as many as there are ranks in the pipeline."""
    stages_of_a_rank: int | None = None
    """Stages of one rank; None: as is usual for the schedule."""
    split: tuple[int, ...] = ()
    """Blocks of each stage, in order; none: as evenly as they divide, where what comes before the
    first block and what comes after the last one count as a block each."""


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
    experts: int = 1
    """Of the ranks over which FSDP shards, those among which whole experts are dealt out."""
    pipeline: int = 1
    """Ranks among which the blocks of the model are divided, one after another."""
    rank: int = 0
    """The rank that a run plays; in a result, the one with the highest peak."""
    fsdp: FsdpOptions = FsdpOptions()
    """Knobs of FSDP."""
    ddp: DdpOptions = DdpOptions()
    """Knobs of DDP and of ZeRO-1's DDP."""
    tensor_options: TensorOptions = TensorOptions()
    """Knobs of tensor parallelism."""
    pipeline_options: PipelineOptions = PipelineOptions()
    """Knobs of the pipeline."""

    @property
    def dimensions(self) -> tuple[tuple[str, int], ...]:
        """Name and degree of each dimension of the device mesh, outermost first.

        Names are those of torchtitan. Dimensions of degree 1 are left out, unless all are. Where
        experts are dealt out, the ranks of FSDP are two dimensions: `ep` and, of the ranks that
        hold the same experts, `efsdp`.
        """
        if self.experts > 1:
            return (("efsdp", self.shard // self.experts), ("ep", self.experts))
        every = (
            ("pp", self.pipeline),
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
    def microbatches(self) -> int:
        """Number of micro-batches that a step sends through the pipeline; 1 without one."""
        if self.pipeline == 1:
            return 1
        return self.pipeline_options.microbatches or 2 * self.pipeline

    @property
    def stages(self) -> int:
        """Number of stages of the pipeline."""
        options = self.pipeline_options
        of_a_rank = options.stages_of_a_rank or options.schedule.stages_of_a_rank
        return 1 if self.pipeline == 1 else self.pipeline * of_a_rank

    @property
    def ranks_of_a_stage(self) -> int:
        """Number of ranks that share one place in the pipeline."""
        return self.gpus // self.pipeline

    @property
    def place(self) -> int:
        """Place of the played rank in the pipeline."""
        return self.rank // self.ranks_of_a_stage

    @property
    def gpus_of_a_host(self) -> int:
        """GPUs of one machine."""
        return self.gpus // self.hosts

    @property
    def words(self) -> str:
        """The strategy in the words of --parallel, with all degrees."""
        words = []
        if self.pipeline > 1:
            words += [f"pp={self.pipeline}", self.pipeline_options.schedule.value]
        if self.data is DataParallel.FSDP and self.replicate > 1:
            words.append(f"hsdp={self.replicate}x{self.shard}")
        elif self.data is not DataParallel.NONE:
            words.append(f"{self.data.value}={self.samples_ranks}")
        if self.context > 1:
            words.append(f"cp={self.context}")
        if self.tensor > 1:
            words.append(f"tp={self.tensor}")
        if self.experts > 1:
            words.append(f"ep={self.experts}")
        return ",".join(words)
