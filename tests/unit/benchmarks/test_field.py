"""The table of jobs: each file is there and in use, each figure can be read from an estimate."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.field.__main__ import JOBS, figure, is_right
from benchmarks.field.cases import CASES, Case, Figure
from planner.hardware.database import load_gpus
from planner.results.estimate import Estimate


def test_every_job_is_in_the_table_and_every_case_has_its_job() -> None:
    files = {path.name for path in JOBS.glob("*.py")} - {"__init__.py"}
    assert {case.file.partition(":")[0] for case in CASES} == files
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("path", sorted(JOBS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_job_is_a_model_file(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert names & {"build_model", "Classifier"}


def test_the_cards_are_known() -> None:
    known = load_gpus(None)
    for case in CASES:
        known.find(case.gpu)


def test_figures_of_an_estimate(estimate: Estimate) -> None:
    entry = estimate.gpus[0]
    assert figure(estimate, Figure.ALLOCATED) == entry.peak_allocated_bytes
    assert figure(estimate, Figure.LARGEST) == entry.max_batch_size
    assert figure(estimate, Figure.FITS) == float(entry.fits)
    assert figure(estimate, Figure.RUNS) == 1
    assert figure(estimate, Figure.READS) == 0


@pytest.mark.parametrize(
    ("predicted", "good"), [(103, True), (97, True), (104, False), (96, False)]
)
def test_the_tolerance_is_a_share_of_what_is_right(predicted: float, good: bool) -> None:
    case = Case(
        name="", file="", gpu="t4", batch_size=1, figure=Figure.ALLOCATED, right=100,
        tolerance=0.03, source="",
    )  # fmt: skip
    assert is_right(case, predicted) is good
