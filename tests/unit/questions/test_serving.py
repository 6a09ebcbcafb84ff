"""serving(): verdicts, remedies, choices, the command, and errors that say what to write."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

import planner
from planner.errors import UsageError, WrongTargetError
from planner.questions.serving import serving
from planner.results.serving import BootVerdict, ServingPlan
from planner.units import GIB

LLAMA = "hf:meta-llama/Llama-3.1-8B"


def test_a_published_start() -> None:
    """A log of vLLM 0.33's time: H100 80GB, 131072 tokens, 56.21 GiB, 460,496 tokens, 3.51 x."""
    found = serving(LLAMA, gpu="h100", utilization=0.92, gpu_memory="79.25GiB")
    assert found.verdict is BootVerdict.STARTS
    assert found.cache.middle / GIB == pytest.approx(56.21, rel=0.03)
    assert found.cache.low / GIB < 56.21
    assert found.middle.tokens == pytest.approx(460_496, rel=0.03)
    assert found.middle.requests == pytest.approx(3.51, rel=0.03)
    assert found.max_sequences == 1024
    assert found.engine_version == "0.33.0"
    assert found.has_interval


def test_a_start_that_fails_says_what_would_make_it_start() -> None:
    found = serving(LLAMA, gpu="rtx4090")
    assert found.verdict is BootVerdict.FAILS
    assert not found.fits
    assert found.remedies
    for remedy in found.remedies:
        words = dict(zip(remedy.flags[::2], remedy.flags[1::2], strict=True))
        options = {
            name.removeprefix("--").replace("-", "_"): int(value) if value.isdigit() else value
            for name, value in words.items()
        }
        again = serving(LLAMA, gpu="rtx4090", **options)  # type: ignore[arg-type]
        assert again.verdict is BootVerdict.STARTS, remedy.flags
        assert again.low.requests == pytest.approx(remedy.requests)


def test_between_the_ends_of_the_interval_it_is_likely_or_not() -> None:
    least = serving(LLAMA, gpu="l4", max_model_len=1024)
    lengths = {
        least.low.longest: BootVerdict.STARTS,
        least.middle.longest: BootVerdict.LIKELY,
        least.high.longest: BootVerdict.UNLIKELY,
        least.high.longest + 16: BootVerdict.FAILS,
    }
    for length, verdict in lengths.items():
        assert serving(LLAMA, gpu="l4", max_model_len=length).verdict is verdict, length


def test_a_load_needs_a_cache_for_all_of_its_users() -> None:
    found = serving(LLAMA, gpu="l40s", users=10, prompt=2000, output=48)
    assert found.max_model_len == 2048
    assert found.needed_bytes == 10 * 2048 * 128 * 1024
    assert found.verdict is BootVerdict.STARTS
    many = serving(LLAMA, gpu="l40s", users=1000, prompt=2000, output=48)
    assert many.verdict is BootVerdict.FAILS
    assert all("--max-model-len" not in one.flags for one in many.remedies)


def test_more_users_than_a_step_holds_are_warned_about() -> None:
    found = serving("Qwen/Qwen3-0.6B", gpu="l40s", users=300, prompt=100, output=28)
    assert found.fits
    assert found.warnings == (
        "a step has at most 256 requests, so some of 300 wait: --max-num-seqs",
    )


def test_a_share_that_is_not_free_is_refused_by_the_engine() -> None:
    found = serving(LLAMA, gpu="l40s", utilization=1.0)
    assert found.verdict is BootVerdict.FAILS
    (warning,) = found.warnings
    assert "more than the" in warning
    share = warning.partition("--utilization ")[2].split()[0]
    assert serving(LLAMA, gpu="l40s", utilization=float(share)).verdict is BootVerdict.STARTS


def test_a_model_that_reads_images_has_a_warning() -> None:
    found = serving("google/gemma-4-26B-A4B", gpu="a100")
    assert any("reads images" in one for one in found.warnings)
    known = serving("Qwen/Qwen3-VL-8B-Instruct", gpu="a100")
    assert not known.warnings
    assert any("--language-model-only" in one for one in known.notes)
    assert not serving(LLAMA, gpu="a100").warnings


def test_graphs_on_top_of_the_budget_are_warned_about() -> None:
    old = {"engine_version": "0.16", "tensor_parallel": 2, "max_model_len": 8192}
    found = serving("meta-llama/Meta-Llama-3-70B", gpu="l40s", quant="awq", utilization=0.98, **old)  # type: ignore[arg-type]
    assert any("CUDA graphs take about" in one for one in found.warnings)


def test_cards_are_searched_from_the_smallest_on() -> None:
    found = serving(LLAMA, gpu="l40s", max_model_len=8192, find=True)
    sizes = [one.total_bytes for one in found.choices]
    assert sizes == sorted(sizes)
    first = found.choices[0]
    assert first.output_tokens_per_s is None
    ranks = first.tensor_parallel
    again = serving(LLAMA, gpu=first.gpu, tensor_parallel=ranks, max_model_len=8192)
    assert again.verdict is BootVerdict.STARTS
    if ranks > 1:
        fewer = serving(LLAMA, gpu=first.gpu, tensor_parallel=ranks // 2, max_model_len=8192)
        assert fewer.verdict is not BootVerdict.STARTS


def test_with_a_load_the_cheapest_tokens_come_first() -> None:
    load = {"users": 20, "prompt": 2000, "output": 500}
    found = serving(LLAMA, gpu="l40s", tpot="40ms", find=True, **load)  # type: ignore[arg-type]
    costs = [one.cost_per_million for one in found.choices if one.cost_per_million is not None]
    assert costs == sorted(costs)
    for one in found.choices[:3]:
        again = serving(
            LLAMA, gpu=one.gpu, tensor_parallel=one.tensor_parallel, tpot="40ms",
            **load,  # type: ignore[arg-type]
        )  # fmt: skip
        assert again.speed is not None
        assert again.speed.tpot_s.middle <= 40e-3
        assert again.speed.output_tokens_per_s.middle == pytest.approx(one.output_tokens_per_s)
        assert again.speed.cost is not None
        assert again.speed.cost.middle == pytest.approx(one.cost_per_million)


def test_a_load_has_a_speed_with_an_interval() -> None:
    """vLLM 0.11 on an H100 with 4 users of ShareGPT: 496.88 tokens/s, 7.38 ms per token."""
    found = serving("Qwen/Qwen3-8B", gpu="h100", users=4, prompt=233, output=221)
    speed = found.speed
    assert speed is not None
    assert speed.output_tokens_per_s.middle == pytest.approx(496.88, rel=0.1)
    assert speed.output_tokens_per_s.low < 496.88 < speed.output_tokens_per_s.high
    assert speed.tpot_s.middle == pytest.approx(7.38e-3, rel=0.1)
    assert speed.tpot_s.low < 7.38e-3 < speed.tpot_s.high
    rate, tokens = speed.requests_per_s, speed.output_tokens_per_s
    assert tokens.middle == pytest.approx(221 * rate.middle)
    assert serving(LLAMA, gpu="h100").speed is None


def test_a_million_tokens_cost_the_rent_of_all_cards() -> None:
    load = {"users": 8, "prompt": 1000, "output": 100}
    found = serving(LLAMA, gpu="h100", tensor_parallel=2, price="2.50 EUR/h", **load)  # type: ignore[arg-type]
    assert found.speed is not None
    assert found.speed.cost is not None
    tokens = found.speed.output_tokens_per_s
    assert found.speed.cost.middle == pytest.approx(2 * 2.5 / 3600 / tokens.middle * 1e6)
    assert found.speed.cost.high == pytest.approx(2 * 2.5 / 3600 / tokens.low * 1e6)
    assert found.speed.cost.currency == "EUR"


@pytest.mark.parametrize(
    ("tpot", "verdict", "fits"),
    [("60ms", "holds", True), ("15ms", "likely", True), ("9ms", "unlikely", False),
     ("2ms", "fails", False)],
)  # fmt: skip
def test_limits_of_a_load(tpot: str, verdict: str, fits: bool) -> None:
    load = {"users": 20, "prompt": 1000, "output": 200}
    found = serving(LLAMA, gpu="h100", tpot=tpot, **load)  # type: ignore[arg-type]
    assert found.speed is not None
    (limit,) = found.speed.limits
    assert limit.verdict.value == verdict
    assert found.fits is fits
    assert found.verdict is BootVerdict.STARTS
    most = found.speed.most_users
    assert most is not None
    assert (most >= 20) is fits
    if most:
        now = serving(LLAMA, gpu="h100", **{**load, "users": most})  # type: ignore[arg-type]
        assert now.speed is not None
        assert now.speed.tpot_s.middle <= limit.limit_s


def test_an_engine_whose_speed_is_not_known_says_so() -> None:
    load = {"users": 2, "prompt": 1000, "output": 200}
    found = serving(LLAMA, gpu="l40s", engine="llamacpp", max_num_seqs=2, **load)  # type: ignore[arg-type]
    assert found.speed is None
    assert "the speed of llamacpp is not known here, only its memory" in found.notes
    with pytest.raises(UsageError, match="take one of vllm, sglang, trtllm"):
        serving(LLAMA, gpu="l40s", engine="llamacpp", tpot="50ms", **load)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tensor_parallel": 2, "kv_dtype": "fp8", "quant": "fp8"},
         ["vllm", "serve", "meta-llama/Llama-3.1-8B", "--tensor-parallel-size", "2",
          "--max-model-len", "131072", "--kv-cache-dtype", "fp8", "--quantization", "fp8"]),
        ({"engine": "sglang", "utilization": 0.8},
         ["python", "-m", "sglang.launch_server", "--model-path", "meta-llama/Llama-3.1-8B",
          "--mem-fraction-static", "0.800", "--context-length", "131072"]),
        ({"engine": "trtllm", "max_model_len": 4096},
         ["trtllm-serve", "meta-llama/Llama-3.1-8B", "--max_seq_len", "4096"]),
        ({"engine": "llamacpp", "quant": "gguf:Q8_0", "max_model_len": 4096, "max_num_seqs": 2},
         ["llama-server", "-m", "meta-llama/Llama-3.1-8B.gguf", "--ctx-size", "8192",
          "--parallel", "2", "--n-gpu-layers", "999"]),
    ],
)  # fmt: skip
def test_commands_of_the_engines(options: dict[str, object], words: list[str]) -> None:
    found = serving(LLAMA, gpu="a100", **options)  # type: ignore[arg-type]
    assert shlex.split(found.command) == words


def test_the_config_states_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from planner.catalog.catalog import config_json, find_model
    from planner.catalog.served_shapes import catalog_shapes
    from planner.estimation import served_shapes

    model = find_model("Qwen/Qwen3-0.6B")
    assert model is not None
    kept = catalog_shapes(model.name)
    monkeypatch.setattr(served_shapes, "_built", lambda *_: kept)
    keys = json.loads(config_json(model))
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**keys, "quantization_config": {"quant_method": "fp8"}}))
    assert serving(f"hf:{file}", gpu="l4").quant.startswith("FP8")
    assert serving(f"hf:{file}", gpu="l4", quant="awq").quant.startswith("AWQ")
    file.write_text(json.dumps({**keys, "quantization_config": {"quant_method": "exl3"}}))
    with pytest.raises(UsageError, match=r"quantised weights \(exl3\) .* name the nearest"):
        serving(f"hf:{file}", gpu="l4")


def test_names_of_the_catalog_need_no_prefix() -> None:
    assert serving("llama-3.1-8b-instruct", gpu="l40s").command.split()[2] == (
        "meta-llama/Llama-3.1-8B-Instruct"
    )


@pytest.mark.parametrize(
    ("target", "options", "error", "said"),
    [
        ("models/gpt2.py", {"gpu": "l40s"}, WrongTargetError, "a file of Python"),
        ("timm:resnet50", {"gpu": "l40s"}, WrongTargetError, "is no language model"),
        (LLAMA, {"gpu": "l40s,t4"}, UsageError, "one kind of card"),
        (LLAMA, {"gpu": "l40s", "tpot": "50ms"}, UsageError, "add --users, --prompt"),
        (LLAMA, {"gpu": "l40s", "users": 1, "prompt": 9, "output": 9, "ttft": "50"}, UsageError,
         "not a time with a unit"),
        (LLAMA, {"gpu": "l40s", "engine": "sglang", "engine_version": "0.5"}, UsageError,
         "take --engine vllm"),
        (LLAMA, {"gpu": "l40s", "users": 1, "prompt": 200_000, "output": 1}, UsageError,
         r"prompt and output .* end at 131072"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_an_error(
    target: str, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        serving(target, **options)  # type: ignore[arg-type]


def test_the_document_has_the_figures() -> None:
    found = planner.serving(LLAMA, gpu="l40s")
    assert isinstance(found, ServingPlan)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["schema_version"] == 1
    assert document["cache_bytes"] == found.cache.middle
    assert document["cache_interval_bytes"] == [found.cache.low, found.cache.high]
    assert (
        sum(one["bytes"] for one in document["parts"]) + document["cache_bytes"]
        == (document["budget_bytes"])
    )
    other = planner.serving(LLAMA, gpu="l40s", engine="trtllm").to_dict()
    assert other["cache_interval_bytes"] is None
    assert other["least"] is None
