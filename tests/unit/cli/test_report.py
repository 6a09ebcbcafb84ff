"""`planner report`: which targets are run, which are read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.results.curve import Curve
from planner.results.estimate import Estimate


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(root, ["report", *words])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def kept(estimate: Estimate, tmp_path: Path) -> Path:
    estimate.save(tmp_path / "kept.planner")
    return tmp_path / "kept.planner"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.html"


def test_a_saved_result_is_not_run_again(
    kept: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "estimate", lambda *_, **__: pytest.fail("it was run"))
    code, out, err = run(str(kept), "-o", str(page))
    assert (code, out) == (0, "")
    assert err == f"{page}: {len(page.read_bytes()) / 1e6:.1f} MB\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_model_is_run_with_batches_for_the_slider(
    estimate: Estimate, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def stand_in(target: str, **options: Any) -> Estimate:
        given.update(options, target=target)
        return estimate

    monkeypatch.setattr(planner, "estimate", stand_in)
    code, _, _ = run("net.py", "--gpu", "t4", "--batch", "4", "-q", "-o", str(page))
    assert code == 0
    assert (given["target"], given["batch_size"]) == ("net.py", 4)
    assert given["keep_batches"] > 0


def test_a_batch_that_is_not_known_is_left_out_of_the_page_of_a_model(
    estimate: Estimate, kept: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = estimate.config.batch_size + 1
    monkeypatch.setattr(planner, "estimate", lambda *_, **__: estimate)
    words = (f"--batches={other},{estimate.config.batch_size}", "-o", str(page))
    code, _, err = run("net.py", "-q", *words)
    assert code == 0
    assert page.exists()
    assert f"batch {other} is not on the page: there are no recorded allocations" in err
    assert f"batch {estimate.config.batch_size} is not" not in err
    page.unlink()
    code, _, err = run(str(kept), *words)  # a result is not run: here it is an error
    assert code == 2
    assert "--batches needs recorded allocations" in err
    assert not page.exists()


def test_two_results_stand_side_by_side(kept: Path, page: Path, curve: Curve) -> None:
    assert run(str(kept), "--against", str(kept), "-o", str(page))[0] == 0
    text = page.read_text(encoding="utf-8")
    assert all(f'data-result="{at}"' in text for at in (0, 1))


def test_options_of_a_run_are_refused_for_a_result(kept: Path, page: Path) -> None:
    code, _, err = run(str(kept), "--batch", "4", "-o", str(page))
    assert code == 2
    assert "--batch is for a model, and this is a saved result" in err
    assert not page.exists()


def test_a_result_that_is_not_there_is_named_as_a_file(page: Path, tmp_path: Path) -> None:
    code, _, err = run(str(tmp_path / "gone.planner"), "-o", str(page))
    assert code == 1
    assert "gone.planner cannot be read: there is no such file" in err


def test_a_page_without_a_folder_is_refused_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "estimate", lambda *_, **__: pytest.fail("it was run"))
    code, _, err = run("net.py", "-o", str(tmp_path / "none" / "page.html"))
    assert code == 2
    assert f"there is no folder {tmp_path / 'none'}" in err


@pytest.mark.parametrize("given", ["0", "4,x", "-1"])
def test_batches_are_a_list_of_numbers(given: str, kept: Path) -> None:
    code, _, err = run(str(kept), f"--batches={given}")
    assert code == 2
    assert "is no list of batches; write it like 16,32" in err


def test_results_without_a_page_say_which_command_shows_them(
    inspection: Any, tmp_path: Path, page: Path
) -> None:
    inspection.save(tmp_path / "inspected.planner")
    code, _, err = run(str(tmp_path / "inspected.planner"), "-o", str(page))
    assert code == 2
    assert "planner show prints it" in err
