"""One loaded target in the child: does each kind of job on its engine.

In: the target, then jobs. Out: answers; the device's own notes are added to traces.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import torch

from planner.config.model_shapes import ModelShapes
from planner.config.step import CompileMode
from planner.config.target import Target, TargetKind
from planner.errors import UsageError
from planner.wire.data_cost import DataCost
from planner.wire.jobs import (
    Answer,
    CountJob,
    DataJob,
    Job,
    NeedsValues,
    RunAnswer,
    RunJob,
    ShapesJob,
)
from planner.wire.module_counts import ModelCounts
from planner.wire.own_lever import OwnLever
from planner.wire.protocol import Engine
from planner.wire.trace import AllocationTrace, Recording, RequestLog
from planner.wire.value_reads import ValuesPass, ValuesRequest
from planner.worker.drive.data_cost import measure_data
from planner.worker.drive.measure import measure, record, record_requests
from planner.worker.engines import alloc_conf, emulation
from planner.worker.engines.real import run_on_card, run_on_cpu
from planner.worker.model.compiler import load_code_generators
from planner.worker.published.ahead import build_ahead
from planner.worker.record import attention
from planner.worker.serve import torch_hooks
from planner.worker.serve.device_facts import with_device_facts
from planner.worker.serve.progress import note_into, note_reads
from planner.worker.target.contract import load
from planner.worker.values.passes import PassOfValues, pass_of_values


class Worker:
    """The user's code, imported once. Forked processes inherit it."""

    def __init__(
        self,
        target: Target,
        engine: Engine,
        values: ValuesRequest | None = None,
        notes: int | None = None,
    ) -> None:
        """Imports the target. `values` holds from the import on, for code that uses the card there.
        `notes` is the descriptor of a file for notes on reads and progress.
        """
        self._engine = engine
        if notes is not None:
            note_into(notes)
        self._has_read = False
        self._from_import: PassOfValues | None = None
        self._entered = ExitStack()
        # A forked process hangs in OpenMP's threads if its parent had started any.
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        started = _native_threads()
        if engine is Engine.EMULATED:
            torch_hooks.install()
            self._begin_values(values or ValuesRequest())
        if target.kind is TargetKind.FILE:
            sys.argv[:] = [target.location]  # as `python FILE` would
            sys.path.append(os.getcwd())
        self._target = target
        self._source = load(target)
        if engine is Engine.EMULATED:
            emulation.preload_cudnn()
            self._source = build_ahead(self._source)
        if torch.get_num_threads() > 1 or _native_threads() > started:
            self._threads = 1

    @property
    def levers(self) -> tuple[OwnLever, ...]:
        """Returns the levers of the model file."""
        return self._source.levers

    def get_ready(self, job: Job, *, has_compiled: bool) -> None:
        """Does here what each process that is forked for such a job would do again.

        `has_compiled`: a job before this one has used torch's compiler.
        """
        if self._engine is Engine.EMULATED and _compiles(job, has_compiled=has_compiled):
            load_code_generators()
        parallel = job.config.parallel if isinstance(job, RunJob | CountJob) else None
        if parallel is not None:
            from planner.worker.ranks.ahead import import_for

            import_for(parallel)

    def answer(self, job: Job, instead: Callable[[NeedsValues], NoReturn]) -> Answer:
        """Returns the job's answer; or `instead` ends this process with another answer."""
        if isinstance(job, RunJob):
            return self._run(job, instead)
        if isinstance(job, CountJob):
            return self._count(job, instead)
        if isinstance(job, ShapesJob):
            return self._shapes()
        return self._time_data(job)

    def _run(self, job: RunJob, instead: Callable[[NeedsValues], NoReturn]) -> RunAnswer:
        if self._engine is Engine.CPU:
            return run_on_cpu(self._source, job, self._threads)
        if self._engine is Engine.CUDA:
            torch.set_num_threads(self._threads)
            return run_on_card(self._source, job)
        return self._run_emulated(job, instead)

    def _time_data(self, job: DataJob) -> DataCost:
        torch.set_num_threads(1)  # as in a worker of a DataLoader
        return measure_data(self._source, job.seconds)

    def _shapes(self) -> ModelShapes:
        from planner.worker.published.shapes import published_shapes

        return published_shapes(self._target)

    def _run_emulated(self, job: RunJob, instead: Callable[[NeedsValues], NoReturn]) -> RunAnswer:
        unsupported = self._prepare(job)
        values = self._values_of(job, instead)
        attention.reset()
        device = torch.device("cuda", 0)
        allocations: AllocationTrace | None = None
        requests: RequestLog | None = None
        with self._active(values):
            if job.recording is Recording.EVENTS:
                trace, allocations = record(self._source, job.config, device)
            elif job.recording is Recording.REQUESTS:
                trace, requests = record_requests(self._source, job.config, device)
            else:
                trace = measure(self._source, job.config, device)
        answer = RunAnswer(trace=trace, allocations=allocations, requests=requests)
        return with_device_facts(answer, values, unsupported)

    def _count(self, job: CountJob, instead: Callable[[NeedsValues], NoReturn]) -> ModelCounts:
        """Counts the costs of a step, on the card of the job."""
        from planner.worker.count.inspection import inspect_model

        unsupported = self._prepare(job)
        values = self._values_of(job, instead)
        device = torch.device("cuda", 0)
        with self._active(values):
            found = inspect_model(self._source, job.config, device, job.depth)
        return replace(
            found,
            value_reads=values.value_reads(),
            assumptions=(*found.assumptions, *unsupported),
        )

    def _prepare(self, job: RunJob | CountJob) -> tuple[str, ...]:
        """Makes the device the card; returns the assumptions."""
        torch.set_num_threads(self._threads)
        unsupported = emulation.settle(job.profile)
        with warnings.catch_warnings():
            if unsupported:  # torch has a long warning for the sentence in `unsupported`
                warnings.simplefilter("ignore", UserWarning)
            _start_allocator(job.config.alloc_conf)
        return (unsupported,) if unsupported else ()

    def _begin_values(self, request: ValuesRequest) -> None:
        """Begins a pass of values before the import, for code that uses the card during it."""
        values = pass_of_values(request, self._note_read, note_reads)
        self._entered.enter_context(values.active())
        if request.kind is not ValuesPass.UNANSWERED:
            self._from_import = values

    def _note_read(self) -> None:
        self._has_read = True

    def _values_of(
        self,
        job: RunJob | CountJob,
        instead: Callable[[NeedsValues], NoReturn],
    ) -> PassOfValues:
        """Returns the pass of values of this run: the one begun at the import, if there is one."""
        if self._from_import is not None:
            return self._from_import
        self._entered.close()
        if self._has_read and job.values.kind is ValuesPass.UNANSWERED:
            instead(NeedsValues())
        on_first_read = partial(instead, NeedsValues())
        return pass_of_values(job.values, on_first_read, note_reads)

    def _active(self, values: PassOfValues) -> AbstractContextManager[None]:
        """Returns the context of the run; a context begun at the import ends with the run."""
        return self._entered if values is self._from_import else values.active()  # type: ignore[return-value] # an ExitStack is one too


def _compiles(job: Job, *, has_compiled: bool) -> bool:
    if not isinstance(job, RunJob) or job.config.compile is CompileMode.OFF:
        return False
    return has_compiled or job.config.compiles


def _start_allocator(setting: str | None) -> None:
    """Lets PyTorch start its allocator with `setting`.

    Raises:
        UsageError: PyTorch refuses it.
    """
    alloc_conf.choose(setting)
    start: Any = torch.cuda.init  # untyped in torch
    try:
        start()
    except (ValueError, RuntimeError) as error:
        given = alloc_conf.chosen()
        if given is None:
            raise
        raise UsageError(f"torch refuses {'='.join(given)}: {error}") from error


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task"))
