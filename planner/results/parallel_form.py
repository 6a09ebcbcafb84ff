"""How a job is spread over several GPUs, as a part of the JSON documents and in words.

In: ParallelConfig. Out: ParallelDocument, text. Convention: the document holds each field of the
record under its name, so that it can be read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.config.parallel import ParallelConfig
from planner.units import counted

if TYPE_CHECKING:
    from planner.results.schema.job import ParallelDocument


def parallel_document(config: ParallelConfig) -> ParallelDocument:
    """Returns the entry `parallel` of a JSON document."""
    fsdp, ddp, tensor = config.fsdp, config.ddp, config.tensor_options
    pipeline = config.pipeline_options
    return {
        "gpus": config.gpus,
        "hosts": config.hosts,
        "strategy": config.words,
        "data": config.data.value,
        "replicate": config.replicate,
        "shard": config.shard,
        "context": config.context,
        "tensor": config.tensor,
        "experts": config.experts,
        "pipeline": config.pipeline,
        "rank": config.rank,
        "fsdp": {
            "reshard_after_forward": fsdp.reshard_after_forward,
            "param_dtype": None if fsdp.param_dtype is None else fsdp.param_dtype.value,
            "reduce_dtype": None if fsdp.reduce_dtype is None else fsdp.reduce_dtype.value,
            "prefetch": fsdp.prefetch,
            "cpu_offload": fsdp.cpu_offload,
            "pin_memory": fsdp.pin_memory,
            "wrap": list(fsdp.wrap),
        },
        "ddp": {
            "bucket_cap_mb": ddp.bucket_cap_mb,
            "gradient_as_bucket_view": ddp.gradient_as_bucket_view,
            "static_graph": ddp.static_graph,
            "find_unused_parameters": ddp.find_unused_parameters,
        },
        "tensor_options": {"loss_parallel": tensor.loss_parallel},
        "pipeline_options": {
            "schedule": pipeline.schedule.value,
            "microbatches": config.microbatches,
            "stages_of_a_rank": config.stages // config.pipeline,
            "split": list(pipeline.split),
        },
    }


def parallel_words(config: ParallelConfig) -> str:
    """Returns `8 GPUs on 1 host, fsdp=8`."""
    return ", ".join(
        (
            f"{counted(config.gpus, 'GPU')} on {counted(config.hosts, 'host')}",
            *([config.words] if config.words else []),
        )
    )
