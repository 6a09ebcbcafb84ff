"""Looks up answers of the child, and keeps those that depend on nothing unknown.

In: a target, and what decides its answers. Out: answers that a run would give again. Convention: a
wrong answer is worse than a run: what cannot be known is not kept, and `reason` says so. Nothing
here ends an estimate: a folder that cannot be used gives one warning.

A file `names/...` lists what the target has read while it was loaded. Its state now is the name of
a folder, which holds the versions of the child and an answer for each job.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, cast, get_args

import msgspec

from planner.config.step import StepConfig
from planner.emulator.profile import UNLIMITED_BYTES
from planner.process.kept import journal
from planner.process.kept.state import ChangedError, Machine
from planner.process.kept.store import Store, limit_bytes
from planner.wire.jobs import CountJob, NeedsValues, RunAnswer, RunJob
from planner.wire.module_counts import ModelCounts
from planner.wire.protocol import Loaded, encode
from planner.wire.reads import Reads
from planner.wire.trace import Recording, RunOutcome
from planner.wire.value_reads import ValuesRequest

_MOST_NAMES = 8  # sets of names of one target that are looked at
_MOST_BYTES = 256 << 20  # of one answer, before it is compressed
_KEPT_OUTCOMES = frozenset({RunOutcome.COMPLETED, RunOutcome.OUT_OF_MEMORY})
KeptJob = RunJob | CountJob
KeptAnswer = RunAnswer | ModelCounts | NeedsValues
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(KeptAnswer)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The first line of an answer: the class of the record, and what its job has read."""

    kind: str
    reads: Reads
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSearch:
    """A step that was answered by runs to the end: its recorded run, and the card with its limit.

    A search that was broken off, or that met a failure, which is not kept, is not one.
    """

    job: RunJob
    limited: str


class KeptAxis(str, Enum):
    """The field of StepConfig in which recorded runs may differ."""

    BATCH = "batch_size"
    """Another batch."""
    SEQUENCE = "sequence_length"
    """Another length of a sequence."""


class KeptAnswers:
    """The kept answers of one target. Several threads may use it."""

    def __init__(self, store: Store, key: str, environment: Mapping[str, str]) -> None:
        self._store = store
        self._key = key
        self._environment = environment
        self._lock = threading.Lock()
        self._now = Machine(environment=environment)
        self._folder: str | None = None
        self._since_ns: int | None = None
        self._has_written = False
        self.reason: str | None = None
        self.warning: str | None = None

    def loaded(self) -> Loaded | None:
        """Returns what a child said that has loaded the target as it is now, if kept."""
        folder = f"{self._key}/names"
        for name in self._store.names(folder)[:_MOST_NAMES]:
            reads = self._record(f"{folder}/{name}", Reads)
            if reads is None:
                continue
            state = self._now.state(reads)
            found = f"{self._key}/{_digest(name, state)}"
            load = self._record(f"{found}/load", Loaded)
            if load is not None:
                self._folder = found
                journal.note(reads, state)
                return cast("Loaded", load)
        return None

    def answer(self, job: KeptJob) -> KeptAnswer | None:
        """Returns the answer of a job, if kept."""
        with self._lock:
            folder = self._folder
            if folder is None:
                return None
            content = self._store.read(f"{folder}/{_job_name(job)}")
            if content is None:
                return None
            line, _, body = content.partition(b"\n")
            try:
                head = msgspec.json.decode(line, type=_Head)
                if self._now.state(head.reads) != head.state:
                    return None
                found: KeptAnswer = msgspec.json.decode(body, type=_KINDS[head.kind])
            except (msgspec.MsgspecError, KeyError):
                return None
            journal.note(head.reads, head.state)
            return found

    def keep_loaded(self, loaded: Loaded, since_ns: int) -> bool:
        """Keeps what a child has read that was started at `since_ns`.

        Returns whether its answers are those of the target that was looked up before.
        """
        with self._lock:
            before, self._folder = self._folder, None
            self._now = Machine(environment=self._environment)
        reads = loaded.reads
        if loaded.single_run is not None:
            self.reason = loaded.single_run
        elif reads is None or loaded.versions is None:
            self.reason = "the child does not report what it reads"
        elif reads.unkept is not None:
            self.reason = f"the model's code {reads.unkept} while it is imported"
        else:
            self._since_ns = since_ns
            self._keep_names(reads, loaded)
        return before is None or before == self._folder

    def _keep_names(self, reads: Reads, loaded: Loaded) -> None:
        content = msgspec.json.encode(reads)
        name = hashlib.sha256(content).hexdigest()[:32]
        try:
            state = self._state_since(reads)
        except ChangedError:
            self.reason = "a file has changed while the model was loaded"
            return
        folder = f"{self._key}/{_digest(name, state)}"
        journal.note(reads, state)
        self._write(f"{folder}/load", msgspec.json.encode(replace(loaded, reads=None)))
        self._write(f"{self._key}/names/{name}", content)
        self._folder = folder

    def keep(self, job: KeptJob, answer: KeptAnswer, reads: Reads | None) -> None:
        """Keeps the answer of a job, unless it may depend on what is not known."""
        state = self._kept_state(job, answer, reads)
        if reads is None or state is None:
            journal.spoil()
            return
        journal.note(reads, state)
        if isinstance(job, RunJob) and isinstance(answer, RunAnswer):
            self._keep_index(job, answer.trace.outcome)

    def _kept_state(self, job: KeptJob, answer: KeptAnswer, reads: Reads | None) -> str | None:
        """Keeps the answer, and returns the state of what it has read; None: it is not kept."""
        if self._folder is None:
            return None
        if isinstance(answer, RunAnswer) and answer.trace.outcome not in _KEPT_OUTCOMES:
            return None
        if reads is None or reads.unkept is not None:
            cause = "" if reads is None else f": the step {reads.unkept}"
            self.reason = f"what the step reads is not known{cause}"
            return None
        try:
            head = _Head(kind=type(answer).__name__, reads=reads, state=self._state_since(reads))
            content = msgspec.json.encode(head) + b"\n" + msgspec.json.encode(answer)
        except ChangedError:
            self.reason = "a file has changed while the step ran"
            return None
        except (TypeError, ValueError, msgspec.MsgspecError):  # half a surrogate pair in a text
            return None
        if len(content) > _MOST_BYTES:
            return None
        self._write(f"{self._folder}/{_job_name(job)}", content)
        return head.state

    def _keep_index(self, job: RunJob, outcome: RunOutcome) -> None:
        """Keeps a recorded run without a limit where `recorded` finds it."""
        has_no_limit = f"capacity_bytes={UNLIMITED_BYTES}" in job.profile.splitlines()
        is_whole = has_no_limit and outcome is RunOutcome.COMPLETED
        if job.recording is Recording.NOTHING or job.values != ValuesRequest() or not is_whole:
            return
        name = _job_name(job)
        for axis in KeptAxis:
            group = _group(job, axis)
            self._write(f"{self._folder}/{group}/{name}", msgspec.json.encode(job))

    def recorded(self, profile: str, config: StepConfig, axis: KeptAxis) -> list[RunJob]:
        """Returns the recorded runs that are kept of a step on cards that run the same kernels.

        They differ from it in the card, in the value of `axis` and in the allocator's setting.
        """
        if self._folder is None:
            return []
        folder = f"{self._folder}/{_group(RunJob(profile=profile, config=config), axis)}"
        found = (self._record(f"{folder}/{name}", RunJob) for name in self._store.names(folder))
        return [job for job in found if job is not None]

    def keep_finished(self, found: FinishedSearch) -> None:
        """Keeps that all runs of a step on a card have been made."""
        if self._folder is not None:
            content = msgspec.json.encode(found)
            name = hashlib.sha256(content).hexdigest()[:32]
            self._write(f"{self._folder}/{_finished(found.job)}/{name}", content)

    def finished(self, job: RunJob) -> list[FinishedSearch]:
        """Returns the answered steps like that of a job, on cards that run the same kernels."""
        if self._folder is None:
            return []
        folder = f"{self._folder}/{_finished(job)}"
        found = (
            self._record(f"{folder}/{name}", FinishedSearch) for name in self._store.names(folder)
        )
        return [one for one in found if one is not None]

    def close(self) -> None:
        """Removes what was not used for longest, where more is kept than the user allows."""
        if self._has_written:
            self._store.prune(limit_bytes())

    def _state_since(self, reads: Reads) -> str:
        return Machine(environment=self._environment, since_ns=self._since_ns).state(reads)

    def _record(self, name: str, kind: type[Any]) -> Any:
        content = self._store.read(name)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        try:
            self._store.write(name, content)
            self._has_written = True
        except OSError as error:
            self.warning = f"answers cannot be kept: {self._store.folder}: {error.strerror}"


def _finished(job: RunJob) -> str:
    return _digest("finished", _group(job, KeptAxis.BATCH), str(job.config.batch_size))


def _group(job: RunJob, axis: KeptAxis) -> str:
    values: dict[str, Any] = {axis.value: None if axis is KeptAxis.SEQUENCE else 1}
    config = replace(job.config, alloc_conf=None, **values)
    kept = [line for line in job.profile.splitlines() if line.startswith(("major=", "minor="))]
    return _digest(axis.value, *kept, msgspec.json.encode(config).decode())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _job_name(job: KeptJob) -> str:
    return hashlib.sha256(encode(cast("Any", job))).hexdigest()[:32]
