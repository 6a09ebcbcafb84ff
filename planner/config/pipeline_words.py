"""Reads the order of a pipeline and its micro-batches, and refuses what PyTorch's schedules do not
take.

In: ParallelConfig with its degrees, the words of the caller. Out: the same with PipelineOptions.
"""

from __future__ import annotations

from dataclasses import replace

from planner.config.parallel import DataParallel, ParallelConfig, PipelineOptions, Schedule
from planner.errors import UsageError


def with_schedule(
    config: ParallelConfig, schedule: Schedule | None, microbatches: int | None
) -> ParallelConfig:
    """Sets the order of the pipeline and its micro-batches.

    Raises:
        UsageError: there is no pipeline, or what does not go with one.
    """
    if config.pipeline == 1:
        if microbatches is not None:
            raise UsageError(
                f"--microbatches {microbatches} was given, and the job has no pipeline: add "
                f"pp=4 (--parallel), or take --accumulate {microbatches}"
            )
        return config
    for word, is_asked in (
        ("cp", config.context > 1),
        ("zero1", config.data is DataParallel.ZERO1),
    ):
        if is_asked:
            raise UsageError(
                f"pp and {word} (--parallel) cannot be planned together yet: leave one of them "
                "out, or write parallelize(model, mesh) in the model file"
            )
    if microbatches is not None and microbatches < 1:
        raise UsageError(f"microbatches must be at least 1, not {microbatches} (--microbatches)")
    options = PipelineOptions(schedule=schedule or Schedule.ONE_F_ONE_B, microbatches=microbatches)
    return replace(config, pipeline_options=options)


def check_pipeline(config: ParallelConfig) -> None:
    """Refuses numbers that PyTorch's schedule does not take.

    Raises:
        UsageError: says which number it takes.
    """
    if config.pipeline == 1:
        return
    options, schedule = config.pipeline_options, config.pipeline_options.schedule
    name, number = schedule.value, config.microbatches
    given, usual = options.stages_of_a_rank, schedule.stages_of_a_rank
    if given is not None and given != usual and schedule not in (
        Schedule.INTERLEAVED, Schedule.ZERO_BUBBLE,
    ):  # fmt: skip
        raise UsageError(
            f"stages_of_a_rank={given} (--parallel-arg) and {name}: a rank has {usual} there; "
            "leave it out, or take interleaved"
        )
    if options.split and len(options.split) != config.stages:
        raise UsageError(
            f"split (--parallel-arg) has {len(options.split)} numbers, and the pipeline has "
            f"{config.stages} stages ({config.pipeline} ranks): write the blocks of each stage, "
            "like split=8:8:8:8"
        )
    if schedule is Schedule.ONE_F_ONE_B and number < config.stages:
        raise UsageError(
            f"1f1b with {config.stages} stages needs at least as many micro-batches, not {number}: "
            f"take --microbatches {config.stages}, or gpipe"
        )
    rounds = max(1, number // config.pipeline)
    if schedule in (Schedule.INTERLEAVED, Schedule.ZERO_BUBBLE) and number % rounds:
        raise UsageError(
            f"{name} (--parallel) takes micro-batches in rounds of {config.pipeline}, and {number} "
            f"cannot be divided so: take --microbatches {config.pipeline * rounds}"
        )
