"""`planner advise`: options to call, result to stdout, trials to stderr, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.cli.trial_table import trial_words
from planner.config.step import Precision, StepConfig
from planner.errors import UsageError
from planner.questions.advise import advise
from planner.results.advice import (
    Advice,
    CardChoice,
    Effect,
    Goal,
    Lever,
    Plan,
    Trial,
    TrialState,
)
from planner.results.estimate import Versions
from planner.units import GIB

pytestmark = pytest.mark.usefixtures("model_file")

VERSIONS = Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0")
AS_ASKED = Trial(
    levers=(), state=TrialState.TRIED, method="emulated run", batch_size=64,
    peak_reserved_bytes=19 * GIB, device_total_bytes=20 * GIB, saved_bytes=0, fits=False,
    step_s=0.5, time_factor=1.0, max_batch_size=40,
)  # fmt: skip
CHECKPOINTED = replace(
    AS_ASKED, levers=("checkpoint activations",), peak_reserved_bytes=11 * GIB,
    device_total_bytes=12 * GIB, saved_bytes=8 * GIB, fits=True, step_s=0.625, time_factor=1.25,
    max_batch_size=90,
)  # fmt: skip
MISSING = Trial(
    levers=("8-bit AdamW",), state=TrialState.CANNOT_APPLY, reason="pip install bitsandbytes"
)
USELESS = replace(
    CHECKPOINTED, levers=("channels_last",), fits=False, saved_bytes=0, device_total_bytes=20 * GIB,
    time_factor=1.0,
)  # fmt: skip
LATER = Trial(levers=("compile",), state=TrialState.NOT_TRIED, reason="it takes long")


def made_advice(*, fits: bool = True) -> Advice:
    plan = Plan(
        levers=("checkpoint activations",), flags=("--checkpoint-activations",),
        command="planner estimate model.py --gpu t4 --batch 64 --checkpoint-activations",
        code=("from torch.utils.checkpoint import checkpoint", "x = checkpoint(block, x)"),
        gpu="t4", batch_size=64, sequence_length=None, peak_reserved_bytes=11 * GIB,
        device_total_bytes=12 * GIB, usable_memory_bytes=15 * GIB, max_batch_size=90,
        max_batch_confirmed=True, step_s=0.625, time_factor=1.25,
    )  # fmt: skip
    return Advice(
        target="model.py", goal=Goal.FIT, gpu="t4", gpu_name="Tesla T4", gpu_id="t4",
        usable_memory_bytes=15 * GIB, reserve_bytes=0, baseline=AS_ASKED,
        plan=plan if fits else None, trials=(CHECKPOINTED, USELESS, MISSING, LATER),
        levers=(
            Lever(
                name="checkpoint activations", flags=("--checkpoint-activations",),
                code=plan.code, effect=Effect.NONE, note="blocks are computed again",
            ),
            Lever(
                name="8-bit AdamW", flags=("--optimizer", "adamw8bit"), code=("# 8 bits",),
                effect=Effect.SMALL, note="states in 8 bits",
            ),
            Lever(
                name="channels_last", flags=("--channels-last",), code=("# channels",),
                effect=Effect.NONE, note="for images",
            ),
            Lever(
                name="compile", flags=("--compile",), code=("torch.compile(model)",),
                effect=Effect.SMALL, note="fused kernels",
            ),
        ),
        other_cards=(
            CardChoice(
                id="l4", name="NVIDIA L4", usable_memory_bytes=22 * GIB,
                device_total_bytes=20 * GIB, price_per_hour=(0.5, 0.7), currency="USD", step_s=0.4,
            ),
        ),
        config=StepConfig(batch_size=64, precision=Precision.FP32), versions=VERSIONS,
    )  # fmt: skip


class Fake:
    """Stands for planner.advise: remembers the call, reports a trial, returns or raises."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.options: dict[str, Any] = {}

    def __call__(
        self,
        target: Any,
        *,
        on_progress: Callable[[str], None],
        on_trial: Callable[[Trial], None],
        **options: Any,
    ) -> object:
        self.options = options
        on_progress("t4: batch 64")
        on_trial(CHECKPOINTED)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    function = Fake(made_advice())
    monkeypatch.setattr(planner, "advise", function)
    return function


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["advise", *words])


def test_the_plan_comes_first_and_the_table_names_each_change(fake: Fake) -> None:
    result = run("model.py", "--gpu", "t4", "--batch", "64", "--goal", "fit", "--budget", "60s",
                 "--try", "compile", "--task", "lora")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert fake.options["goal"] == "fit"
    assert fake.options["budget"] == "60s"
    assert fake.options["tries"] == ("compile",)
    assert fake.options["batch_size"] == 64
    assert fake.options["task"] == "lora"
    asked, plan, command, *_ = result.stdout.splitlines()
    assert asked.split(":")[1].strip() == "does not fit, 20.0 GiB of 15.0 GiB"
    assert "checkpoint activations: 12.0 of 15.0 GiB; largest batch 90, confirmed by runs" in plan
    assert command.endswith(
        "planner estimate model.py --gpu t4 --batch 64 --checkpoint-activations"
    )
    rows = [line for line in result.stdout.splitlines() if line.startswith("checkpoint act")]
    assert rows[0].split()[2:] == [
        "yes", "12.0", "GiB", "8.00", "GiB", "90", "x", "1.25", "same", "--checkpoint-activations",
    ]  # fmt: skip
    assert "x = checkpoint(block, x)\n" in result.stdout  # lines of code stay lines
    assert "compile: it takes long" in result.stdout
    assert "--gpu l4: 20.0 of 22.0 GiB" in result.stdout
    whole = run("model.py", "--gpu", "t4", "-v").stdout
    for rare in ("8-bit AdamW: pip install bitsandbytes", "--channels-last"):
        assert rare not in result.stdout
        assert rare in whole
    assert "--verbose adds: levers that cannot apply, changes that save nothing" in result.stdout


def test_trials_are_reported_while_it_runs(fake: Fake) -> None:
    assert "checkpoint activations: fits, 12.0 GiB, time x 1.25" in run("model.py").stderr
    assert run("model.py", "-q").stderr == ""
    assert trial_words(MISSING) == "8-bit AdamW: cannot apply"


def test_a_fit_above_the_memory_of_the_card_is_explained(fake: Fake) -> None:
    explained = "gives cached memory back"
    assert explained not in run("model.py", "--gpu", "t4").stdout
    larger = replace(CHECKPOINTED, device_total_bytes=16 * GIB)
    fake.result = replace(made_advice(), trials=(larger,))
    assert explained in run("model.py", "--gpu", "t4").stdout


def test_nothing_that_fits_is_3(fake: Fake) -> None:
    fake.result = made_advice(fits=False)
    result = run("model.py", "--gpu", "t4")
    assert result.exit_code == 3
    assert "nothing that was tried fits" in result.stdout


def test_json_and_saved_file(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "kept.planner"
    result = run("model.py", "--gpu", "t4", "--json", "--save", str(file))
    document = json.loads(result.stdout)
    assert document == json.loads(json.dumps(made_advice().to_dict()))
    assert document["plan"]["flags"] == ["--checkpoint-activations"]
    assert planner.load(file) == made_advice()
    assert Advice.from_dict(document) == made_advice()
    shown = CliRunner().invoke(root, ["show", str(file)])
    assert shown.stdout == run("model.py", "--gpu", "t4").stdout


def test_shown_at_a_prompt_and_in_a_notebook() -> None:
    advice = made_advice()
    assert repr(advice) == (
        "<Advice 'model.py' on t4, goal fit: checkpoint activations, 2 changes tried>"
    )
    assert "<td" in advice._repr_html_()
    assert "--checkpoint-activations" in advice._repr_html_()
    assert "nothing that was tried fits" in repr(made_advice(fits=False))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpu": "t4", "goal": "smallest"}, "goal 'smallest' is not one of fit, largest-batch"),
        ({"gpu": "t4", "goal": "longest-sequence"}, "say --seq"),
        ({"gpu": "t4", "budget": "soon"}, "is not a duration"),
        ({"gpu": "t4", "budget": True}, "budget must be a duration"),
        ({"gpu": "t4,l4"}, "advice is for one card"),
        ({"gpu": "t4", "alloc_conf": ["a:1", "b:2"]}, "alloc_conf must be one text"),
    ],
)
def test_wrong_words_are_refused_before_a_child_is_started(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a child was about to be started")

    monkeypatch.setattr("planner.estimation.session.emulated_device", started)
    with pytest.raises(UsageError, match=said):
        advise("model.py", **options)


def test_an_error_is_a_message_and_a_code(fake: Fake) -> None:
    fake.result = UsageError("there is no lever 'x' to try")
    result = run("model.py", "--gpu", "t4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no lever 'x'" in result.stderr
