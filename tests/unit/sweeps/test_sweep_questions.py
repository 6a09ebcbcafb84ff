"""sweep() around its processes: what is run, what is kept, what ends it. No process is started."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.errors import ChildError, OutputError, UnknownGpuError, UsageError
from planner.questions import sweep as sweeping
from planner.sweeps.case import SweepOutcome
from planner.sweeps.jobs import SweepJob, answer_of
from planner.sweeps.store import SweepStore
from tests.unit.sweep_rows import made_row

Answer = Callable[[SweepJob], str]


def answered(job: SweepJob) -> str:
    """Rows as the process of a job gives them: b.py failed, l4 does not fit."""
    gib = {"l4": 20.0}
    return answer_of(
        [
            made_row(
                None if one.target == "b.py" else gib.get(one.gpu, 1.0),
                target=one.target,
                gpu=one.gpu,
                **json.loads(one.options),
            )
            for one in job.cases
        ]
    )


class _AsOfDask(ThreadPoolExecutor):
    """Its shutdown takes one word, like that of dask's executor."""

    def shutdown(self, wait: bool = True) -> None:  # type: ignore[override] # that is tested
        super().shutdown(wait)


class Stage:
    """Stands in for the processes; `asked` has the jobs that were run."""

    def __init__(self) -> None:
        self.asked: list[SweepJob] = []
        self.answer: Answer = answered

    def run_job(self, text: str) -> str:
        job = SweepJob.from_json(text)
        self.asked.append(job)
        return self.answer(job)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()

    @contextmanager
    def executor(*_: Any, **__: Any) -> Iterator[Executor]:
        with _AsOfDask(1) as pool:
            yield pool

    monkeypatch.setattr(sweeping, "run_job", made.run_job)
    monkeypatch.setattr(sweeping, "executor_of", executor)
    return made


def test_a_row_for_each_case_and_a_job_for_the_cards_of_a_step(stage: Stage) -> None:
    found = planner.sweep(["a.py", "b.py"], gpu="t4,l4", batch_size=[8, 32])
    assert [(row.target, row.batch_size, row.gpu) for row in found.rows] == [
        (target, batch, gpu)
        for target in ("a.py", "b.py")
        for gpu in ("t4", "l4")
        for batch in (8, 32)
    ]
    assert [[one.gpu for one in job.cases] for job in stage.asked] == [["t4", "l4"]] * 4
    assert [found.count(one) for one in SweepOutcome] == [2, 2, 4]
    assert {row.run_cases for row in found.rows} == {2}
    assert found.folder is None
    assert len(found.to_dict()["rows"]) == 8


def test_only_what_is_missing_is_run(stage: Stage, tmp_path: Path) -> None:
    first = planner.sweep("a.py", gpu="t4", batch_size=[8, 16], out=tmp_path)
    again = planner.sweep("a.py", gpu=["t4", "l4"], batch_size=[8, 16], out=tmp_path)
    assert [[one.gpu for one in job.cases] for job in stage.asked] == [["t4"]] * 2 + [["l4"]] * 2
    assert again.rows[:2] == first.rows
    whole = planner.sweep("a.py", gpu=["T4", "l4"], batch_size=[8, 16], out=tmp_path)
    assert len(stage.asked) == 4
    assert whole.rows == again.rows
    assert (tmp_path / "results.csv").is_file() or (tmp_path / "results.parquet").is_file()


def test_failed_cases_are_run_again_where_that_is_asked(stage: Stage, tmp_path: Path) -> None:
    words: dict[str, Any] = {"gpu": "t4", "out": tmp_path}
    planner.sweep(["a.py", "b.py"], **words)
    planner.sweep(["a.py", "b.py"], **words)
    assert len(stage.asked) == 2
    stage.answer = lambda job: answer_of([made_row(target="b.py")])
    found = planner.sweep(["a.py", "b.py"], retry_failed=True, **words)
    assert [job.target for job in stage.asked[2:]] == ["b.py"]
    assert found.count(SweepOutcome.OK) == 2


def test_a_file_that_has_changed_is_run_again(stage: Stage, tmp_path: Path) -> None:
    from dataclasses import replace

    from planner.sweeps.case import SweepRow
    from planner.sweeps.jobs import source_hash

    net = tmp_path / "net.py"
    net.write_text("one")

    def hashed(job: SweepJob) -> str:
        rows = [SweepRow.from_record(one) for one in json.loads(answered(job))]
        return answer_of([replace(row, source_sha256=source_hash(job.target)) for row in rows])

    stage.answer = hashed
    lines: list[str] = []
    for text, runs in (("one", 1), ("one", 1), ("two", 2)):
        net.write_text(text)
        planner.sweep(f"{net}:Net", gpu="t4", out=tmp_path / "out", on_progress=lines.append)
        assert len(stage.asked) == runs
    assert "1 case run again, because the target's file has changed" in lines


def test_progress_has_counts_rate_and_remaining_time(stage: Stage, tmp_path: Path) -> None:
    lines: list[str] = []
    planner.sweep(["a.py", "b.py"], gpu="t4,l4", on_progress=lines.append)
    assert lines[0] == "0 of 4 cases; 0 fit, 0 do not, 0 failed"
    assert lines[1].startswith("2 of 4 cases; 1 fit, 1 do not, 0 failed; ")
    assert " cases a minute, about " in lines[1]
    assert lines[2].startswith("4 of 4 cases; 1 fit, 1 do not, 2 failed; took ")


def test_a_matrix_and_words_that_replace_its_axes(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("target: a.py\ngpu: [t4, l4]\nbatch: 4\nexclude: [{gpu: l4}]\n")
    assert [row.batch_size for row in planner.sweep(matrix=file).rows] == [4]
    assert [row.batch_size for row in planner.sweep(matrix=file, batch=[1, 2]).rows] == [1, 2]
    assert len(planner.sweep(matrix={"targets": "a.py"}, gpu="t4").rows) == 1


def test_all_is_every_card(stage: Stage) -> None:
    found = planner.sweep("a.py", gpu="all")
    assert len(found.rows) > 20
    assert len(stage.asked) == 1


def test_a_card_that_is_not_known_ends_it_before_it_begins(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(UnknownGpuError):
        planner.sweep("a.py", gpu="t4,t44", out=tmp_path / "out")
    with pytest.raises(UsageError, match="jobs must be at least 1"):
        planner.sweep("a.py", gpu="t4", jobs=0)
    assert not stage.asked
    assert not (tmp_path / "out").exists()


def test_what_a_cluster_raises_for_one_job_is_a_row(stage: Stage) -> None:
    def killed(job: SweepJob) -> str:
        if job.target == "a.py":
            raise RuntimeError("KilledWorker: 3 times\nmore")
        return answered(job)

    stage.answer = killed
    found = planner.sweep(["a.py", "c.py"], gpu="t4")
    assert found.rows[0].reason == "local: RuntimeError: KilledWorker: 3 times"
    assert found.rows[1].outcome is SweepOutcome.OK


@pytest.mark.parametrize("error", [CancelledError(), ConnectionResetError("gone")], ids=repr)
def test_an_executor_that_is_gone_ends_it_and_is_no_row(
    stage: Stage, tmp_path: Path, error: BaseException
) -> None:
    def gone(job: SweepJob) -> str:
        if len(stage.asked) > 1:
            raise error
        return answered(job)

    stage.answer = gone
    with pytest.raises(ChildError, match="rows so far are kept: start the same sweep again"):
        planner.sweep(["a.py", "c.py", "d.py"], gpu="t4", out=tmp_path)
    stage.answer = answered
    found = planner.sweep(["a.py", "c.py", "d.py"], gpu="t4", out=tmp_path)
    assert found.count(SweepOutcome.OK) == 3
    assert [job.target for job in stage.asked[-2:]] == ["c.py", "d.py"]


def test_a_full_disk_in_the_middle(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, kept = SweepStore.keep, [0]

    def full(self: SweepStore, rows: Any) -> None:
        if kept[0] == 2:
            (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
            self.connection.execute(f"PRAGMA max_page_count = {pages}")
            rows = [made_row(target="a.py", batch_size=2, warnings=("long" * 99_999,))]
        keep(self, rows)
        kept[0] += 1

    with monkeypatch.context() as patch:
        patch.setattr(SweepStore, "keep", full)
        with pytest.raises(OutputError, match="full; the rows that were kept before are still"):
            planner.sweep("a.py", gpu="t4", batch_size=[1, 2, 3, 4], out=tmp_path)
    before = len(stage.asked)
    found = planner.sweep("a.py", gpu="t4", batch_size=[1, 2, 3, 4], out=tmp_path)
    assert [row.batch_size for row in found.rows] == [1, 2, 3, 4]
    assert len(stage.asked) - before == 2


def test_an_answer_without_a_card_is_a_failed_row(stage: Stage) -> None:
    stage.answer = lambda job: answer_of([made_row(target="a.py")])
    found = planner.sweep("a.py", gpu="t4,l4")
    assert [row.outcome for row in found.rows] == [SweepOutcome.OK, SweepOutcome.FAILED]
