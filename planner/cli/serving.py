"""`planner serving TARGET --engine NAME --gpu NAME`: the memory of an engine that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import options as shared
from planner.cli.exit_codes import fits_or_not
from planner.cli.grouped_help import GroupedCommand
from planner.cli.output import print_result, save
from planner.cli.progress import shown_progress
from planner.config.serving import EngineName, Runner

_EXAMPLES = (
    "planner serving hf:meta-llama/Llama-3.1-8B --gpu l40s",
    "planner serving hf:Qwen/Qwen3-235B-A22B --gpu h100 --tensor-parallel 4 --quant fp8 "
    "--max-model-len 32768",
    "planner serving hf:Qwen/Qwen3.5-27B --gpu rtx4090 --engine llamacpp --quant gguf:Q4_K_M "
    "--max-model-len 16384",
    "planner serving hf:Qwen/Qwen3-8B --gpu l4 --users 50 --prompt 2000 --output 500 --ttft 2s "
    "--tpot 50ms --find",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and the engine starts, holds the load and its limits, by the estimate
  1  error: the model cannot be built, a file cannot be read
  2  wrong usage: an option, a value, an unknown card or model
  3  done, and it does not start, does not hold the load, or is too slow for its limits
"""


@click.command(cls=GroupedCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@shared.one_card
@shared.gpu_memory
@click.option(
    "--engine",
    type=shared.words(EngineName),
    default=EngineName.VLLM.value,
    show_default=True,
    help="The engine whose rules are taken.",
)
@click.option(
    "--engine-version",
    metavar="VERSION",
    show_default="the newest known",
    help="Version of vllm, like 0.11.0: its defaults and rules.",
)
@click.option(
    "--tensor-parallel",
    metavar="N",
    type=shared.AT_LEAST_1,
    default=1,
    show_default=True,
    help="GPUs that share each layer, like 2.",
)
@click.option(
    "--max-model-len",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="that of the load, else the model's",
    help="Tokens of the longest request, like 32768.",
)
@click.option(
    "--utilization",
    metavar="X",
    type=float,
    show_default="the engine's",
    help="Share of memory, like 0.9, by the engine's own rule: of all (vllm), of free (sglang), "
    "of what is left (trtllm).",
)
@click.option(
    "--quant",
    metavar="FORMAT",
    show_default="that of the config, else 16 bits",
    help="Format of the weights: fp8, int8, awq, gptq, w4a16, nvfp4, mxfp4, nf4, or "
    "gguf:Q4_K_M and the like for llamacpp.",
)
@click.option(
    "--kv-dtype",
    metavar="DTYPE",
    show_default="the model's",
    help="Dtype of keys and values, in the engine's words, like fp8 or q8_0.",
)
@click.option(
    "--max-num-seqs",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="the engine's, by card",
    help="Requests of a step at most, like 64; slots of llamacpp.",
)
@click.option(
    "--max-num-batched-tokens",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="the engine's, by card",
    help="Tokens of a step at most, like 8192.",
)
@click.option("--enforce-eager", is_flag=True, help="No CUDA graphs.")
@click.option(
    "--prefix-caching/--no-prefix-caching",
    "prefix_caching",
    default=None,
    show_default="the engine's, by model",
    help="Keep prefixes for later requests: models with states take more for it (vllm).",
)
@click.option(
    "--speculative-tokens",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Tokens that the model's own head, or --draft, proposes in each step, like 3 (vllm).",
)
@click.option(
    "--runner",
    type=shared.words(Runner),
    show_default="pooling of an encoder, else generate",
    help="What is given for a text: generate, or pooling for embeddings and rerankers (vllm).",
)
@click.option(
    "--draft",
    metavar="TARGET",
    show_default="the model's own head",
    help="A separate model that proposes tokens, like hf:Qwen/Qwen3-0.6B (vllm).",
)
@click.option(
    "--lora-rank",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="no adapters",
    help="Highest rank of LoRA adapters, like 16 (vllm).",
)
@click.option(
    "--lora-max",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="1",
    help="LoRA adapters of a step at most, like 4 (vllm).",
)
@click.option(
    "--users",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="no load",
    help="Requests to serve at once, like 50; with --prompt and --output.",
)
@click.option(
    "--prompt",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="no load",
    help="Tokens of a prompt, like 2000.",
)
@click.option(
    "--output",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="no load",
    help="Tokens of an answer, like 500; none with --runner pooling.",
)
@click.option(
    "--ttft",
    metavar="TIME",
    show_default="no limit",
    help="Longest time to the first token, in the mean, like 500ms.",
)
@click.option(
    "--tpot",
    metavar="TIME",
    show_default="no limit",
    help="Longest time per output token, in the mean, like 50ms.",
)
@click.option(
    "--price",
    metavar="PRICE",
    show_default="the rents of the card's record",
    help="Rent of a card, like '2.49 USD/h', for the cost of a million tokens.",
)
@click.option(
    "--beside",
    metavar="SIZE|FILE",
    show_default="nothing",
    help="What else is on the card, like 20GiB, or a training step that planner estimate --save "
    "has kept; vllm gets the share that is left.",
)
@click.option(
    "--own-start",
    is_flag=True,
    help="Let the vllm that is installed here start on the emulated card, and take its own "
    "figures: one to ten minutes.",
)
@click.option(
    "--find",
    is_flag=True,
    help="Search the cards, and the fewest of each, that serve it; with a load the cheapest.",
)
@shared.timeout("Longest wait for building the model without its weights: seconds, or 10m.")
@shared.hardware_db
@shared.save
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def serving(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    gpu: str | None,
    **options: Any,
) -> None:
    """Say what a model that is served takes, and what its cache holds.

    TARGET is a language model, or a text encoder for embeddings: hf:org/name, a name of `planner
    models`, or a config.json. Printed
    are whether the engine starts, the memory by part, the cache in GiB and tokens, requests at
    once, the longest context, what to change where it does not start, and the engine's command.
    With --users, --prompt and --output also tokens per second, times to tokens, and their cost.
    """
    with shown_progress(quiet) as progress:
        found = planner.serving(target, gpu=gpu or "auto", on_progress=progress, **options)
    print_result(found, "serving", as_json=as_json, verbose=verbose)
    save(found, save_file)
    context.exit(fits_or_not(found.fits))
