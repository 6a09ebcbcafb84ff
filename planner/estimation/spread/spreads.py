"""Lists the ways to use a number of GPUs: strategies with their degrees.

In: GPUs, GPUs of a machine. Out: Spreads. Convention: dimensions that send most stay within a
machine, so that tensor and context degrees divide its GPUs, and HSDP shards over whole machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.config.parallel import DataParallel

_DEGREES = (2, 4, 8)  # of tensor and context parallelism; more would leave a machine
_KEEPS = {"reshard_after_forward": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A strategy and its degrees, on `gpus` GPUs of `hosts` machines.

    With `keeps_gathered`, FSDP keeps parameters whole from forward to backward.
    """

    gpus: int
    hosts: int
    data: DataParallel = DataParallel.NONE
    replicate: int = 1
    shard: int = 1
    context: int = 1
    tensor: int = 1
    keeps_gathered: bool = False

    @property
    def sample_ranks(self) -> int:
        """Returns the ranks that see samples of their own."""
        return self.replicate * self.shard

    @property
    def state_ranks(self) -> int:
        """Returns the ranks among which each parameter is divided at most."""
        return self.shard * self.context * self.tensor

    @property
    def parallel(self) -> str:
        """Returns the words of `--parallel`; "" on one GPU."""
        words = []
        if self.data is DataParallel.FSDP and self.replicate > 1:
            words.append(f"hsdp={self.replicate}x{self.shard}")
        elif self.data is not DataParallel.NONE:
            words.append(f"{self.data.value}={self.sample_ranks}")
        words += [f"cp={self.context}"] if self.context > 1 else []
        words += [f"tp={self.tensor}"] if self.tensor > 1 else []
        return ",".join(words)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Returns the words of `--parallel-arg`."""
        return ("reshard_after_forward=false",) if self.keeps_gathered else ()

    @property
    def options(self) -> Mapping[str, Any]:
        """Returns the options of the library that spread the job so."""
        if self.gpus == 1:
            return {}
        return {
            "num_gpus": self.gpus,
            "num_hosts": self.hosts,
            "parallel": self.parallel,
            **({"parallel_arguments": dict(_KEEPS)} if self.keeps_gathered else {}),
        }


def spreads(gpus: int, hosts: int) -> tuple[Spread, ...]:
    """Returns the ways to use so many GPUs of so many machines, data-parallel ones first."""
    if gpus == 1:
        return (Spread(gpus=1, hosts=1),)
    return tuple(_spreads(gpus, hosts))


def _spreads(gpus: int, hosts: int) -> Iterator[Spread]:
    per_host = gpus // hosts
    for data in (DataParallel.DDP, DataParallel.ZERO1):
        yield Spread(gpus=gpus, hosts=hosts, data=data, replicate=gpus)
    for keeps in (False, True):
        yield _sharded(gpus, hosts, gpus, keeps=keeps)
    for shard in _whole_hosts(per_host, gpus):
        for keeps in (False, True):
            yield _sharded(gpus, hosts, shard, keeps=keeps)
    for degree in (one for one in _DEGREES if per_host % one == 0):
        left = gpus // degree
        if left == 1:
            yield Spread(gpus=gpus, hosts=hosts, tensor=degree)
            yield Spread(gpus=gpus, hosts=hosts, data=DataParallel.FSDP, context=degree)
            continue
        yield _sharded(gpus, hosts, left, tensor=degree)
        if hosts > 1 and per_host > degree:
            yield _sharded(gpus, hosts, per_host // degree, tensor=degree)
        yield _sharded(gpus, hosts, left, context=degree)


def _whole_hosts(per_host: int, gpus: int) -> Iterator[int]:
    """Yields numbers of GPUs to shard over: machines, doubled as long as they divide all."""
    shard = per_host
    while 1 < shard < gpus:
        if gpus % shard == 0:
            yield shard
        shard *= 2


def _sharded(
    gpus: int, hosts: int, shard: int, *, keeps: bool = False, tensor: int = 1, context: int = 1
) -> Spread:
    return Spread(
        gpus=gpus,
        hosts=hosts,
        data=DataParallel.FSDP,
        replicate=gpus // (shard * tensor * context),
        shard=shard,
        tensor=tensor,
        context=context,
        keeps_gathered=keeps,
    )


def sizes_of_jobs(per_host: int, most: int) -> Iterator[tuple[int, int]]:
    """Yields rising numbers of GPUs with their machines: powers of two, then whole machines."""
    gpus = 1
    while gpus < min(per_host, most + 1):
        yield gpus, 1
        gpus *= 2
    for hosts in range(1, most // per_host + 1):
        yield hosts * per_host, hosts
