"""Writes the help of a command with many options: options in groups, examples at the end.

In: a command. Out: its help. Convention: an option is in the same group in every command; options
without a group would come last, under "More" (a test checks that there are none).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

_GROUPS: Mapping[str, Sequence[str]] = {
    "Card and memory": (
        "--gpu", "--device", "--emulated", "--memory", "--gpu-memory", "--reserve",
        "--alloc-conf",
    ),
    "The batch": (
        "--batch", "--batches", "--global-batch", "--batch-arg", "--max-batch", "--no-max-batch",
        "--largest", "--seq", "--accumulate",
    ),
    "The model": ("--model-arg", "--input", "--batch-from-data", "--build-on"),
    "A published model": (
        "--task", "--like", "--lora-rank", "--lora-alpha", "--lora-targets", "--quant", "--freeze",
        "--image", "--frames", "--new-tokens", "--num-beams", "--kv-cache", "--attention",
        "--denoise-steps", "--vae",
    ),
    "The engine": (
        "--engine", "--engine-version", "--tensor-parallel", "--utilization", "--kv-dtype",
        "--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--enforce-eager",
        "--no-prefix-caching", "--prefix-caching", "--speculative-tokens",
    ),
    "The load": ("--users", "--prompt", "--find"),
    "The step": (
        "--mode", "--precision", "--optimizer", "--optimizer-arg", "--channels-last",
        "--checkpoint-activations", "--checkpoint-blocks", "--chunked-loss", "--compile",
        "--optimizer-in-backward", "--offload", "--clip-grad-norm", "--ema", "--no-set-to-none",
        "--steps",
    ),
    "Several GPUs": ("--num-gpus", "--num-hosts", "--parallel", "--microbatches", "--parallel-arg"),
    "Sizes that the code reads from the card": ("--data-dependent", "--size-at"),
    "Data and host": (
        "--data", "--measure-data", "--workers", "--prefetch-factor", "--no-pin-memory", "--host",
        "--cpu", "--ram",
    ),
    "Energy and cost": ("--price", "--prices", "--dataset-size", "--pue", "--power-limit"),
    "The script": ("--allow-writes",),
    "Output and limits": (
        "--output", "--against", "--redact", "--goal", "--try", "--budget", "--by", "--depth",
        "--verbose", "--format", "--json", "--csv", "--save", "--plot", "--quiet", "--tolerance",
        "--no-calibration", "--timeout", "--no-cache", "--hardware-db", "--no-config", "--help",
    ),
}  # fmt: skip
_REST = "More"
_WIDEST_NAME = 24  # a longer one has a line of its own
_DEFAULT_IN_WORDS = re.compile(r"\[default: \((.*?)\)(?=[];])")


class GroupedCommand(click.Command):
    """A click command; `examples` are command lines that can be copied."""

    def __init__(self, *words: Any, examples: Sequence[str], **options: Any) -> None:
        super().__init__(*words, **options)
        shown = "".join(f"\n  {example}" for example in examples)
        codes = "" if self.epilog is None else f"\n\n{self.epilog}"
        self.epilog = f"\b\nExamples:{shown}{codes}"
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under a heading for each group; all groups have the same columns."""
        for heading, options in grouped_options(self, ctx).items():
            with formatter.section(heading):
                formatter.write_dl([_row(one, ctx) for one in options], col_max=_WIDEST_NAME)


def _row(option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """Returns names and text of an option; removes click's parentheses from a default in words."""
    record = option.get_help_record(ctx)
    assert record is not None, "hidden options are in no group"
    names, text = record
    text = _DEFAULT_IN_WORDS.sub(r"[default: \1", text)
    return f"{names:{_WIDEST_NAME}}", text


def grouped_options(command: click.Command, ctx: click.Context) -> dict[str, list[click.Option]]:
    """Returns the options of a command by heading, in the order of the groups."""
    left = {
        option.opts[-1]: option
        for option in command.get_params(ctx)
        if isinstance(option, click.Option) and not option.hidden
    }
    found: dict[str, list[click.Option]] = {}
    for heading, names in _GROUPS.items():
        found[heading] = [left.pop(name) for name in names if name in left]
    found[_REST] = list(left.values())
    return {heading: options for heading, options in found.items() if options}
