"""`planner estimate`: options to call, result to stdout, error to message and exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.estimate import estimate as command
from planner.cli.root import root
from planner.config.parse import step_config
from planner.config.step import BuildOn, CompileMode, OptimizerName, Precision, StepConfig
from planner.errors import (
    BuildError,
    ChildTimeoutError,
    ModelError,
    PlannerError,
    TargetError,
    UnknownGpuError,
)
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate

pytestmark = pytest.mark.usefixtures("model_file")


class Fake:
    """Stands for planner.estimate: remembers the call, shows progress, returns or raises."""

    def __init__(self, result: Estimate | BaseException) -> None:
        self.result = result
        self.target: Any = None
        self.options: dict[str, Any] = {}

    def __call__(
        self, target: Any, *, on_progress: Callable[[str], None], **options: Any
    ) -> Estimate:
        self.target, self.options = target, options
        on_progress("importing torch and the model")
        for batch_size in (8, 64, 70):
            on_progress(f"t4: searching the largest batch: trying {batch_size}")
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, estimate: Estimate) -> Fake:
    """planner.estimate replaced by a function that answers at once."""
    function = Fake(estimate)
    monkeypatch.setattr(planner, "estimate", function)
    return function


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["estimate", *words])


def step(fake: Fake) -> StepConfig:
    """The step that the options of the last call stand for."""
    names = {field.name for field in fields(StepConfig)}
    given = {key: value for key, value in fake.options.items() if key in names}
    return step_config({**given, "alloc_conf": next(iter(given["alloc_conf"]), None)})


def test_defaults_are_those_of_the_library(fake: Fake) -> None:
    run("model.py", "--gpu", "t4")
    assert fake.target == "model.py"
    assert step(fake) == StepConfig()
    others = {key: value for key, value in fake.options.items() if not hasattr(StepConfig, key)}
    assert others == {
        "gpu": ("t4",), "model_arguments": {}, "gpu_memory": None, "reserve": "0",
        "max_batch": True, "calibration": True, "timeout_s": 600.0, "hardware_db": None,
        "device": None, "memory": None, "keep_allocations": False, "cache": True,
        "largest": (),
    }  # fmt: skip


def test_every_option_reaches_the_library(fake: Fake) -> None:
    result = run(
        "pkg.models:net", "--gpu", "a100", "--gpu", "t4", "--batch", "32", "--mode", "infer",
        "--precision", "amp-bf16", "--optimizer", "sgd", "--optimizer-arg", "lr=0.1",
        "--optimizer-arg", "nesterov=true", "--model-arg", "depth=12", "--model-arg", "name=big",
        "--input", "3x224x224", "--input", "ids=1024:int64", "--channels-last",
        "--checkpoint-activations", "--accumulate", "4", "--no-set-to-none", "--steps", "2",
        "--build-on", "device", "--gpu-memory", "24GiB", "--reserve", "5%",
        "--alloc-conf", "expandable_segments:True", "--alloc-conf", "max_split_size_mb:64",
        "--no-max-batch", "--largest", "image", "--largest", "frames",
        "--no-calibration", "--timeout", "10m",
        "--hardware-db", "cards", "--json", "-q",
    )  # fmt: skip
    assert result.exit_code in (0, 3), result.output
    config = step(fake)
    assert (config.batch_size, config.mode.value, config.steps) == (32, "infer", 2)
    assert config.precision is Precision.AMP_BF16
    assert config.optimizer is OptimizerName.SGD
    assert config.optimizer_arguments == (("lr", 0.1), ("nesterov", True))
    assert [(spec.name, spec.shape, spec.dtype) for spec in config.inputs] == [
        (None, (3, 224, 224), "float32"),
        ("ids", (1024,), "int64"),
    ]
    assert config.channels_last
    assert config.checkpoint_activations
    assert not config.set_to_none
    assert (config.accumulate, config.build_on) == (4, BuildOn.DEVICE)
    assert config.alloc_conf == "expandable_segments:True"
    assert fake.options["alloc_conf"] == ("expandable_segments:True", "max_split_size_mb:64")
    assert fake.options["gpu"] == ("a100", "t4")
    assert fake.options["model_arguments"] == {"depth": 12, "name": "big"}
    assert (fake.options["gpu_memory"], fake.options["reserve"]) == ("24GiB", "5%")
    assert fake.options["max_batch"] is False
    assert fake.options["largest"] == ("image", "frames")
    assert fake.options["calibration"] is False
    assert fake.options["timeout_s"] == 600.0
    assert str(fake.options["hardware_db"]) == "cards"


@pytest.mark.parametrize(
    ("words", "decay"),
    [(["--ema", "0.9"], 0.9), (["--ema=0.9"], 0.9), (["--ema", "-q"], 0.999), (["--ema"], 0.999)],
    ids=str,
)
def test_an_average_has_a_decay_or_the_usual_one(
    fake: Fake, words: list[str], decay: float
) -> None:
    result = run("model.py", "--gpu", "t4", "--clip-grad-norm", "0.5", *words)
    assert result.exit_code in (0, 3), result.output
    assert step(fake) == StepConfig(clip_grad_norm=0.5, ema=decay)


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (["--compile"], CompileMode.DEFAULT),
        (["--compile", "-q"], CompileMode.DEFAULT),
        (["--compile", "reduce-overhead"], CompileMode.REDUCE_OVERHEAD),
        (["--compile=off"], CompileMode.OFF),
    ],
    ids=str,
)
def test_a_model_is_compiled_as_said(fake: Fake, words: list[str], mode: CompileMode) -> None:
    result = run("model.py", "--gpu", "t4", *words)
    assert result.exit_code in (0, 3), result.output
    assert step(fake) == StepConfig(compile=mode)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compile", "model.py", "--gpu", "t4"], "write --compile=default, or --compile at the"),
        (["model.py", "--gpu", "t4", "--compile=defalt"], "did you mean default"),
        (["--ema", "model.py", "--gpu", "t4"], "write --ema=0.999, or --ema at the end"),
        (["model.py", "--gpu", "t4", "--ema", "1"], "ema must be a decay between 0 and 1"),
        (["model.py", "--gpu", "t4", "--ema=0"], "ema must be a decay between 0 and 1"),
        (["model.py", "--gpu", "t4", "--ema", "--mode", "infer"], "mode is infer"),
        (["model.py", "--gpu", "t4", "--clip-grad-norm", "0"], "above 0"),
        (["model.py", "--gpu", "t4", "--clip-grad-norm", "-1"], "above 0"),
        (["model.py", "--gpu", "t4", "--clip-grad-norm", "much"], "--clip-grad-norm"),
        (["model.py", "--gpu", "t4", "--clip-grad-norm", "inf"], "above 0"),
        (["model.py", "--gpu", "t4", "--clip-grad-norm=1", "--mode=infer"], "mode is infer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_clipping_and_averaging_that_cannot_be_meant(words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_the_sequence_length_reaches_the_library(fake: Fake) -> None:
    run("model.py", "--gpu", "t4", "--seq", "2048")
    assert step(fake) == StepConfig(sequence_length=2048)


@pytest.mark.parametrize("length", ["0", "-1", "2k", "1.5", ""])
def test_a_sequence_length_is_a_whole_number_from_1(fake: Fake, length: str) -> None:
    result = run("model.py", "--gpu", "t4", "--seq", length)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--seq" in result.stderr
    assert fake.target is None


def test_a_sequence_length_beside_inputs_is_wrong_usage() -> None:
    result = run("model.py", "--gpu", "t4", "--seq", "64", "--input", "ids=32:int64")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--input ids=64:int64" in result.stderr


def test_every_field_of_the_step_has_an_option() -> None:
    parameters = {parameter.name for parameter in command.params}
    made = {"window", "size"}  # where a generation is run in parts, or at other sizes
    assert {field.name for field in fields(StepConfig)} - made <= parameters


def test_table_goes_to_stdout_and_progress_to_stderr(fake: Fake) -> None:
    result = run("model.py", "--gpu", "t4")
    assert result.stdout.startswith("a100:     fits, 22.5 of 79.1 GiB; largest batch 57; ")
    assert "\n\nmodels/gpt2.py\n124.4 M parameters" in result.stdout
    assert "peak reserved" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr.splitlines() == [
        "importing torch and the model",
        "t4: searching the largest batch",
    ]


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_verbose_adds_rows_to_the_table_and_nothing_to_the_json(fake: Fake, flag: str) -> None:
    short, whole = run("model.py", "--gpu", "t4"), run("model.py", "--gpu", "t4", flag)
    assert "peak allocated" not in short.stdout
    assert "peak allocated" in whole.stdout
    document = run("model.py", "--gpu", "t4", "--json").stdout
    assert run("model.py", "--gpu", "t4", "--json", flag).stdout == document


def test_json_is_the_document_of_the_library(fake: Fake, estimate: Estimate) -> None:
    result = run("model.py", "--gpu", "t4", "--json")
    assert result.stdout == json.dumps(estimate.to_dict(), indent=2) + "\n"
    assert result.exit_code == 3


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_says_nothing_on_stderr(fake: Fake, flag: str) -> None:
    result = run("model.py", "--gpu", "t4", flag)
    assert result.stderr == ""
    assert result.stdout


@pytest.mark.parametrize(
    ("fitting", "code"), [((True, True), 0), ((True, False), 3), ((False, False), 3)], ids=str
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_exit_code_is_0_only_when_it_fits_on_every_card(
    fake: Fake,
    estimate: Estimate,
    a100: DeviceEstimate,
    fitting: tuple[bool, bool],
    code: int,
    form: list[str],
) -> None:
    cards = tuple(replace(a100, requested=f"card{n}", fits=fits) for n, fits in enumerate(fitting))
    fake.result = replace(estimate, gpus=cards)
    result = run("model.py", "--gpu", "card0", "--gpu", "card1", *form)
    assert result.exit_code == code
    assert result.stdout


@pytest.mark.parametrize(
    ("fitting", "code"), [((True, True), 0), ((True, False), 0), ((False, False), 3)], ids=str
)
@pytest.mark.parametrize("kind", ["is_survey", "has_stand_ins"])
def test_who_asks_for_no_card_looks_for_one_that_it_fits_on(
    fake: Fake,
    estimate: Estimate,
    a100: DeviceEstimate,
    fitting: tuple[bool, bool],
    code: int,
    kind: str,
) -> None:
    cards = tuple(replace(a100, requested=f"card{n}", fits=fits) for n, fits in enumerate(fitting))
    fake.result = replace(estimate, gpus=cards, **{kind: True})
    assert run("model.py", "--json").exit_code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TargetError("no model in model.py"), 1),
        (BuildError("the disk is full"), 1),
        (ChildTimeoutError("did not end within 5 s"), 1),
        (UnknownGpuError("no card named 'a1000'; near names: a100"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_an_error_is_one_message_on_stderr(
    fake: Fake, error: Exception, code: int, form: list[str]
) -> None:
    fake.result = error
    result = run("model.py", "--gpu", "t4", "-q", *form)
    assert result.exit_code == code
    assert result.stderr == f"error: {error}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "/x/file"), "/x/file: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("something"), "something"),
    ],
)
def test_an_error_of_the_system_names_the_file(fake: Fake, error: OSError, says: str) -> None:
    fake.result = error
    result = run("model.py", "--gpu", "t4", "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {says}\n"


def test_an_error_of_the_model_shows_the_users_frames(fake: Fake) -> None:
    frames = '  File "model.py", line 3, in forward\n    raise ValueError("bad")'
    fake.result = ModelError("the model's code failed (step 1): ValueError: bad", frames)
    result = run("model.py", "--gpu", "t4", "-q")
    assert result.exit_code == 1
    assert result.stderr == f"error: {fake.result}\n{frames}\n"


def test_a_mistake_of_ours_is_not_hidden(fake: Fake) -> None:
    fake.result = RuntimeError("a bug")
    result = run("model.py", "--gpu", "t4")
    assert result.exception is fake.result


def test_interrupted(fake: Fake) -> None:
    fake.result = KeyboardInterrupt()
    result = run("model.py", "--gpu", "t4", "-q")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'TARGET'"),
        (["model.py", "--batch", "0"], "'--batch'"),
        (["model.py", "--batch", "many"], "'--batch'"),
        (["model.py", "--precision", "fp8"], "'amp-bf16'"),
        (["model.py", "--precision", "float16"], "did you mean fp16 (weights cast) or amp-fp16"),
        (["model.py", "--precision", "torch.bfloat16"], "did you mean bf16 (weights cast) or amp"),
        (["model.py", "--precision", "half"], "did you mean fp16"),
        (["model.py", "--precision", "float32"], "did you mean fp32?"),
        (["model.py", "--precision", "mixed"], "did you mean amp-bf16 or amp-fp16 (autocast)?"),
        (["model.py", "--mode", "eval"], "did you mean infer?"),
        (["model.py", "--optimizer", "adam-w"], "did you mean adamw or adam?"),
        (
            ["model.py", "--gpu", "t4,l4", "--batch", "8,16,32"],
            "planner curve model.py --gpu t4 --batches 8,16,32",
        ),
        (["--batch", "8 16"], "planner curve TARGET --gpu NAME --batches 8,16"),
        (["model.py", "--batch", "max"], "Leave --batch out"),
        (["model.py", "--gpus", "t4"], "--gpu"),
        (["model.py", "--timeout", "soon"], "is not a duration"),
        (["model.py", "--model-arg", "depth"], "KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_exit_code_2_and_starts_nothing(
    fake: Fake, words: list[str], said: str
) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stdout == ""
    assert fake.target is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "t4,"], "has an empty name in it"),
        (["--gpu", "all,t4"], "leave the others out"),
        (["--gpu", "a1000"], "a100"),
        (["--gpu", "t4", "--optimizer-arg", "lr"], "KEY=VALUE"),
        (["--gpu", "t4", "--input", "3,224,224"], "3x224x224"),
        (["--gpu", "t4", "--gpu-memory", "big"], "24GiB"),
        (["--gpu", "t4", "--reserve", "100%"], "leaves nothing"),
        (["--gpu", "t4", "--hardware-db", "/nowhere"], "no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_library_checks_the_rest_before_it_starts_anything(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("started")

    monkeypatch.setattr("planner.estimation.session.emulated_device", never)
    monkeypatch.setattr("planner.estimation.session.find_torch", never)
    result = run("model.py", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr


def test_help_names_exit_codes_and_every_option() -> None:
    text = run("--help").stdout
    for option in command.params:
        if isinstance(option, click.Option):
            assert all(name in text for name in option.opts)
    for code in (PlannerError.exit_code, UnknownGpuError.exit_code, 0, 3):
        assert f"\n    {code}  " in text


def test_cards_with_blanks_between_them_are_put_into_one_word() -> None:
    result = run("model.py", "--gpu", "a100", "t4", "l4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--gpu a100,t4,l4" in result.stderr


def test_format_json_is_json(fake: Fake) -> None:
    texts = [
        CliRunner().invoke(root, ["estimate", "model.py", *words]).stdout
        for words in (["--json"], ["--format", "json"], ["--json", "--format", "JSON"])
    ]
    assert len(set(texts)) == 1
    assert json.loads(texts[0])["gpus"]


def test_format_of_a_scheduler_prints_the_request_alone(fake: Fake) -> None:
    done = CliRunner().invoke(root, ["estimate", "model.py", "--format", "slurm"])
    assert done.exit_code == 3  # the T4 is too small
    assert "\n#SBATCH --gres=gpu:a100:1\n" in done.stdout
    assert all(line.startswith("#") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--json", "--format", "sky"], "--json and --format sky: say one of them"),
        (["--device", "cpu", "--format", "sky"], "leave --device cpu out"),
        (["--format", "kubernetes"], "'kubernetes' is not one of"),
    ],
)
def test_formats_that_cannot_be_are_refused(fake: Fake, words: list[str], says: str) -> None:
    done = CliRunner().invoke(root, ["estimate", "model.py", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert fake.target is None
