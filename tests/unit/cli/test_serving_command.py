"""`planner serving`: a report, JSON, exit codes, without torch or transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root

LLAMA = "hf:meta-llama/Llama-3.1-8B"


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["serving", *words])


def test_a_report_has_the_verdict_the_parts_and_the_command() -> None:
    done = run(LLAMA, "--gpu", "l40s", "--max-model-len", "32768")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("l40s:     starts; cache ")
    assert lines[1].startswith("requests: ")
    assert lines[3] == "start:    vllm serve meta-llama/Llama-3.1-8B --max-model-len 32768"
    for part in ("weights", "outside PyTorch", "activations", "CUDA graphs", "cache", "budget"):
        assert any(line.startswith(f"{part} ") for line in lines), part
    assert "what would make it start" not in done.stdout


def test_a_start_that_fails_is_exit_code_3() -> None:
    done = run(LLAMA, "--gpu", "t4")
    assert done.exit_code == 3
    assert "does not start" in done.stdout
    assert "too little before any cache" in done.stdout
    assert "--tensor-parallel 4: 4 cards" in done.stdout


def test_only_vllm_starts_itself() -> None:
    done = run(LLAMA, "--gpu", "l40s", "--engine", "sglang", "--own-start")
    assert done.exit_code == 2
    assert "take --engine vllm" in done.stderr


def test_a_load_has_its_speed_and_limits_decide_on_the_exit_code() -> None:
    load = ("--users", "20", "--prompt", "1000", "--output", "200")
    done = run(LLAMA, "--gpu", "h100", *load, "--ttft", "5s", "--price", "2 USD/h")
    assert done.exit_code == 0, done.stderr
    labels = [line.partition(":")[0] for line in done.stdout.splitlines()]
    for label in ("speed", "first", "token", "money", "limit", "users"):
        assert label in labels, label
    slow = run(LLAMA, "--gpu", "h100", *load, "--tpot", "1ms")
    assert slow.exit_code == 3
    assert "time per output token 1.00 ms: too slow" in slow.stdout
    document = json.loads(run(LLAMA, "--gpu", "h100", *load, "--json").stdout)
    speed = document["speed"]
    low, high = speed["output_tokens_per_s_interval"]
    assert low < speed["output_tokens_per_s"] < high
    assert speed["limits"] == []


def test_a_saved_answer_is_shown_again(tmp_path: Path) -> None:
    file = tmp_path / "plan.planner"
    load = ("--users", "20", "--prompt", "1000", "--output", "200", "--tpot", "20ms")
    done = run(LLAMA, "--gpu", "h100", *load, "--find", "--save", str(file))
    assert done.exit_code == 0, done.stderr
    again = CliRunner().invoke(root, ["show", str(file)])
    assert again.exit_code == 0, again.stderr
    assert again.stdout == done.stdout
    found = planner.load(file)
    assert isinstance(found, planner.ServingPlan)
    assert found == planner.ServingPlan.from_dict(found.to_complete_dict())
    assert "by vllm on 1 card h100-sxm5-80gb: starts" in repr(found)
    assert "<table" in found._repr_html_()


def test_json() -> None:
    done = run(LLAMA, "--gpu", "l40s", "--json", "--find")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "starts"
    assert document["choices"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--quant", "exl3"), "vllm does not know quant 'exl3' (--quant): it knows fp8"),
        (("--max-model-len", "999999"), "end at 131072; write at most that"),
        (("--utilization", "1.5"), "above 0 and at most 1"),
        (("--tensor-parallel", "3"), "possible are 1, 2, 4, 8"),
        (("--engine", "ollama"), "ollama"),
        (("--users", "3"), "--prompt"),
    ],
)
def test_a_wrong_word_is_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = run(LLAMA, "--gpu", "l40s", *words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_unknown_model_says_how_to_name_one() -> None:
    done = CliRunner(env={"HF_HUB_OFFLINE": "1"}).invoke(
        root, ["serving", "hf:nobody/nothing", "--gpu", "l40s"]
    )
    assert done.exit_code == 2
    assert "path/to/config.json" in done.stderr


def test_no_process_and_no_torch_for_a_model_of_the_catalog() -> None:
    program = (
        "import sys, planner; planner.serving('hf:meta-llama/Llama-3.1-8B', gpu='l40s'); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
